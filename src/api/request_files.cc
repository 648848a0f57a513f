#include "api/request_files.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "e2enet/error.h"
#include "e2enet/files.h"
#include "image/formats/nifti/nifti_format.h"
#include "report/canvas.h"
#include "report/label_colors.h"
#include "report/preview.h"
#include "tiles/volume_pipeline.h"

namespace e2enet {
namespace {

// Every file of the request is another one, and none is the image: what is read must not be written over.
void require_apart(const Request& request, const Image& image) {
  std::set<std::string> taken;
  for (const std::string& read : image.implementation().files) {
    taken.insert(file_behind(read));
    for (const std::string& partner : partner_candidates(read)) taken.insert(file_behind(partner));
  }
  const std::pair<const char*, const std::string*> outputs[] = {{"labels_file", &request.labels_file},
                                                                {"probabilities_file", &request.probabilities_file},
                                                                {"preview_file", &request.preview_file}};
  for (const auto& [field, path] : outputs) {
    if (path->empty()) continue;
    for (const std::string& written : written_files(*path)) {
      if (taken.insert(file_behind(written)).second) continue;
      throw Error(ErrorCode::invalid_argument,
                  std::string(field) + ": expected a file that is neither the image's nor another output, found '" +
                      *path + "'");
    }
  }
}

// The model's concepts, and colours of the preview where the model has none.
std::map<int, imaging::LabelMeaning> meanings_of(const model::Configuration& configuration) {
  std::map<int, imaging::LabelMeaning> meanings;
  for (const auto& [label, color] : report::label_colors(configuration.labels)) {
    const auto byte = [](double value) {
      return static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
    };
    meanings[label].color = {byte(color.red), byte(color.green), byte(color.blue)};
  }
  for (const auto& [label, meaning] : configuration.label_concepts) {
    imaging::LabelMeaning& of_label = meanings[label];
    const auto code = [](const std::array<std::string, 3>& c) { return imaging::LabelCode{c[0], c[1], c[2]}; };
    if (!meaning.category[0].empty()) of_label.category = code(meaning.category);
    if (!meaning.type[0].empty()) of_label.type = code(meaning.type);
    for (std::size_t c = 0; meaning.color && c < 3; ++c) {
      of_label.color[c] = static_cast<std::uint8_t>((*meaning.color)[c]);
    }
  }
  return meanings;
}

bool ends_in_png(const std::string& path) {
  constexpr char kEnding[] = ".png";
  const std::size_t length = sizeof kEnding - 1;
  return path.size() > length && path.compare(path.size() - length, length, kEnding) == 0;
}

}  // namespace

RequestFiles::RequestFiles(const Request& request, const Image& image, const model::Configuration& configuration,
                           int threads) {
  require_apart(request, image);
  const Image::Implementation& of_image = image.implementation();
  if (!request.preview_file.empty() && !ends_in_png(request.preview_file)) {
    throw Error(ErrorCode::invalid_argument,
                "preview_file: expected a name ending in .png, found '" + request.preview_file + "'");
  }
  if (!request.preview_file.empty()) report::require_png(request.preview_file);
  if (!request.probabilities_file.empty()) {
    if (!imaging::names_nifti_file(request.probabilities_file)) {
      throw Error(ErrorCode::invalid_argument,
                  "probabilities_file: expected a name ending in .nii.gz, .nii, .hdr or .img, found '" +
                      request.probabilities_file + "'");
    }
    probabilities_.emplace(request.probabilities_file, of_image.nifti_header, imaging::StoredType::float32,
                           configuration.architecture.classes, threads);
  }
  if (!request.preview_file.empty()) preview_ = std::make_unique<AtomicFile>(request.preview_file);
  if (!request.labels_file.empty()) {
    imaging::LabelFileContents contents;
    contents.like = &of_image.nifti_header;
    contents.reference = of_image.file;
    contents.largest_label = tiles::largest_label(configuration);
    contents.names = configuration.labels;
    contents.threads = threads;
    contents.meanings = meanings_of(configuration);
    contents.algorithm_name = configuration.algorithm_name;
    contents.dicom_reference = request.dicom_reference;
    contents.dicom_reference_series = request.dicom_reference_series;
    labels_ = imaging::create_label_file(request.labels_file, contents);
  }
}

void RequestFiles::write_probabilities(const float* probabilities, std::int64_t count) {
  if (probabilities_) probabilities_->append(probabilities, count);
}

void RequestFiles::draw_preview(const Image& image, const std::uint16_t* labels,
                                const std::map<int, std::string>& names) {
  if (!preview_) return;
  report::PreviewInput input;
  input.geometry = image.geometry();
  input.image = image.implementation().channels.front().get();
  input.labels = labels;
  input.names = names;
  const std::string& name = image.name();
  input.title = name.substr(name.find_last_of('/') + 1);
  report::draw_preview(*preview_, input);
}

std::vector<Remark> RequestFiles::remarks(const Request& request, const Image& image) const {
  std::vector<Remark> remarks;
  const imaging::ChannelFile* file = image.implementation().file;
  if (!file) return remarks;
  for (const bool labels : {true, false}) {
    const std::string& path = labels ? request.labels_file : request.probabilities_file;
    if (path.empty()) continue;
    const std::string line = imaging::not_on_slices(path, *file, labels);
    if (!line.empty()) remarks.push_back({labels, image.name(), line});
  }
  return remarks;
}

void RequestFiles::commit() {
  if (probabilities_) probabilities_->commit();
  if (preview_) preview_->commit();
  if (labels_) labels_->commit();
}

}  // namespace e2enet
