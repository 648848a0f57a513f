#include "e2enet/segmenter.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

#include "api/errors.h"
#include "base/checked_size.h"
#include "base/parallel.h"
#include "e2enet/error.h"
#include "engine/engine.h"
#include "image/geometry.h"
#include "image/slice_source.h"
#include "tiles/memory_estimate.h"
#include "tiles/volume_pipeline.h"

namespace e2enet {
namespace {

const Error kNoMemoryToPlan(ErrorCode::out_of_memory, "no memory to plan the network");
const Error kNoMemoryToSegment(ErrorCode::out_of_memory, "no memory to segment an image of this size");
const Error kNoMemoryToRun(ErrorCode::out_of_memory, "no memory to run a patch");

plan::PlanOptions plan_options(const Options& options, const model::Configuration& configuration) {
  const std::string problem = tiles::step_problem(options.step, configuration.architecture.patch_size);
  if (!problem.empty()) throw Error(ErrorCode::invalid_argument, "step: " + problem);
  tiles::largest_component_labels(configuration, options.largest_component);  // refuses what is no choice
  plan::PlanOptions plan;
  plan.threads = usable_threads(options.threads);
  plan.storage = options.precision == Precision::bf16 ? kernels::Element::bf16 : kernels::Element::f32;
  return plan;
}

void check_geometry(const Geometry& geometry) {
  constexpr std::int64_t kMostVoxelsOnAxis = 32767;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::string name = std::string("geometry, axis ") + "DHW"[axis];
    if (geometry.shape[axis] < 1 || geometry.shape[axis] > kMostVoxelsOnAxis) {
      throw Error(ErrorCode::invalid_image, name + ": expected 1 to " + std::to_string(kMostVoxelsOnAxis) +
                                                " voxels, found " + std::to_string(geometry.shape[axis]));
    }
    if (!(geometry.spacing[axis] > 0) || !std::isfinite(geometry.spacing[axis])) {
      throw Error(ErrorCode::invalid_image,
                  name + ": expected a spacing in mm above 0, found " + std::to_string(geometry.spacing[axis]));
    }
  }
  for (const double value : geometry.affine) {
    if (!std::isfinite(value))
      throw Error(ErrorCode::invalid_image, "geometry, affine: expected finite numbers, found another");
  }
  if (!imaging::usable(geometry.affine)) {
    throw Error(
        ErrorCode::invalid_argument,
        "geometry, affine: expected a matrix from voxels to mm with three independent columns, found a determinant "
        "of " +
            std::to_string(geometry.voxel_ml() * 1000));
  }
}

class KeepLabels : public tiles::LabelSink {
 public:
  KeepLabels(std::vector<std::uint16_t>& labels, const Shape& shape) : labels_(labels), slice_(shape[1] * shape[2]) {
    labels_.resize(checked_count<std::uint16_t>("the labels", shape[0], shape[1], shape[2]));
  }
  void consume(std::int64_t first_slice, std::int64_t slices, const std::uint16_t* labels) override {
    std::copy_n(labels, slices * slice_, labels_.begin() + first_slice * slice_);
  }

 private:
  std::vector<std::uint16_t>& labels_;
  std::int64_t slice_;
};

}  // namespace

struct Segmenter::Implementation {
  Implementation(const Model& model, const Options& wanted)
      : options(wanted), engine(*model.network_, plan_options(wanted, model.network_->configuration())) {}
  Segmentation segment(const ImageView& image, const ProgressCallback& progress);
  Options options;
  engine::Engine engine;
};

Segmenter::Segmenter(Model model, const Options& options)
    : implementation_(with_errors(kNoMemoryToPlan, [&] { return std::make_unique<Implementation>(model, options); })) {}
Segmenter::~Segmenter() = default;
Segmenter::Segmenter(Segmenter&&) noexcept = default;
Segmenter& Segmenter::operator=(Segmenter&&) noexcept = default;

Segmentation Segmenter::segment(const ImageView& image, const ProgressCallback& progress) {
  // What the callback throws is its owner's and comes out as it is.
  std::exception_ptr of_callback;
  ProgressCallback watched;
  if (progress) {
    watched = [&](const Progress& at) {
      try {
        return progress(at);
      } catch (...) {
        of_callback = std::current_exception();
        return false;
      }
    };
  }
  try {
    return with_errors(kNoMemoryToSegment, [&] { return implementation_->segment(image, watched); });
  } catch (const Error&) {
    if (of_callback) std::rethrow_exception(of_callback);
    throw;
  }
}

Segmentation Segmenter::Implementation::segment(const ImageView& image, const ProgressCallback& progress) {
  const model::Configuration& configuration = engine.network().configuration();
  check_geometry(image.geometry);
  if (!options.allow_implausible_spacing) {
    imaging::require_plausible_spacing("image", image.geometry, tiles::network_frame(configuration, image.geometry),
                                       configuration.preprocessing.spacing);
  }
  std::vector<imaging::MemorySource> sources;
  for (const float* channel : image.channels) {
    if (!channel) throw Error(ErrorCode::invalid_image, "the image's channels: expected voxels, found a null pointer");
    sources.emplace_back(channel, image.geometry.shape);
  }
  std::vector<imaging::SliceSource*> channels;
  for (imaging::MemorySource& source : sources) channels.push_back(&source);

  tiles::PipelineOptions pipeline;
  pipeline.tiling.step = options.step;
  if (options.mirror) pipeline.tiling.mirror_axes = configuration.mirror_axes;
  pipeline.probabilities = options.probabilities;
  pipeline.threads = engine.plan().threads;
  pipeline.largest_component = tiles::largest_component_labels(configuration, options.largest_component);
  Segmentation segmentation;
  segmentation.geometry = image.geometry;
  for (const imaging::Remark& remark : imaging::contradictions(image.geometry, "affine", "spacing")) {
    segmentation.remarks.push_back("warning: " + remark.text);
  }
  KeepLabels keep(segmentation.labels, image.geometry.shape);
  tiles::PipelineResult result = tiles::segment_volume(engine, image.geometry, channels, pipeline, keep, progress);
  segmentation.probabilities = std::move(result.probabilities);
  segmentation.empty_image = result.empty_image;
  return segmentation;
}

void Segmenter::run_patch(const float* patch, float* logits) {
  engine::Engine& engine = implementation_->engine;
  const model::Triple& extent = engine.plan().patch;
  kernels::PatchView view;
  view.data = patch;
  view.stride[0] = std::ptrdiff_t{extent[1]} * extent[2];
  view.stride[1] = extent[2];
  view.stride[2] = 1;
  view.channel_stride = view.stride[0] * extent[0];
  for (std::size_t axis = 0; axis < 3; ++axis) view.end[axis] = extent[axis];
  engine::StoreLogits store(logits, engine.network().architecture().classes, extent);
  with_errors(kNoMemoryToRun, [&] { engine.run(view, store); });
}

std::int64_t Segmenter::planned_peak_bytes() const { return std::int64_t(implementation_->engine.plan().peak_bytes()); }

}  // namespace e2enet
