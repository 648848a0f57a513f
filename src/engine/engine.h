// Runs a plan on one patch after another.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/loops.h"
#include "base/parallel.h"
#include "kernels/elementwise.h"
#include "plan/packed_network.h"
#include "plan/plan.h"

namespace e2enet::engine {

// Takes the logits of a patch row by row, so that they never exist as a whole unless somebody wants them.
class LogitsSink {
 public:
  virtual ~LogitsSink() = default;
  // logits is [classes][W][D] of row h = `row`, and the sink may overwrite it. Called from several threads at once, for
  // different rows, each row once. What it throws comes out of Engine::run(), which can be called again.
  virtual void consume(int row, float* logits) = 0;
};

// What one step took on the last patch.
struct StepTime {
  std::string name;  // "x[0][1] block 1", "up into x[0][1]", "head"
  std::string kernel;
  std::string reason;
  double density = 1;
  double flops_executed = 0;
  double flops_paper = 0;
  double bytes = 0;  // that the step must read and write at least once
  double seconds = 0;
};

// Memory of the caller's for an engine to work in, plan::Plan::working_bytes() of it, at a multiple of 64; none: the
// engine gets its own.
struct WorkingMemory {
  void* memory = nullptr;
  std::size_t bytes = 0;
};

// Throws Error (invalid_argument) where memory of the caller's is too small for the plan, or not aligned.
void require_enough(const WorkingMemory& memory, const plan::Plan& plan);

// Of one of Plan::loops.
struct LoopIteration {
  int loop = 0;
  int iteration = 0;
};

// Holds the working memory of one plan. One patch at a time; allocates nothing after construction.
class Engine {
 public:
  // Plans, packs the network's kernels and does not need the network afterwards: who owns it may free it. Throws Error:
  // invalid_argument, out_of_memory.
  Engine(const model::Network& network, const plan::PlanOptions& options, WorkingMemory memory = {});
  // A second working memory, for at most `threads` threads (of the plan's), beside that of another engine, whose plan
  // and packed kernels both use: so one can run a patch while the other runs another. Throws Error (out_of_memory).
  Engine(const Engine& other, int threads);
  ~Engine();

  const plan::Plan& plan() const { return program_->plan; }
  const model::Network& network() const { return program_->packed.network(); }  // without kernels

  // Any number of threads gives the same bits.
  void run(const kernels::PatchView& patch, LogitsSink& sink);
  // The same as a part of what a team does: to be called by each of its members, which are as many threads as this
  // engine has memory for, or fewer.
  void run(const Worker& worker, const kernels::PatchView& patch, LogitsSink& sink);

  // The same on the calling thread alone, iteration after iteration of the plan's loops in an order of the caller's,
  // which must be one that they allow: to test that whatever they allow gives the same bits.
  void run_in_order(const std::vector<LoopIteration>& order, const kernels::PatchView& patch, LogitsSink& sink);

  // Runs until the node is complete and writes it, activated, as (C, D, H, W) floats. Throws Error (invalid_argument)
  // when the network has no such node.
  void run_to_node(const kernels::PatchView& patch, const model::Node& node, float* values);

  // The times of the last patch, in the order of the schedule.
  std::vector<StepTime> step_times() const;
  // The place therein of one of the plan's loops.
  int place(int loop) const { return places_[std::size_t(loop)]; }

 private:
  class Memory;
  struct BoundConvolution;
  struct BoundPool;
  struct BoundStep;

  // What engines beside each other share.
  struct Program {
    Program(const model::Network& network, const plan::PlanOptions& options)
        : plan(network, options), packed(plan, network) {}
    const plan::Plan plan;
    const plan::PackedNetwork packed;
  };

  void bind(WorkingMemory memory);
  kernels::Feature resolve(const plan::PlannedFeature& feature);
  kernels::Source resolve(const plan::PlannedSource& source);
  void await(const Worker& worker, const plan::Loop& loop, int iteration, bool first) const;
  void run_iteration(const plan::Loop& loop, int iteration, int thread, const kernels::PatchView& patch,
                     LogitsSink& sink);
  void run_loops(const Worker& worker, int end, const kernels::PatchView& patch, LogitsSink& sink);

  std::shared_ptr<const Program> program_;
  int threads_;  // that there is working memory for
  AlignedBuffer features_;
  AlignedBuffer scratch_;  // per thread
  AlignedBuffer statistics_;
  AlignedBuffer row_logits_;  // per thread
  std::vector<float> scales_;
  std::vector<float> offsets_;
  std::vector<BoundStep> steps_;
  LoopProgress progress_;
  std::vector<int> places_;      // of loops in step_times()
  std::vector<double> seconds_;  // of the last patch, of each of step_times(), as the first thread saw it
};

// Writes the logits to a float array in (classes, D, H, W) order.
class StoreLogits : public LogitsSink {
 public:
  StoreLogits(float* values, int classes, const Extent& patch) : values_(values), classes_(classes), patch_(patch) {}
  void consume(int row, float* logits) override;

 private:
  float* values_;
  int classes_;
  Extent patch_;
};

}  // namespace e2enet::engine
