#include "tiles/memory_estimate.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "e2enet/error.h"
#include "image/formats/gzip_writer.h"
#include "image/formats/read_ahead.h"
#include "prepare/prepared_slices.h"
#include "prepare/resample.h"
#include "prepare/survey.h"
#include "tiles/label_planes.h"
#include "tiles/volume_extent.h"

namespace e2enet::tiles {
namespace {

// The system counts whole pages and keeps what was freed for a while.
constexpr double kAllowance = 16 << 20;

// The most that a count says.
constexpr double kMost = 1e18;

}  // namespace

imaging::AxisMap network_frame(const model::Configuration& configuration, const Geometry& geometry) {
  return imaging::transposed(imaging::map_to_orientation(geometry.affine, configuration.preprocessing.orientation),
                             configuration.preprocessing.transpose_forward);
}

Extent network_extent(const model::Configuration& configuration, const Geometry& geometry,
                      const PipelineOptions& options) {
  const imaging::AxisMap frame = network_frame(configuration, geometry);
  const Shape cropped = frame.shape(options.region ? options.region->size() : geometry.shape);
  const Spacing spacing = frame.spacing(geometry.spacing);
  const Spacing target = configuration.preprocessing.spacing.value_or(spacing);
  // A spacing beyond reason is refused here, before anything is computed from it.
  return volume_extent(imaging::resampled_shape(cropped, spacing, target));
}

std::int64_t count_runs(const Extent& volume, const Extent& patch, const TilingOptions& options) {
  double runs = std::ldexp(1.0, int(options.mirror_axes.size()));
  for (std::size_t axis = 0; axis < 3; ++axis) {
    runs *= double(TileStarts(volume[axis], patch[axis], options.step).count());
  }
  return static_cast<std::int64_t>(std::min(runs, kMost));
}

MemoryLedger book_memory(const plan::Plan& plan, const model::Configuration& configuration, std::int64_t process,
                         const Geometry& geometry, const PipelineOptions& options, const CallerNeeds& needs) {
  const imaging::AxisMap frame = network_frame(configuration, geometry);
  const Shape region = options.region ? options.region->size() : geometry.shape;
  const Extent volume = network_extent(configuration, geometry, options);
  const double channels = configuration.architecture.input_channels;
  const double network_slice = double(volume[1]) * volume[2];
  const double network_voxels = double(volume[0]) * network_slice;
  const bool masked =
      std::any_of(configuration.preprocessing.normalization.begin(), configuration.preprocessing.normalization.end(),
                  [](const model::Normalization& channel) { return channel.use_mask; });
  MemoryLedger ledger;
  ledger.book("process", WorkStage::survey, WorkStage::finish, double(process) + kAllowance + double(needs.open_bytes));
  if (keeps_image(options.holding)) {
    ledger.book("image", WorkStage::survey, options.holding == Holding::image ? WorkStage::finish : WorkStage::prepare,
                double(needs.image_bytes));
  }
  ledger.book("surveying", WorkStage::survey,
              imaging::survey_bytes(geometry.shape, region, masked, options.read_ahead));

  imaging::ResamplingSizes sizes;
  sizes.source = geometry.shape;
  sizes.region = region;
  for (std::size_t axis = 0; axis < 3; ++axis) sizes.output[axis] = volume[std::size_t(frame.inverse(int(axis)))];
  const Spacing original = frame.spacing(geometry.spacing);
  const Spacing target = configuration.preprocessing.spacing.value_or(original);
  const std::size_t slowest = std::size_t(frame.inverse(0));
  sizes.spacing_ratio = target[slowest] / original[slowest];
  sizes.separate = imaging::separate_axis(original, target) == int(slowest);
  const double resampling = imaging::SliceResampler::working_bytes(sizes, options.threads);
  const double beside = (masked ? imaging::mask_bytes(region) : 0) +
                        imaging::block_bytes(double(sizes.output[1]) * double(sizes.output[2]), masked);
  const double read_ahead = options.read_ahead ? double(imaging::ReadAhead::working_bytes(geometry.shape)) : 0;
  if (options.holding == Holding::window) {
    const double held = std::min<double>(plan.patch[0], volume[0]) * network_slice * sizeof(float);
    ledger.book("preparing", WorkStage::prepare, resampling + read_ahead + beside);
    ledger.book("prepared", WorkStage::network, channels * (held + resampling) + beside);
  } else {
    const double prepared = channels * network_voxels * sizeof(float);
    ledger.book("preparing", WorkStage::prepare,
                prepared + resampling + read_ahead + beside + (masked ? network_voxels : 0));
    ledger.book("prepared", WorkStage::network, prepared);
  }

  const int at_once =
      SlidingWindow::runs_at_once(options.tiling.side_by_side, plan.threads, volume, plan.patch, options.tiling);
  ledger.book("network", WorkStage::network, WorkStage::finish, SlidingWindow::network_bytes(plan, at_once));
  ledger.book("probabilities", WorkStage::network,
              SlidingWindow::memory_bytes(volume, plan.patch, configuration.architecture.classes));
  LabelPlanes planes;
  planes.image = geometry.shape;
  planes.cropped = frame.shape(region);
  planes.network_slice = network_slice;
  planes.classes = configuration.architecture.classes;
  planes.threads = options.threads;
  planes.components = !options.largest_component.empty();
  planes.in_order = frame.source[0] == 0 && !frame.flip[0] && !planes.components;
  planes.probabilities = needs.probabilities;
  book_label_planes(planes, ledger);

  const double image_voxels = double(geometry.voxels());
  const double image_slice = double(geometry.shape[1]) * double(geometry.shape[2]);
  if (needs.labels) {
    ledger.book("kept", WorkStage::network, WorkStage::finish, image_voxels * sizeof(std::uint16_t));
  }
  if (needs.label_file_bytes > 0) {
    ledger.book("exporting", WorkStage::network, WorkStage::finish, needs.label_file_bytes);
  }
  if (needs.probabilities) {
    ledger.book("kept", WorkStage::network, WorkStage::finish,
                image_voxels * sizeof(float) * configuration.architecture.classes);
    ledger.book("finishing", WorkStage::finish, double(imaging::GzipWriter::working_bytes(options.threads)));
  }
  if (needs.intensities) ledger.book("finishing", WorkStage::finish, image_slice * sizeof(float));
  if (needs.preview_bytes > 0) ledger.book("finishing", WorkStage::finish, needs.preview_bytes);
  return ledger;
}

}  // namespace e2enet::tiles
