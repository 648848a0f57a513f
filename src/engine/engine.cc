#include "engine/engine.h"

#include <algorithm>
#include <chrono>

#include "base/checked_size.h"
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

// Loops of which others await single iterations.
std::vector<bool> awaited_in_part(const plan::Plan& plan) {
  std::vector<bool> awaited(plan.loops.size(), false);
  for (const plan::Loop& loop : plan.loops) {
    for (const int before : loop.beside) awaited[std::size_t(before)] = true;
  }
  return awaited;
}

std::vector<int> counts_of_loops(const plan::Plan& plan) {
  std::vector<int> counts;
  for (const plan::Loop& loop : plan.loops) counts.push_back(loop.count);
  return counts;
}

// The place of each loop among Engine::step_times(): the patch, the steps with an upward flow before its reader, the
// head.
std::vector<int> places_of_loops(const plan::Plan& plan) {
  std::vector<int> of_step;
  int next = 1;
  for (const plan::Step& step : plan.steps) {
    if (step.convolution && step.convolution->upward) ++next;
    of_step.push_back(next++);
  }
  std::vector<int> places;
  for (const plan::Loop& loop : plan.loops) {
    using Work = plan::Loop::Work;
    if (loop.step < 0) {
      places.push_back(loop.work == Work::load ? 0 : next);
    } else {
      places.push_back(of_step[std::size_t(loop.step)] - (loop.work == Work::upward ? 1 : 0));
    }
  }
  return places;
}

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
};

struct Engine::BoundPool {
  kernels::Source source;
  kernels::Feature output;
  Stride stride{1, 1, 1};
};

struct Engine::BoundStep {
  std::unique_ptr<BoundConvolution> convolution;
  std::unique_ptr<BoundPool> pool;
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
    : program_(std::make_shared<const Program>(network, options)),
      threads_(plan().threads),
      progress_(counts_of_loops(plan()), awaited_in_part(plan()), threads_) {
  bind(memory);
}

Engine::Engine(const Engine& other, int threads)
    : program_(other.program_),
      threads_(std::min(threads, other.plan().threads)),
      progress_(counts_of_loops(plan()), awaited_in_part(plan()), threads_) {
  bind({});
}

void Engine::bind(WorkingMemory memory) {
  const plan::Plan& planned_network = plan();
  scales_.resize(checked_count<float>("norms", planned_network.norms, planned_network.norm_channels));
  offsets_.resize(scales_.size());
  places_ = engine::places_of_loops(planned_network);
  seconds_.assign(std::size_t(places_.back()) + 1, 0.0);
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
      convolution->arguments.statistics = reinterpret_cast<kernels::PartialStatistics*>(
          statistics_.data() +
          std::size_t(planned.statistics_block()) * (planned_network.statistics_bytes / plan::kStatisticsBlocks));
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

// --- What follows is run by all members of one team, from the patch to the logits. ---

void Engine::await(const Worker& worker, const plan::Loop& loop, int iteration, bool first) const {
  if (first) {
    for (const int before : loop.after) progress_.await(worker, before);
  }
  for (const int before : loop.beside) {
    const plan::Loop& other = plan().loops[std::size_t(before)];
    const plan::IterationRange awaited = plan().awaited(loop, iteration, other);
    progress_.await(worker, before, awaited.begin, awaited.end);
  }
}

void Engine::run_iteration(const plan::Loop& loop, int iteration, int thread, const kernels::PatchView& patch,
                           LogitsSink& sink) {
  using Work = plan::Loop::Work;
  void* scratch = scratch_.data() + plan().scratch_bytes * std::size_t(thread);
  const BoundStep* const step = loop.step < 0 ? nullptr : &steps_[std::size_t(loop.step)];
  switch (loop.work) {
    case Work::load:
      load_patch_rows(patch, resolve(plan().input), iteration, iteration + 1);
      return;
    case Work::upward: {
      const BoundConvolution& convolution = *step->convolution;
      const plan::ConvolutionStep& planned = *convolution.planned;
      const plan::Loop::Place place = loop.place(iteration);
      convolution.packed->upward->run(convolution.upward_input,
                                      convolution.sources[std::size_t(planned.upward_source)].feature, place.at,
                                      place.item, scratch);
      return;
    }
    case Work::bands: {
      const BoundConvolution& convolution = *step->convolution;
      const plan::Loop::Place place = loop.place(iteration);
      convolution.packed->convolution->run(convolution.arguments, place.at, place.item, scratch);
      return;
    }
    case Work::norm: {
      const BoundConvolution& convolution = *step->convolution;
      const plan::ConvolutionStep& planned = *convolution.planned;
      const model::Layer& layer = *convolution.packed->layer;
      const int outputs = planned.output.channels;
      const int begin = iteration * plan::kNormChannels;
      finish_instance_norm(convolution.arguments.statistics, planned.slot_voxels.data(),
                           int(planned.slot_voxels.size()), outputs, begin,
                           std::min(begin + plan::kNormChannels, outputs), layer.norm_weight, layer.norm_bias,
                           kNormEpsilon, convolution.scale, convolution.offset);
      return;
    }
    case Work::pool:
      max_pool_rows(step->pool->source, step->pool->output, step->pool->stride, iteration, iteration + 1);
      return;
    case Work::head: {
      const model::Layer& head = network().head();
      auto* logits = reinterpret_cast<float*>(row_logits_.data() + plan().row_logits_bytes * std::size_t(thread));
      head_row(resolve(plan().head_input), head.values, head.description.outputs, iteration, logits);
      sink.consume(iteration, logits);
      return;
    }
  }
}

void Engine::run_loops(const Worker& worker, int end, const kernels::PatchView& patch, LogitsSink& sink) {
  progress_.restart(worker);
  const bool timed = worker.thread() == 0;
  if (timed) std::fill(seconds_.begin(), seconds_.end(), 0.0);
  const Stopwatch watch;
  double told = 0;
  const auto tell = [&](int loop) {
    if (!timed) return;
    const double now = watch.seconds();
    seconds_[std::size_t(place(loop))] += now - told;
    told = now;
  };
  progress_.run(
      worker, end,
      [&](int loop, int iteration, bool first) { await(worker, plan().loops[std::size_t(loop)], iteration, first); },
      [&](int loop, int iteration) {
        run_iteration(plan().loops[std::size_t(loop)], iteration, worker.thread(), patch, sink);
        tell(loop);
      });
  worker.meet();
  tell(end - 1);  // that this thread waited for the others' last
}

void Engine::run(const Worker& worker, const kernels::PatchView& patch, LogitsSink& sink) {
  run_loops(worker, progress_.loops(), patch, sink);
}

void Engine::run(const kernels::PatchView& patch, LogitsSink& sink) {
  run_team(threads_, [&](const Worker& worker) { run(worker, patch, sink); });
}

void Engine::run_in_order(const std::vector<LoopIteration>& order, const kernels::PatchView& patch, LogitsSink& sink) {
  for (const LoopIteration& next : order) {
    run_iteration(plan().loops[std::size_t(next.loop)], next.iteration, 0, patch, sink);
  }
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
  // Until its norm is known, and no further: the next step may write over it.
  int end = 0;
  while (plan().loops[std::size_t(end)].work != plan::Loop::Work::norm ||
         plan().loops[std::size_t(end)].step != int(last)) {
    ++end;
  }
  StoreLogits nowhere(nullptr, 0, plan().patch);
  run_team(threads_, [&](const Worker& worker) {
    run_loops(worker, end + 1, patch, nowhere);
    worker.for_each(source.feature.extent.height,
                    [&](std::int64_t row) { store_activated_rows(source, values, int(row), int(row) + 1); });
  });
}

std::vector<StepTime> Engine::step_times() const {
  std::vector<StepTime> times;
  const auto add = [&](const plan::StepSummary& summary) {
    StepTime time;
    time.name = summary.name;
    time.kernel = summary.kernel;
    time.reason = summary.reason;
    time.density = summary.density;
    time.flops_executed = summary.flops.executed;
    time.flops_paper = summary.flops.paper;
    time.bytes = summary.bytes;
    time.seconds = seconds_[times.size()];
    times.push_back(std::move(time));
  };
  add(plan().load_summary);
  for (const plan::Step& step : plan().steps) {
    if (step.pool) {
      add(step.pool->summary);
      continue;
    }
    if (step.convolution->upward) add(step.convolution->upward_summary);
    add(step.convolution->summary);
  }
  add(plan().head_summary);
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
