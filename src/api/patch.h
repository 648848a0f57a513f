// What running a bare patch takes, for whoever runs one: PatchRunner, and Segmenter when it measures its speed.
#pragma once

#include "e2enet/patch_runner.h"
#include "e2enet/segmenter.h"
#include "engine/engine.h"

namespace e2enet {

// Contiguous values in (channels, D, H, W) order as the engine wants to see them.
kernels::PatchView view_of_patch(const float* values, const Extent& patch);

// Throws away logits as they come, so that only the network is measured.
class DropLogits : public engine::LogitsSink {
 public:
  void consume(int, float*) override {}
};

// f32 or bf16; throws Error (invalid_argument) for what is neither.
kernels::Element element_of(Precision precision);
Precision precision_of(kernels::Element element);

// The plan's options for a bare patch. Throws Error (invalid_argument), naming the option.
plan::PlanOptions plan_options(const PatchOptions& options);

// Resident memory of a process at the most that had `loaded` bytes beside the network's kernels before it planned, and
// runs patches that it keeps as float32.
std::int64_t planned_process_bytes(std::int64_t loaded, const plan::Plan& plan, int input_channels);

}  // namespace e2enet
