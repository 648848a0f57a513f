// The files of a request: begun before the work, so that one that cannot be written is known then, and named at its
// end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "api/image.h"
#include "base/atomic_file.h"
#include "e2enet/segmenter.h"
#include "image/formats/formats.h"
#include "image/formats/nifti/nifti_writer.h"
#include "model/configuration.h"

namespace e2enet {

class RequestFiles {
 public:
  // Throws Error: invalid_argument, naming the file, where a name's ending is none that is written, or two are one file
  // or one of the image's; cannot_write.
  RequestFiles(const Request& request, const Image& image, const model::Configuration& configuration, int threads);

  bool takes_labels() const { return labels_ != nullptr; }
  void append_labels(const std::uint16_t* labels, std::int64_t count) { labels_->append(labels, count); }

  // `probabilities` is (classes, D, H, W), `labels` D, H, W; either is used only where its file was asked for.
  void write_probabilities(const float* probabilities, std::int64_t count);
  void draw_preview(const Image& image, const std::uint16_t* labels, const std::map<int, std::string>& names);

  // What should be known of files that lie elsewhere than the image's slices.
  std::vector<Remark> remarks(const Request& request, const Image& image) const;

  // The labels' name comes last.
  void commit();

 private:
  std::unique_ptr<imaging::LabelFile> labels_;
  std::optional<imaging::ImageWriter> probabilities_;
  std::unique_ptr<AtomicFile> preview_;
};

}  // namespace e2enet
