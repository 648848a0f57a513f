// The bare network on one patch: for devices that bring their own volumes to it, and for measurements.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "e2enet/export.h"
#include "e2enet/model.h"
#include "e2enet/segmenter.h"

namespace e2enet {

struct PatchOptions {
  // D, H, W; a multiple of what the network's strides ask for. 0, 0, 0: the model's own.
  std::array<int, 3> patch{0, 0, 0};
  int threads = 0;  // as Options::threads
  ParallelFor parallel_for;
  Precision precision = Precision::f32;  // f32 or bf16
  // "auto", or for comparisons one of algorithms(): this one for every layer that it can compute.
  std::string algorithm = "auto";
  Arena arena;
};

// Names of what can compute a convolution: "winograd", "direct", "onednn" (where the library was built with it),
// "reference" (slow and exact).
E2ENET_API std::vector<std::string> algorithms();

// The bytes that an arena for these options must have. Of Options, `threads` and `precision` decide, and the patch is
// the model's own. Throws Error (invalid_argument), naming the option.
E2ENET_API std::size_t arena_bytes(const Model& model, const PatchOptions& options = {});

// What one step of the network took on the last patch.
struct StepTime {
  std::string name;    // "x[0][1] block 1", "up into x[0][1]", "head"
  std::string kernel;  // that computed it
  std::string reason;  // why this one
  double density = 1;  // kept kernels over all
  double flops_executed = 0;
  double flops_paper = 0;
  double bytes = 0;  // that the step must read and write at least once
  double seconds = 0;
};

// A loop whose items threads share. A thread that finds no item left goes on to the next loop, whose items begin when
// what they wait for is done; threads never meet in between.
struct PatchLoop {
  int step = 0;  // in PatchRunner::step_times()
  // "load", "upward", "bands", "norm" (of what bands have written: a few microseconds), "pool" or "head".
  std::string work;
  std::int64_t items = 0;
  std::vector<int> after;  // loops that must be done before an item of this one begins
  // Loops of which an item waits for a part only: those items whose columns of pixels it touches.
  std::vector<int> beside;
};

// Holds a plan and its working memory for patches of one size. One thread at a time. After construction (and the first
// run) a run takes no heap memory, but where "onednn" computes layers.
//
//   e2enet::PatchRunner runner(e2enet::Model::load("model.safetensors"));
//   runner.run(patch.data(), logits.data());
class E2ENET_API PatchRunner {
 public:
  // Throws Error: invalid_argument (naming the option), out_of_memory.
  explicit PatchRunner(Model model, const PatchOptions& options = {});
  ~PatchRunner();
  PatchRunner(PatchRunner&&) noexcept;
  PatchRunner& operator=(PatchRunner&&) noexcept;

  // `patch` is (channels, D, H, W), already normalised; writes (classes, D, H, W) logits, or throws them away as they
  // come where `logits` is null. Throws Error: out_of_memory (where the system gives no thread).
  void run(const float* patch, float* logits);
  // The output of node x[level][stage], activated: (channels, D, H, W) of node_shape(). Throws Error (invalid_argument)
  // where the network has no such node.
  void run_to_node(const float* patch, int level, int stage, float* values);
  std::array<std::int64_t, 4> node_shape(int level, int stage) const;

  std::array<int, 3> patch() const;
  int threads() const;
  Precision precision() const;
  int input_channels() const;
  int classes() const;
  // Working memory of the network: features, scratch, packed weights.
  std::int64_t planned_bytes() const;
  // Resident memory of this process at the most: what it held beside the model's kernels before this was made, the
  // above and the patch.
  std::int64_t planned_process_bytes() const;
  std::int64_t parameters() const;
  double flops_paper() const;  // of this patch
  double flops_executed() const;

  // Of the last patch, in the order of the schedule.
  std::vector<StepTime> step_times() const;
  // The loops of a patch, in the order in which each thread goes through them.
  std::vector<PatchLoop> loops() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

// The same noise on every machine, (channels, D, H, W): normally distributed, as a normalised image roughly is.
E2ENET_API std::vector<float> noise_patch(int channels, const std::array<int, 3>& patch);

}  // namespace e2enet
