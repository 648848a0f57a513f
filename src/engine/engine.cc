#include "engine/engine.h"

#include <algorithm>
#include <chrono>

#include "base/checked_size.h"
#include "base/parallel.h"
#include "e2enet/error.h"

namespace e2enet::engine {
namespace {

constexpr float kNormEpsilon = 1e-5f;

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

// A step with every pointer in place.
struct Engine::BoundConvolution {
  const plan::ConvolutionStep* planned = nullptr;
  const plan::PackedNetwork::Step* packed = nullptr;
  std::vector<kernels::Source> sources;
  kernels::ConvolutionArguments arguments;
  kernels::Source upward_input;
  float* scale = nullptr;
  float* offset = nullptr;
  double upward_seconds = 0;  // of the last run, as the first thread saw it
};

struct Engine::BoundPool {
  kernels::Source source;
  kernels::Feature output;
  Stride stride{1, 1, 1};
};

struct Engine::BoundStep {
  std::unique_ptr<BoundConvolution> convolution;
  std::unique_ptr<BoundPool> pool;
  double seconds = 0;
};

// Cuts the caller's memory into the blocks of a plan, or gets each from the system.
class Engine::Memory {
 public:
  Memory(WorkingMemory given, const plan::Plan& plan) : left_(given) { require_enough(given, plan); }

  AlignedBuffer block(std::size_t bytes, const char* what) {
    if (!left_.memory) return AlignedBuffer(bytes, what);
    void* const begin = left_.memory;
    constexpr std::size_t kStep = AlignedBuffer::kAlignment;
    const std::size_t taken = (bytes + kStep - 1) / kStep * kStep;
    left_ = {static_cast<std::byte*>(begin) + taken, left_.bytes - taken};
    return AlignedBuffer::borrowed(begin, bytes);
  }

 private:
  WorkingMemory left_;
};

void require_enough(const WorkingMemory& memory, const plan::Plan& plan) {
  if (!memory.memory) return;
  const std::size_t needed = plan.working_bytes();
  if (memory.bytes < needed) {
    throw Error(ErrorCode::invalid_argument,
                "arena: expected at least " + std::to_string(needed) + " bytes, found " + std::to_string(memory.bytes));
  }
  if (reinterpret_cast<std::uintptr_t>(memory.memory) % AlignedBuffer::kAlignment != 0) {
    throw Error(ErrorCode::invalid_argument, "arena: expected memory at a multiple of " +
                                                 std::to_string(AlignedBuffer::kAlignment) + ", found another");
  }
}

Engine::Engine(const model::Network& network, const plan::PlanOptions& options, WorkingMemory memory)
    : program_(std::make_shared<const Program>(network, options)), threads_(plan().threads) {
  bind(memory);
}

Engine::Engine(const Engine& other, int threads)
    : program_(other.program_), threads_(std::min(threads, other.plan().threads)) {
  bind({});
}

void Engine::bind(WorkingMemory memory) {
  const plan::Plan& planned_network = plan();
  scales_.resize(checked_count<float>("norms", planned_network.norms, planned_network.norm_channels));
  offsets_.resize(scales_.size());
  Memory blocks(memory, planned_network);
  features_ = blocks.block(planned_network.features_bytes, "the network's features");
  scratch_ = blocks.block(planned_network.scratch_bytes * std::size_t(threads_), "the kernels' scratch");
  statistics_ = blocks.block(planned_network.statistics_bytes, "the norms' statistics");
  row_logits_ = blocks.block(planned_network.row_logits_bytes * std::size_t(threads_), "rows of logits");
  for (std::size_t i = 0; i < planned_network.steps.size(); ++i) {
    const plan::Step& step = planned_network.steps[i];
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
      convolution->packed = &program_->packed.steps()[i];
      for (const plan::PlannedSource& source : planned.sources) convolution->sources.push_back(resolve(source));
      convolution->arguments.sources = convolution->sources.data();
      convolution->arguments.bias = convolution->packed->layer->bias;
      convolution->arguments.output = resolve(planned.output);
      if (planned.pooled.exists()) {
        convolution->arguments.pooled = {resolve(planned.pooled), convolution->packed->pool_minimum.data()};
      }
      convolution->arguments.statistics = reinterpret_cast<kernels::PartialStatistics*>(statistics_.data());
      if (planned.upward) convolution->upward_input = resolve(planned.upward_input);
      convolution->scale = scales_.data() + planned.norm * planned_network.norm_channels;
      convolution->offset = offsets_.data() + planned.norm * planned_network.norm_channels;
      bound.convolution = std::move(convolution);
    }
    steps_.push_back(std::move(bound));
  }
}

Engine::~Engine() = default;

kernels::Feature Engine::resolve(const plan::PlannedFeature& planned) {
  kernels::Feature feature;
  feature.data = features_.data() + plan().buffer_offsets[std::size_t(planned.buffer)] + planned.offset;
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
    source.activation.scale = scales_.data() + planned.norm * plan().norm_channels;
    source.activation.offset = offsets_.data() + planned.norm * plan().norm_channels;
  }
  return source;
}

// --- What follows is run by all members of one team, from the patch to the logits; each loop ends with a meeting. ---

void Engine::load(const Worker& worker, const kernels::PatchView& patch) {
  const Stopwatch watch;
  const kernels::Feature input = resolve(plan().input);
  worker.for_each(input.extent.height,
                  [&](std::int64_t row) { load_patch_rows(patch, input, int(row), int(row) + 1); });
  if (worker.thread() == 0) load_seconds_ = watch.seconds();
}

void Engine::run_convolution(const Worker& worker, BoundConvolution& convolution) {
  const plan::ConvolutionStep& planned = *convolution.planned;
  const model::Layer& layer = *convolution.packed->layer;
  const kernels::Convolution& kernel = *convolution.packed->convolution;
  const kernels::TransposedConvolution* upward = convolution.packed->upward.get();
  const int items = planned.kernel->items_per_band();
  const int upward_items_per_row = upward ? planned.upward->items_per_row() : 0;
  const int outputs = planned.output.channels;
  double upward_seconds = 0;  // of this member

  void* scratch = scratch_.data() + plan().scratch_bytes * std::size_t(worker.thread());
  // Items first, then rows or bands: a thread's share is a part of the width, the same one in band after band.
  const auto upward_items = [&](const kernels::RowRange& rows) {
    return std::int64_t{rows.end - rows.begin} * upward_items_per_row;
  };
  const auto make_upward = [&](const kernels::RowRange& rows, std::int64_t i) {
    const Stopwatch watch;
    const int count = rows.end - rows.begin;
    const kernels::Feature& output = convolution.sources[std::size_t(planned.upward_source)].feature;
    upward->run(convolution.upward_input, output, rows.begin + int(i % count), int(i / count), scratch);
    if (worker.thread() == 0) upward_seconds += watch.seconds();
  };
  const kernels::RowRange& first_rows = planned.schedule.front().upward;
  worker.for_each(upward_items(first_rows), [&](std::int64_t i) { make_upward(first_rows, i); });
  for (std::size_t g = 0; g < planned.schedule.size(); ++g) {
    const plan::BandGroup& group = planned.schedule[g];
    // With what the next bands will read, so that threads meet once for both.
    const kernels::RowRange rows =
        g + 1 < planned.schedule.size() ? planned.schedule[g + 1].upward : kernels::RowRange();
    worker.for_each(
        std::int64_t{group.count} * items,
        [&](std::int64_t i) {
          kernel.run(convolution.arguments, group.first + int(i % group.count), int(i / group.count), scratch);
        },
        upward_items(rows), [&](std::int64_t i) { make_upward(rows, i); });
  }
  // A thread a group of channels: each channel's slots are merged by one thread, in their order.
  constexpr int kGroup = 16;
  worker.for_each((outputs + kGroup - 1) / kGroup, [&](std::int64_t group) {
    const int begin = int(group) * kGroup;
    finish_instance_norm(convolution.arguments.statistics, planned.slot_voxels.data(), int(planned.slot_voxels.size()),
                         outputs, begin, std::min(begin + kGroup, outputs), layer.norm_weight, layer.norm_bias,
                         kNormEpsilon, convolution.scale, convolution.offset);
  });
  if (worker.thread() == 0) convolution.upward_seconds = upward_seconds;
}

void Engine::run_step(const Worker& worker, BoundStep& step) {
  const Stopwatch watch;
  if (step.convolution) {
    run_convolution(worker, *step.convolution);
  } else {
    const BoundPool& pool = *step.pool;
    worker.for_each(pool.output.extent.height, [&](std::int64_t row) {
      max_pool_rows(pool.source, pool.output, pool.stride, int(row), int(row) + 1);
    });
  }
  if (worker.thread() == 0) step.seconds = watch.seconds();
}

void Engine::run(const Worker& worker, const kernels::PatchView& patch, LogitsSink& sink) {
  const kernels::Source source = resolve(plan().head_input);
  const model::Layer& head = network().head();
  load(worker, patch);
  for (BoundStep& step : steps_) run_step(worker, step);
  const Stopwatch watch;
  auto* logits = reinterpret_cast<float*>(row_logits_.data() + plan().row_logits_bytes * std::size_t(worker.thread()));
  worker.for_each(source.feature.extent.height, [&](std::int64_t row) {
    head_row(source, head.values, head.description.outputs, int(row), logits);
    sink.consume(int(row), logits);
  });
  if (worker.thread() == 0) head_seconds_ = watch.seconds();
}

void Engine::run(const kernels::PatchView& patch, LogitsSink& sink) {
  run_team(threads_, [&](const Worker& worker) { run(worker, patch, sink); });
}

void Engine::run_to_node(const kernels::PatchView& patch, const model::Node& node, float* values) {
  std::size_t last = steps_.size();
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i].convolution && steps_[i].convolution->planned->description.node == node) last = i;
  }
  if (last == steps_.size()) {
    throw Error(ErrorCode::invalid_argument, "node: expected level i and stage j with i + j at most " +
                                                 std::to_string(network().architecture().pooling_steps()) + ", found " +
                                                 model::node_name(node));
  }
  const plan::ConvolutionStep& planned = *steps_[last].convolution->planned;
  const kernels::Source source = resolve(plan::PlannedSource{planned.output, planned.norm});
  run_team(threads_, [&](const Worker& worker) {
    load(worker, patch);
    for (std::size_t i = 0; i <= last; ++i) run_step(worker, steps_[i]);
    worker.for_each(source.feature.extent.height,
                    [&](std::int64_t row) { store_activated_rows(source, values, int(row), int(row) + 1); });
  });
}

std::vector<StepTime> Engine::step_times() const {
  std::vector<StepTime> times;
  const auto add = [&](const plan::StepSummary& summary, double seconds) {
    StepTime time;
    time.name = summary.name;
    time.kernel = summary.kernel;
    time.reason = summary.reason;
    time.density = summary.density;
    time.flops_executed = summary.flops.executed;
    time.flops_paper = summary.flops.paper;
    time.bytes = summary.bytes;
    time.seconds = seconds;
    times.push_back(std::move(time));
  };
  add(plan().load_summary, load_seconds_);
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const BoundStep& step = steps_[i];
    if (step.pool) {
      add(plan().steps[i].pool->summary, step.seconds);
      continue;
    }
    const plan::ConvolutionStep& planned = *step.convolution->planned;
    const double upward_seconds = planned.upward ? step.convolution->upward_seconds : 0;
    if (planned.upward) add(planned.upward_summary, upward_seconds);
    add(planned.summary, step.seconds - upward_seconds);
  }
  add(plan().head_summary, head_seconds_);
  return times;
}

std::vector<std::vector<std::int64_t>> Engine::step_items() const {
  const auto rows = [](const kernels::Extent& extent) { return std::vector<std::int64_t>{extent.height}; };
  std::vector<std::vector<std::int64_t>> items{rows(plan().input.extent)};
  for (const plan::Step& step : plan().steps) {
    if (step.pool) {
      items.push_back(rows(step.pool->output.extent));
      continue;
    }
    // As run_convolution() goes through the schedule.
    const plan::ConvolutionStep& planned = *step.convolution;
    const int upward_items_per_row = planned.upward ? planned.upward->items_per_row() : 0;
    const auto upward_items = [&](const kernels::RowRange& made) {
      return std::int64_t{made.end - made.begin} * upward_items_per_row;
    };
    std::vector<std::int64_t> upward{upward_items(planned.schedule.front().upward)};
    std::vector<std::int64_t> convolution{0};
    for (std::size_t g = 0; g < planned.schedule.size(); ++g) {
      convolution.push_back(std::int64_t{planned.schedule[g].count} * planned.kernel->items_per_band());
      upward.push_back(g + 1 < planned.schedule.size() ? upward_items(planned.schedule[g + 1].upward) : 0);
    }
    if (planned.upward) items.push_back(std::move(upward));
    items.push_back(std::move(convolution));
  }
  items.push_back(rows(plan().head_input.feature.extent));
  return items;
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
