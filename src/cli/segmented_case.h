// One case from files to labels: what `segment` and `tradeoff` share. Neither the image nor its probabilities are ever
// in memory as a whole, unless they are asked for.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/image_remarks.h"
#include "engine/engine.h"
#include "image/formats/nifti/nifti_reader.h"
#include "tiles/volume_pipeline.h"
#include "tiles/volume_plan.h"

namespace e2enet::cli {

// The channels of an image, one file each, on the same voxels.
class ImageFiles {
 public:
  // Opens and checks the files; no voxel is read. Throws Error.
  explicit ImageFiles(const std::vector<std::string>& files);

  const imaging::NiftiHeader& header() const { return readers_.front()->header(); }
  const Geometry& geometry() const { return readers_.front()->geometry(); }
  // Of the first channel.
  const std::string& name() const { return readers_.front()->path(); }
  std::vector<FileRemark> remarks() const;
  std::vector<imaging::SliceSource*> sources() const;
  // Of all channels' voxels, as they are stored in the files but unpacked.
  std::int64_t stored_bytes() const;

 private:
  std::vector<std::unique_ptr<imaging::ImageReader>> readers_;
};

struct SegmentOptions {
  plan::PlanOptions plan;
  double step = 0.5;
  bool mirror = false;
  LargestComponent largest_component = LargestComponent::model;
  bool allow_implausible_spacing = false;
  bool bf16_if_needed = false;  // plan.storage, but bf16 for a case that does not fit otherwise
};

// Throws Error (invalid_image), naming the image, where its spacing is implausible in itself or for the model, unless
// that is allowed.
void require_plausible_spacing(const ImageFiles& image, const model::Configuration& configuration, bool allow);

// What is wanted of a case besides its labels.
struct CaseWishes {
  VoxelBox box;                // only these voxels are segmented
  bool probabilities = false;  // at the image's resolution, in memory
  bool preview = false;
  bool intensities = false;

  bool keep_labels() const { return preview || intensities; }
};

// How a case will be done, known before a voxel is read; the image may turn out smaller once its empty borders are cut
// off.
struct CasePlan {
  std::vector<tiles::PlannedHolding> holdings;  // that are possible, fastest first
  tiles::PlannedHolding chosen;                 // the fastest within the limit, or the smallest where none is
  bool fits = false;
  std::int64_t limit = 0;  // of the process's resident memory, bytes
  kernels::Element precision = kernels::Element::f32;
  tiles::Extent3 network_extent{};  // D, H, W of the volume that the network sees
  std::int64_t runs = 0;            // of the network: tiles times mirrored copies
};

// Holds the network's plan and memory for any number of cases.
class CaseSegmenter {
 public:
  // Throws Error.
  CaseSegmenter(std::shared_ptr<const model::Network> network, const SegmentOptions& options);

  const model::Configuration& configuration() const { return configuration_; }
  const engine::Engine& engine() const { return *engine_; }

  // The fastest way within `memory_limit` bytes for the whole process; 0: what it has and three quarters of what is
  // free. No voxel is read. With bf16_if_needed this may make the engine anew. Refuses implausible spacings before
  // anything is computed from them. Throws Error, and UsageError for a box
  // that is not inside the image.
  CasePlan choose(const ImageFiles& image, const CaseWishes& wishes, std::int64_t memory_limit);

  // Runs the network on a patch of noise and takes the time.
  double seconds_of_a_run();

  // Segments the image, or only the box: outside of it everything is background. `holding` is that of the latest plan
  // for this image. Throws Error, and UsageError for a box that is not inside the image.
  tiles::PipelineResult segment(const ImageFiles& image, const CaseWishes& wishes, tiles::Holding holding,
                                tiles::LabelSink& sink, const ProgressCallback& progress);

 private:
  tiles::PipelineOptions pipeline_options(const ImageFiles& image, const CaseWishes& wishes) const;
  void make_engine(kernels::Element precision);
  CasePlan plan_with(kernels::Element precision, const ImageFiles& image, const CaseWishes& wishes,
                     std::int64_t memory_limit);

  std::shared_ptr<const model::Network> network_;  // only where the engine may be made anew
  model::Configuration configuration_;
  SegmentOptions options_;
  std::unique_ptr<engine::Engine> engine_;
  std::int64_t process_bytes_ = 0;  // resident before the engine first ran
};

struct LabelStatistics {
  std::string name;
  std::int64_t voxels = 0;
  double ml = 0;
  std::vector<double> mean_intensity;  // one a channel; empty where not computed or without voxels
};

// Counts the labels that pass.
class LabelCounter {
 public:
  LabelCounter() : counts_(65536, 0) {}
  void count(const std::uint16_t* labels, std::int64_t voxels);

  // Of every label in `names` and every other value that occurred, without the background.
  std::map<int, LabelStatistics> statistics(const Geometry& geometry, const std::map<int, std::string>& names) const;

 private:
  std::vector<std::int64_t> counts_;
};

// Fills in mean_intensity; NaN voxels do not count. Reads the image once.
void add_mean_intensities(const ImageFiles& image, const std::vector<std::uint16_t>& labels,
                          std::map<int, LabelStatistics>& statistics);

// "1": {"name", "voxels", "ml"}, and so on; with mean intensities `mean_intensity`, and `mean_intensity_per_channel`
// where there are several channels.
nlohmann::ordered_json statistics_json(const std::map<int, LabelStatistics>& statistics, bool with_intensity);

}  // namespace e2enet::cli
