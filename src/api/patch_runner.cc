#include "e2enet/patch_runner.h"

#include <cmath>
#include <memory>
#include <random>
#include <utility>

#include "api/errors.h"
#include "api/patch.h"
#include "base/checked_size.h"
#include "base/parallel.h"
#include "kernels/kernel_list.h"
#include "model/flops.h"
#include "plan/kernel_choice.h"

namespace e2enet {
namespace {

const Error kNoMemoryToPlan(ErrorCode::out_of_memory, "no memory to plan the network");
const Error kNoMemoryToRun(ErrorCode::out_of_memory, "no memory to run a patch");

std::int64_t resident_without_kernels(const model::Network& network) {
  return resident_bytes() - network.kernel_bytes();
}

}  // namespace

kernels::PatchView view_of_patch(const float* values, const Extent& patch) {
  kernels::PatchView view;
  view.data = values;
  view.stride[2] = 1;
  view.stride[1] = patch[2];
  view.stride[0] = std::ptrdiff_t{patch[1]} * patch[2];
  view.channel_stride = view.stride[0] * patch[0];
  for (std::size_t axis = 0; axis < 3; ++axis) view.end[axis] = patch[axis];
  return view;
}

kernels::Element element_of(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return kernels::Element::f32;
    case Precision::bf16:
      return kernels::Element::bf16;
    case Precision::automatic:
      break;
  }
  throw Error(ErrorCode::invalid_argument,
              "precision: expected f32 or bf16, found the number " + std::to_string(static_cast<int>(precision)));
}

Precision precision_of(kernels::Element element) {
  return element == kernels::Element::bf16 ? Precision::bf16 : Precision::f32;
}

plan::PlanOptions plan_options(const PatchOptions& options) {
  plan::PlanOptions plan;
  plan.patch = options.patch;
  plan.threads = usable_threads(options.threads);
  plan.storage = element_of(options.precision);
  if (options.algorithm == "auto") return plan;
  plan::require_kernel_name(options.algorithm);
  plan.forced_algorithm = options.algorithm;
  return plan;
}

std::int64_t planned_process_bytes(std::int64_t loaded, const plan::Plan& plan, int input_channels) {
  const std::int64_t voxels = std::int64_t{plan.patch[0]} * plan.patch[1] * plan.patch[2];
  return loaded + static_cast<std::int64_t>(plan.peak_bytes()) + voxels * input_channels * 4;
}

std::vector<std::string> algorithms() {
  return with_errors(kNoMemoryToPlan, [] { return kernels::convolution_kernel_names(); });
}

std::size_t arena_bytes(const Model& model, const PatchOptions& options) {
  return with_errors(kNoMemoryToPlan,
                     [&] { return plan::Plan(*model.network(), plan_options(options)).working_bytes(); });
}

std::vector<float> noise_patch(int channels, const std::array<int, 3>& patch) {
  return with_errors(kNoMemoryToRun, [&] {
    std::vector<float> values(checked_count<float>("a patch of noise", channels, patch[0], patch[1], patch[2]));
    std::mt19937 random(1);
    constexpr double kScale = 1.0 / 4294967296.0;
    for (float& value : values) {  // the sum of four uniform numbers is near enough to normal, and exact everywhere
      double sum = 0;
      for (int i = 0; i < 4; ++i) sum += random() * kScale;
      value = static_cast<float>((sum - 2.0) * std::sqrt(3.0));
    }
    return values;
  });
}

struct PatchRunner::Implementation {
  Implementation(const model::Network& network, const PatchOptions& options)
      : parallel_for(options.parallel_for),
        loaded(resident_without_kernels(network)),
        engine(network, plan_options(options), {options.arena.memory, options.arena.bytes}) {}

  ParallelFor parallel_for;
  std::int64_t loaded;  // bytes, before the plan was made
  engine::Engine engine;
};

PatchRunner::PatchRunner(Model model, const PatchOptions& options)
    : implementation_(with_errors(kNoMemoryToPlan, [&] {
        const ThreadsOfCaller threads(options.parallel_for);
        auto made = std::make_unique<Implementation>(*model.network(), options);
        { const Model given_back = std::move(model); }  // packed
        return made;
      })) {}
PatchRunner::~PatchRunner() = default;
PatchRunner::PatchRunner(PatchRunner&&) noexcept = default;
PatchRunner& PatchRunner::operator=(PatchRunner&&) noexcept = default;

void PatchRunner::run(const float* patch, float* logits) {
  engine::Engine& engine = implementation_->engine;
  const ThreadsOfCaller threads(implementation_->parallel_for);
  with_errors(kNoMemoryToRun, [&] {
    const kernels::PatchView view = view_of_patch(patch, engine.plan().patch);
    if (logits) {
      engine::StoreLogits store(logits, classes(), engine.plan().patch);
      engine.run(view, store);
    } else {
      DropLogits drop;
      engine.run(view, drop);
    }
  });
}

void PatchRunner::run_to_node(const float* patch, int level, int stage, float* values) {
  engine::Engine& engine = implementation_->engine;
  const ThreadsOfCaller threads(implementation_->parallel_for);
  with_errors(kNoMemoryToRun, [&] {
    node_shape(level, stage);
    engine.run_to_node(view_of_patch(patch, engine.plan().patch), {level, stage}, values);
  });
}

std::array<std::int64_t, 4> PatchRunner::node_shape(int level, int stage) const {
  return with_errors(kNoMemoryToRun, [&] {
    const model::Architecture& architecture = implementation_->engine.network().architecture();
    if (level < 0 || stage < 0 || level + stage > architecture.pooling_steps()) {
      throw Error(ErrorCode::invalid_argument,
                  "node: expected I,J with I + J at most " + std::to_string(architecture.pooling_steps()) +
                      " in this network, found '" + std::to_string(level) + "," + std::to_string(stage) + "'");
    }
    const Extent extent = architecture.extent(implementation_->engine.plan().patch, level);
    return std::array<std::int64_t, 4>{architecture.features(level), extent[0], extent[1], extent[2]};
  });
}

std::array<int, 3> PatchRunner::patch() const { return implementation_->engine.plan().patch; }
int PatchRunner::threads() const { return implementation_->engine.plan().threads; }
Precision PatchRunner::precision() const { return precision_of(implementation_->engine.plan().storage); }
int PatchRunner::input_channels() const { return implementation_->engine.network().architecture().input_channels; }
int PatchRunner::classes() const { return implementation_->engine.network().architecture().classes; }
std::int64_t PatchRunner::planned_bytes() const {
  return static_cast<std::int64_t>(implementation_->engine.plan().peak_bytes());
}
std::int64_t PatchRunner::planned_process_bytes() const {
  return e2enet::planned_process_bytes(implementation_->loaded, implementation_->engine.plan(), input_channels());
}
std::int64_t PatchRunner::parameters() const {
  return with_errors(kNoMemoryToPlan, [&] { return model::count_parameters(implementation_->engine.network()); });
}
double PatchRunner::flops_paper() const {
  return with_errors(kNoMemoryToPlan,
                     [&] { return model::count_flops(implementation_->engine.network(), patch()).paper; });
}
double PatchRunner::flops_executed() const {
  return with_errors(kNoMemoryToPlan,
                     [&] { return model::count_flops(implementation_->engine.network(), patch()).executed; });
}

std::vector<StepTime> PatchRunner::step_times() const {
  return with_errors(kNoMemoryToPlan, [&] {
    std::vector<StepTime> times;
    for (const engine::StepTime& step : implementation_->engine.step_times()) {
      times.push_back({step.name, step.kernel, step.reason, step.density, step.flops_executed, step.flops_paper,
                       step.bytes, step.seconds});
    }
    return times;
  });
}

std::vector<PatchLoop> PatchRunner::loops() const {
  return with_errors(kNoMemoryToPlan, [&] {
    const engine::Engine& engine = implementation_->engine;
    std::vector<PatchLoop> loops;
    for (const plan::Loop& loop : engine.plan().loops) {
      loops.push_back({engine.place(int(loops.size())), plan::name_of(loop.work), loop.count, loop.after, loop.beside});
    }
    return loops;
  });
}

}  // namespace e2enet
