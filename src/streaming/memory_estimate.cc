#include "streaming/memory_estimate.h"

#include <algorithm>
#include <cmath>

#include "imaging/gzip_writer.h"

namespace e2enet::streaming {
namespace {

// Slices under the window of the spline along the slowest axis, and read ahead of it.
constexpr double kWindowSlices = 64;
constexpr double kStagedSlices = 16;
// Labels of this many planes wait for the file at a time, twice: in the network's frame and in the file's.
constexpr double kPlanesInWork = 16;
// Buffers of one file that is read.
constexpr double kReaderBytes = 4 << 20;
// The system counts whole pages and keeps what was freed for a while.
constexpr double kAllowance = 16 << 20;

imaging::AxisMap network_frame(const model::Configuration& configuration, const Geometry& geometry) {
  return imaging::transposed(imaging::map_to_orientation(geometry.affine, configuration.preprocessing.orientation),
                             configuration.preprocessing.transpose_forward);
}

std::int64_t bytes(double value) { return static_cast<std::int64_t>(std::min(value, 9e18)); }

}  // namespace

std::int64_t MemoryEstimate::peak() const {
  return process + prepared + kept + std::max(preparing, network + probabilities + exporting);
}

Extent3 network_extent(const model::Configuration& configuration, const Geometry& geometry,
                       const PipelineOptions& options) {
  const imaging::AxisMap frame = network_frame(configuration, geometry);
  const Shape cropped = frame.shape(options.region ? options.region->size() : geometry.shape);
  const Spacing spacing = frame.spacing(geometry.spacing);
  Extent3 volume{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double target =
        configuration.preprocessing.spacing ? (*configuration.preprocessing.spacing)[axis] : spacing[axis];
    volume[axis] = int(std::clamp(std::nearbyint(spacing[axis] / target * double(cropped[axis])), 1.0, 1e9));
  }
  return volume;
}

std::int64_t count_runs(const Extent3& volume, const model::Triple& patch, const TilingOptions& options) {
  std::int64_t runs = std::int64_t{1} << options.mirror_axes.size();
  for (std::size_t axis = 0; axis < 3; ++axis)
    runs *= std::int64_t(tile_starts(volume[axis], patch[axis], options.step).size());
  return runs;
}

MemoryEstimate estimate_memory(const engine::Engine& engine, std::int64_t process, const Geometry& geometry,
                               const PipelineOptions& options, const KeptVolumes& kept) {
  const model::Configuration& configuration = engine.network().configuration();
  const plan::Plan& plan = engine.plan();
  const imaging::AxisMap frame = network_frame(configuration, geometry);
  const Shape cropped = frame.shape(options.region ? options.region->size() : geometry.shape);
  const Extent3 volume = network_extent(configuration, geometry, options);

  const double channels = configuration.architecture.input_channels;
  const double classes = configuration.architecture.classes;
  const double image_voxels = double(geometry.voxels());
  const double image_slice = double(geometry.shape[1]) * double(geometry.shape[2]);
  const double network_slice = double(volume[1]) * volume[2];
  const double threads = options.threads;

  MemoryEstimate estimate;
  estimate.process = process + bytes(kAllowance);
  estimate.prepared = bytes(channels * double(volume[0]) * network_slice * 4);

  // The window is over the file's slowest axis: its slices are already resampled along the other two.
  const double file_extent = volume[std::size_t(frame.inverse(0))];
  const double window_slice = double(volume[0]) * network_slice / file_extent;
  estimate.preparing = bytes(channels * kReaderBytes + image_voxels / 8 + kWindowSlices * (window_slice + 8) * 8 +
                             kStagedSlices * image_slice * 4 + threads * 4 * (std::sqrt(image_slice) + 16) * 64 * 8);

  estimate.network = bytes(double(plan.features_bytes) + double(plan.statistics_bytes) +
                           threads * double(plan.scratch_bytes + plan.row_logits_bytes));
  estimate.probabilities =
      std::int64_t(SlidingWindow::memory_bytes(volume, plan.patch, configuration.architecture.classes));

  const double plane = double(cropped[1]) * double(cropped[2]);
  const double planes_in_work = std::max(kPlanesInWork, threads);
  double exporting = classes * network_slice * 4 + planes_in_work * 2 * (plane + image_slice);
  exporting += threads * (double(cropped[2]) * 24 + plane * 4);
  exporting += (threads + 2) * 3.0 * double(imaging::GzipWriter::kBlockBytes);
  if (kept.probabilities) exporting += threads * classes * plane * 4;
  estimate.exporting = bytes(exporting);

  const bool in_order = frame.source[0] == 0 && !frame.flip[0] && options.largest_component.empty();
  double volumes = 0;
  if (!in_order) volumes += image_voxels * 2;
  if (!options.largest_component.empty()) volumes += image_voxels * 2;  // runs of equal labels, at worst
  if (kept.labels) volumes += image_voxels * 2;
  if (kept.probabilities) volumes += image_voxels * 4 * classes;
  estimate.kept = bytes(volumes);
  return estimate;
}

}  // namespace e2enet::streaming
