#include "engine/engine.h"

#include <algorithm>
#include <chrono>

#include "base/checked_size.h"
#include "base/parallel.h"
#include "e2enet/error.h"
#include "model/flops.h"

namespace e2enet::engine {
namespace {

constexpr float kNormEpsilon = 1e-5f;

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Which input rows of an upward flow must be made before bands of the convolution that reads it can run. Rows are made
// once, in the order in which the bands come.
class RowsAhead {
 public:
  RowsAhead(const kernels::Convolution& convolution, const kernels::Feature& upward, int stride_height, bool bottom_up)
      : convolution_(convolution), extent_(upward.extent), stride_height_(stride_height), bottom_up_(bottom_up) {
    next_ = bottom_up ? extent_.height / stride_height : 0;
  }

  kernels::RowRange next_for_bands(int first, int count) {
    kernels::ConvolutionShape shape;
    shape.input = extent_;
    const int rows = convolution_.rows_per_band();
    const kernels::RowRange read =
        kernels::rows_read(shape, first * rows, std::min((first + count) * rows, extent_.height));
    kernels::RowRange make;
    if (bottom_up_) {
      make = {std::min(read.begin / stride_height_, next_), next_};
      next_ = make.begin;
    } else {
      make = {next_, std::max((read.end + stride_height_ - 1) / stride_height_, next_)};
      next_ = make.end;
    }
    return make;
  }

 private:
  const kernels::Convolution& convolution_;
  kernels::Extent extent_;
  int stride_height_;
  bool bottom_up_;
  int next_;
};

std::string node_name(const model::Node& node) {
  return "x[" + std::to_string(node.level) + "][" + std::to_string(node.stage) + "]";
}

}  // namespace

// A step with every pointer in place.
struct Engine::BoundConvolution {
  const plan::ConvolutionStep* planned = nullptr;
  std::vector<kernels::Source> sources;
  kernels::ConvolutionArguments arguments;
  kernels::Source upward_input;
  int upward_stride_height = 1;
  float* scale = nullptr;
  float* offset = nullptr;
  double upward_seconds = 0;  // of the last run, as the first thread saw it
};

struct Engine::BoundPool {
  kernels::Source source;
  kernels::Feature output;
  kernels::Stride stride;
};

struct Engine::BoundStep {
  std::unique_ptr<BoundConvolution> convolution;
  std::unique_ptr<BoundPool> pool;
  double seconds = 0;
};

Engine::Engine(const model::Network& network, const plan::PlanOptions& options)
    : plan_(network, options),
      features_(plan_.features_bytes, "the network's features"),
      scratch_(plan_.scratch_bytes * std::size_t(plan_.threads), "the kernels' scratch"),
      statistics_(plan_.statistics_bytes, "the norms' statistics"),
      row_logits_(plan_.row_logits_bytes * std::size_t(plan_.threads), "rows of logits"),
      scales_(checked_count<float>("norms", plan_.norms, plan_.norm_channels)),
      offsets_(scales_.size()) {
  for (const plan::Step& step : plan_.steps) {
    BoundStep bound;
    if (step.pool) {
      bound.pool = std::make_unique<BoundPool>();
      bound.pool->source = resolve(step.pool->source);
      bound.pool->output = resolve(step.pool->output);
      bound.pool->stride = step.pool->stride;
    } else {
      const plan::ConvolutionStep& planned = *step.convolution;
      auto convolution = std::make_unique<BoundConvolution>();
      convolution->planned = &planned;
      for (const plan::PlannedSource& source : planned.sources) convolution->sources.push_back(resolve(source));
      convolution->arguments.sources = convolution->sources.data();
      convolution->arguments.bias = planned.layer->bias;
      convolution->arguments.output = resolve(planned.output);
      if (planned.pooled.exists()) {
        convolution->arguments.pooled = {resolve(planned.pooled), planned.pool_minimum.data()};
      }
      convolution->arguments.statistics = reinterpret_cast<kernels::PartialStatistics*>(statistics_.data());
      if (planned.upward) {
        convolution->upward_input = resolve(planned.upward_input);
        convolution->upward_stride_height = planned.upward_layer->description.stride[1];
      }
      convolution->scale = scales_.data() + planned.norm * plan_.norm_channels;
      convolution->offset = offsets_.data() + planned.norm * plan_.norm_channels;
      bound.convolution = std::move(convolution);
    }
    steps_.push_back(std::move(bound));
  }
}

Engine::~Engine() = default;

kernels::Feature Engine::resolve(const plan::PlannedFeature& planned) {
  kernels::Feature feature;
  feature.data = features_.data() + plan_.buffer_offsets[std::size_t(planned.buffer)] + planned.offset;
  feature.element = planned.element;
  feature.channels = planned.channels;
  feature.extent = planned.extent;
  feature.channel_stride = planned.channel_stride;
  feature.stored_rows = planned.stored_rows;
  feature.row_gap = planned.row_gap;
  return feature;
}

kernels::Source Engine::resolve(const plan::PlannedSource& planned) {
  kernels::Source source;
  source.feature = resolve(planned.feature);
  if (planned.norm >= 0) {
    source.activation.scale = scales_.data() + planned.norm * plan_.norm_channels;
    source.activation.offset = offsets_.data() + planned.norm * plan_.norm_channels;
  }
  return source;
}

void Engine::load(const kernels::PatchView& patch) {
  const Stopwatch watch;
  const kernels::Feature input = resolve(plan_.input);
  run_team(plan_.threads, [&](const Worker& worker) {
    worker.for_each(input.extent.height,
                    [&](std::int64_t row) { load_patch_rows(patch, input, int(row), int(row) + 1); });
  });
  load_seconds_ = watch.seconds();
}

void Engine::run_convolution(BoundConvolution& convolution) {
  const plan::ConvolutionStep& planned = *convolution.planned;
  const kernels::Convolution& kernel = *planned.kernel;
  const kernels::TransposedConvolution* upward = planned.upward.get();
  const int bands = kernel.bands();
  const int items = kernel.items_per_band();
  const int outputs = planned.output.channels;
  convolution.upward_seconds = 0;

  run_team(plan_.threads, [&](const Worker& worker) {
    void* scratch = scratch_.data() + plan_.scratch_bytes * std::size_t(worker.thread());
    // Items first, then rows or bands: a thread's share is a part of the width, the same one in band after band.
    const auto upward_items = [&](const kernels::RowRange& rows) {
      return upward ? std::int64_t{rows.end - rows.begin} * upward->items_per_row() : 0;
    };
    const auto make_upward = [&](const kernels::RowRange& rows, std::int64_t i) {
      const Stopwatch watch;
      const int count = rows.end - rows.begin;
      const kernels::Feature& output = convolution.sources[std::size_t(planned.upward_source)].feature;
      upward->run(convolution.upward_input, output, rows.begin + int(i % count), int(i / count), scratch);
      if (worker.thread() == 0) convolution.upward_seconds += watch.seconds();
    };
    const auto run_bands = [&](int first, int count, std::int64_t i) {
      kernel.run(convolution.arguments, first + int(i % count), int(i / count), scratch);
    };

    if (planned.band_by_band()) {
      RowsAhead ahead(kernel, convolution.sources[std::size_t(upward ? planned.upward_source : 0)].feature,
                      convolution.upward_stride_height, planned.bottom_up);
      const int groups = (bands + planned.bands_at_once - 1) / planned.bands_at_once;
      const auto first_of = [&](int group) {
        return (planned.bottom_up ? groups - 1 - group : group) * planned.bands_at_once;
      };
      const auto count_of = [&](int group) { return std::min(planned.bands_at_once, bands - first_of(group)); };
      kernels::RowRange rows = ahead.next_for_bands(first_of(0), count_of(0));
      worker.for_each(upward_items(rows), [&](std::int64_t i) { make_upward(rows, i); });
      for (int group = 0; group < groups; ++group) {
        const int first = first_of(group);
        const int count = count_of(group);
        // What the next bands will read, so that threads meet once for both.
        rows =
            group + 1 < groups ? ahead.next_for_bands(first_of(group + 1), count_of(group + 1)) : kernels::RowRange();
        worker.for_each(
            std::int64_t{count} * items, [&](std::int64_t i) { run_bands(first, count, i); }, upward_items(rows),
            [&](std::int64_t i) { make_upward(rows, i); });
      }
    } else {
      const kernels::RowRange rows{0, upward ? convolution.upward_input.feature.extent.height : 0};
      worker.for_each(upward_items(rows), [&](std::int64_t i) { make_upward(rows, i); });
      worker.for_each(std::int64_t{bands} * items, [&](std::int64_t i) { run_bands(0, bands, i); });
    }
    // A thread a group of channels: each channel's slots are merged by one thread, in their order.
    constexpr int kGroup = 16;
    worker.for_each((outputs + kGroup - 1) / kGroup, [&](std::int64_t group) {
      const int begin = int(group) * kGroup;
      finish_instance_norm(convolution.arguments.statistics, planned.slot_voxels.data(),
                           int(planned.slot_voxels.size()), outputs, begin, std::min(begin + kGroup, outputs),
                           planned.layer->norm_weight, planned.layer->norm_bias, kNormEpsilon, convolution.scale,
                           convolution.offset);
    });
  });
}

void Engine::run_step(BoundStep& step) {
  const Stopwatch watch;
  if (step.convolution) {
    run_convolution(*step.convolution);
  } else {
    const BoundPool& pool = *step.pool;
    run_team(plan_.threads, [&](const Worker& worker) {
      worker.for_each(pool.output.extent.height, [&](std::int64_t row) {
        max_pool_rows(pool.source, pool.output, pool.stride, int(row), int(row) + 1);
      });
    });
  }
  step.seconds = watch.seconds();
}

void Engine::run(const kernels::PatchView& patch, LogitsSink& sink) {
  load(patch);
  for (BoundStep& step : steps_) run_step(step);

  const Stopwatch watch;
  const kernels::Source source = resolve(plan_.head_input);
  const model::Layer& head = network().head();
  run_team(plan_.threads, [&](const Worker& worker) {
    auto* logits = reinterpret_cast<float*>(row_logits_.data() + plan_.row_logits_bytes * std::size_t(worker.thread()));
    worker.for_each(source.feature.extent.height, [&](std::int64_t row) {
      head_row(source, head.values, head.description.outputs, int(row), logits);
      sink.consume(int(row), logits);
    });
  });
  head_seconds_ = watch.seconds();
}

void Engine::run_to_node(const kernels::PatchView& patch, const model::Node& node, float* values) {
  std::size_t last = steps_.size();
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i].convolution && steps_[i].convolution->planned->layer->description.node == node) last = i;
  }
  if (last == steps_.size()) {
    throw Error(ErrorCode::invalid_argument, "node: expected level i and stage j with i + j at most " +
                                                 std::to_string(network().architecture().pooling_steps()) + ", found " +
                                                 node_name(node));
  }
  load(patch);
  for (std::size_t i = 0; i <= last; ++i) run_step(steps_[i]);
  const plan::ConvolutionStep& planned = *steps_[last].convolution->planned;
  const kernels::Source source = resolve(plan::PlannedSource{planned.output, planned.norm});
  run_team(plan_.threads, [&](const Worker& worker) {
    worker.for_each(source.feature.extent.height,
                    [&](std::int64_t row) { store_activated_rows(source, values, int(row), int(row) + 1); });
  });
}

std::vector<StepTime> Engine::step_times() const {
  const auto bytes = [](const plan::PlannedFeature& feature) {
    return feature.exists()
               ? double(feature.channels) * double(feature.extent.voxels()) * double(element_bytes(feature.element))
               : 0.0;
  };
  std::vector<StepTime> times;
  StepTime input;
  input.name = "input";
  input.kernel = "load_patch_rows";
  input.bytes = 2 * bytes(plan_.input);
  input.seconds = load_seconds_;
  times.push_back(input);

  for (const BoundStep& step : steps_) {
    StepTime time;
    time.seconds = step.seconds;
    if (step.pool) {
      time.name = "down";
      time.kernel = "max_pool_rows";
      times.push_back(time);
      continue;
    }
    const plan::ConvolutionStep& planned = *step.convolution->planned;
    const model::LayerDescription& description = planned.layer->description;
    if (planned.upward) {
      StepTime up;
      up.name = "up into " + node_name(description.node);
      up.kernel = planned.upward->name();
      up.reason = "made ahead of its reader";
      up.density = planned.upward_layer->density();
      const model::Flops flops = count_flops(network(), *planned.upward_layer, plan_.patch);
      up.flops_executed = flops.executed;
      up.flops_paper = flops.paper;
      up.bytes = bytes(planned.upward_input.feature);
      up.seconds = step.convolution->upward_seconds;
      time.seconds -= up.seconds;
      times.push_back(up);
    }
    time.name = node_name(description.node) + " block " + std::to_string(description.block);
    time.kernel = planned.kernel->name();
    time.reason = planned.reason;
    time.density = planned.layer->density();
    const model::Flops flops = count_flops(network(), *planned.layer, plan_.patch);
    time.flops_executed = flops.executed;
    time.flops_paper = flops.paper;
    time.bytes = bytes(planned.output) + bytes(planned.pooled);
    for (std::size_t i = 0; i < planned.sources.size(); ++i) {
      if (int(i) != planned.upward_source) time.bytes += bytes(planned.sources[i].feature);
    }
    times.push_back(time);
  }
  StepTime head;
  head.name = "head";
  head.kernel = "head_row";
  const model::Flops flops = count_flops(network(), network().head(), plan_.patch);
  head.flops_executed = flops.executed;
  head.flops_paper = flops.paper;
  head.bytes = bytes(plan_.head_input.feature);
  head.seconds = head_seconds_;
  times.push_back(head);
  return times;
}

void StoreLogits::consume(int row, float* logits) {
  const std::ptrdiff_t depth = patch_[0];
  const std::ptrdiff_t height = patch_[1];
  const std::ptrdiff_t width = patch_[2];
  for (std::ptrdiff_t c = 0; c < classes_; ++c) {
    for (std::ptrdiff_t d = 0; d < depth; ++d) {
      float* to = values_ + ((c * depth + d) * height + row) * width;
      const float* from = logits + c * width * depth + d;
      for (std::ptrdiff_t w = 0; w < width; ++w) to[w] = from[w * depth];
    }
  }
}

}  // namespace e2enet::engine
