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
#include "engine/engine.h"
#include "imaging/nifti_reader.h"
#include "streaming/memory_estimate.h"
#include "streaming/volume_pipeline.h"

namespace e2enet::cli {

// The channels of an image, one file each, on the same voxels.
class ImageFiles {
 public:
  // Opens and checks the files; no voxel is read. Throws Error.
  explicit ImageFiles(const std::vector<std::string>& files);

  const imaging::NiftiHeader& header() const { return readers_.front()->header(); }
  const Geometry& geometry() const { return readers_.front()->geometry(); }
  std::vector<imaging::SliceSource*> sources() const;

 private:
  std::vector<std::unique_ptr<imaging::ImageReader>> readers_;
};

struct SegmentOptions {
  plan::PlanOptions plan;
  double step = 0.5;
  bool mirror = false;
  bool largest_component = false;
};

// Known of a case before a voxel is read; the image may turn out smaller once its empty borders are cut off.
struct CaseForecast {
  streaming::MemoryEstimate memory;
  streaming::Extent3 network_extent{};  // D, H, W of the volume that the network sees
  std::int64_t runs = 0;                // of the network: tiles times mirrored copies
};

// Holds the network's plan and memory for any number of cases.
class CaseSegmenter {
 public:
  // Throws Error.
  CaseSegmenter(std::shared_ptr<const model::Network> network, const SegmentOptions& options);

  const model::Configuration& configuration() const { return engine_.network().configuration(); }
  const engine::Engine& engine() const { return engine_; }

  // What the image will ask for. No voxel is read. Throws UsageError for a box that is not inside the image.
  CaseForecast forecast(const ImageFiles& image, const VoxelBox& box, bool keep_labels, bool probabilities) const;

  // Runs the network on a patch of noise and takes the time.
  double seconds_of_a_run();

  // Segments the image, or only the box: outside of it everything is background. Throws Error, and UsageError for a box
  // that is not inside the image.
  streaming::PipelineResult segment(const ImageFiles& image, const VoxelBox& box, bool probabilities,
                                    streaming::LabelSink& sink, const ProgressCallback& progress);

 private:
  streaming::PipelineOptions pipeline_options(const ImageFiles& image, const VoxelBox& box, bool probabilities) const;

  engine::Engine engine_;
  SegmentOptions options_;
  std::int64_t process_bytes_;  // resident before the engine first ran
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
