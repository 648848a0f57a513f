#include "tiles/memory_estimate.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "e2enet/error.h"
#include "image/formats/gzip_writer.h"
#include "image/formats/read_ahead.h"

namespace e2enet::tiles {
namespace {

// Labels of this many planes wait for the file at a time, twice: in the network's frame and in the file's.
constexpr double kPlanesInWork = 16;
// Slices that are resampled, and read, at a time.
constexpr double kSlicesTogether = 8;
// Buffers of one file that is read.
constexpr double kReaderBytes = 4 << 20;
// The system counts whole pages and keeps what was freed for a while.
constexpr double kAllowance = 16 << 20;
// The canvas of a preview, its supersampled panels, and a sample of the image's values.
constexpr double kPreviewBytes = 80 << 20;

// The most that one figure says, so that the sum of a stage's still fits 64 bits.
constexpr double kMost = 1e18;

std::int64_t bytes(double value) { return static_cast<std::int64_t>(std::min(value, kMost)); }

// The most input slices that kSlicesTogether output slices can ask for, in any crop of `input` slices.
double window_slices(double spacing_ratio, double input, bool separate) {
  // A crop's exact ratio differs from that of the spacings by rounding its size, which only matters for small crops;
  // and these are smaller than the window itself.
  constexpr double kTaps = 46;
  const double ratio = spacing_ratio * kTaps / (kTaps - std::min(spacing_ratio / 2, kTaps / 2));
  const double taps = separate || spacing_ratio == 1 ? 2 : kTaps;
  return std::min(input, std::ceil((kSlicesTogether - 1) * ratio) + taps);
}

double doubles_of_row(double width) { return 8 * (std::ceil(width / 8) + 1); }

}  // namespace

imaging::AxisMap network_frame(const model::Configuration& configuration, const Geometry& geometry) {
  return imaging::transposed(imaging::map_to_orientation(geometry.affine, configuration.preprocessing.orientation),
                             configuration.preprocessing.transpose_forward);
}

std::int64_t MemoryEstimate::peak() const {
  return process + std::max({image + surveying, image + preparing,
                             image_until_end + prepared + network + probabilities + exporting + kept,
                             image_until_end + network + kept + finishing});
}

Extent network_extent(const model::Configuration& configuration, const Geometry& geometry,
                      const PipelineOptions& options) {
  const imaging::AxisMap frame = network_frame(configuration, geometry);
  const Shape cropped = frame.shape(options.region ? options.region->size() : geometry.shape);
  const Spacing spacing = frame.spacing(geometry.spacing);
  const Spacing target = configuration.preprocessing.spacing.value_or(spacing);
  // A spacing beyond reason is refused here, before anything is computed from it.
  const Shape volume = imaging::resampled_shape(cropped, spacing, target);
  return {int(volume[0]), int(volume[1]), int(volume[2])};
}

std::int64_t count_runs(const Extent& volume, const Extent& patch, const TilingOptions& options) {
  double runs = std::ldexp(1.0, int(options.mirror_axes.size()));
  for (std::size_t axis = 0; axis < 3; ++axis) {
    runs *= double(TileStarts(volume[axis], patch[axis], options.step).count());
  }
  return static_cast<std::int64_t>(std::min(runs, kMost));
}

MemoryEstimate estimate_memory(const engine::Engine& engine, std::int64_t process, const Geometry& geometry,
                               const PipelineOptions& options, const CallerNeeds& needs) {
  const model::Configuration& configuration = engine.network().configuration();
  const plan::Plan& plan = engine.plan();
  const imaging::AxisMap frame = network_frame(configuration, geometry);
  const Shape region = options.region ? options.region->size() : geometry.shape;
  const Shape cropped = frame.shape(region);
  const Extent volume = network_extent(configuration, geometry, options);
  const bool window = options.holding == Holding::window;

  const double channels = configuration.architecture.input_channels;
  const double classes = configuration.architecture.classes;
  const double image_voxels = double(geometry.voxels());
  const double image_slice = double(geometry.shape[1]) * double(geometry.shape[2]);
  const double region_voxels = double(region[0]) * double(region[1]) * double(region[2]);
  const double network_slice = double(volume[1]) * volume[2];
  const double threads = options.threads;

  MemoryEstimate estimate;
  estimate.process = process + bytes(kAllowance + channels * kReaderBytes);
  if (keeps_image(options.holding)) estimate.image = needs.image_bytes;
  if (options.holding == Holding::image) estimate.image_until_end = needs.image_bytes;

  // One bit a voxel where a normalisation asks for the mask, and for filling its holes at worst a run every other
  // voxel.
  const bool masked =
      std::any_of(configuration.preprocessing.normalization.begin(), configuration.preprocessing.normalization.end(),
                  [](const model::Normalization& channel) { return channel.use_mask; });
  const double mask_bits = masked ? double(region[0] * region[1]) * std::ceil(double(region[2]) / 64) * 8 : 0;
  const double read_ahead = options.read_ahead ? double(imaging::ReadAhead::working_bytes(geometry.shape)) : 0;
  const double reading = kSlicesTogether * image_slice * 4 + read_ahead;
  estimate.surveying = bytes(2 * mask_bits + std::max(reading, masked ? region_voxels * 2 + image_slice * 40 : 0));

  // In the file's frame: slices already resampled along the other two axes wait under the window of the slowest.
  const auto extent_along = [&](int file_axis) { return double(volume[std::size_t(frame.inverse(file_axis))]); };
  const double row = doubles_of_row(extent_along(2));
  const Spacing original = frame.spacing(geometry.spacing);
  const Spacing target = configuration.preprocessing.spacing.value_or(original);
  const std::size_t slowest = std::size_t(frame.inverse(0));
  const bool separate = imaging::separate_axis(original, target) == int(slowest);
  const double under_window = window_slices(target[slowest] / original[slowest], double(region[0]), separate);
  const double scratch = 16 * (double(region[2]) + extent_along(2)) + double(region[1]) * row + 2 * row;
  const double resampler =
      (under_window * extent_along(1) * row + threads * scratch) * 8 + kSlicesTogether * image_slice * 4;
  const double block = kSlicesTogether * extent_along(1) * extent_along(2) * (masked ? 5 : 4);
  const double network_voxels = double(volume[0]) * network_slice;
  if (window) {
    const double held = std::min<double>(plan.patch[0], volume[0]);
    estimate.prepared = bytes(channels * (held * network_slice * 4 + resampler) + mask_bits + block);
    estimate.preparing = bytes(resampler + read_ahead + mask_bits + block);
  } else {
    estimate.prepared = bytes(channels * network_voxels * 4);
    estimate.preparing =
        bytes(double(estimate.prepared) + resampler + read_ahead + mask_bits + block + (masked ? network_voxels : 0));
  }

  estimate.network = bytes(double(plan.features_bytes) + double(plan.statistics_bytes) +
                           threads * double(plan.scratch_bytes + plan.row_logits_bytes));
  estimate.probabilities = bytes(SlidingWindow::memory_bytes(volume, plan.patch, configuration.architecture.classes));

  const double plane = double(cropped[1]) * double(cropped[2]);
  const double planes_in_work = std::max(kPlanesInWork, threads);
  double exporting = classes * network_slice * 4 + planes_in_work * 2 * (plane + image_slice);
  exporting += threads * (double(cropped[2]) * 24 + plane * 4);
  exporting += double(imaging::GzipWriter::working_bytes(options.threads));
  if (needs.probabilities) exporting += threads * classes * plane * 4;
  estimate.exporting = bytes(exporting);

  const bool in_order = frame.source[0] == 0 && !frame.flip[0] && options.largest_component.empty();
  double volumes = 0;
  if (!in_order) volumes += image_voxels * 2;
  if (!options.largest_component.empty()) volumes += image_voxels * 2;  // runs of equal labels, six voxels each
  if (needs.labels) volumes += image_voxels * 2;
  if (needs.probabilities) volumes += image_voxels * 4 * classes;
  estimate.kept = bytes(volumes);

  double finishing = 0;
  if (needs.image_afterwards()) finishing += image_slice * 4;
  if (needs.preview) {
    const auto& [d, h, w] = geometry.shape;
    finishing += kPreviewBytes + double(d * h + d * w + h * w) * 6;
  }
  if (needs.probabilities) finishing += double(imaging::GzipWriter::working_bytes(options.threads));
  estimate.finishing = bytes(finishing);
  return estimate;
}

}  // namespace e2enet::tiles
