// What info, profile, bench and forward share: options of a bare network run, a patch to run it on, memory used.
#pragma once

#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/network.h"
#include "plan/plan.h"

namespace e2enet::cli {

struct NetworkOptions {
  std::string model;
  std::string patch;  // D,H,W; empty: the model's own
  std::string precision = "f32";
  std::string algorithm = "auto";
};

// --precision f32|bf16, and where a memory limit can ask for it, auto.
enum class AutomaticPrecision { no, yes };
void add_precision_option(CLI::App& command, std::string& precision, const std::string& group,
                          AutomaticPrecision automatic = AutomaticPrecision::no);
const char* precision_name(kernels::Element precision);
// --algorithm auto|winograd|direct|onednn|reference
void add_algorithm_option(CLI::App& command, std::string& algorithm, const std::string& group);
// --force
void add_force_option(CLI::App& command, bool& force, const std::string& group);
// --patch D,H,W
void add_patch_option(CLI::App& command, std::string& patch, const std::string& group);

plan::PlanOptions plan_options(const NetworkOptions& options, int threads);

// The patch that a plan will really use.
model::Triple patch_of(const model::Network& network, const plan::PlanOptions& options);

// Memory of this process beside the kernels of a network that it has loaded, which a plan keeps in its own form.
std::int64_t resident_without_kernels(const model::Network& network);

// Memory at the most of a process that had `loaded` = resident_without_kernels() before it planned, and runs patches
// that it keeps as float32.
std::int64_t planned_process_bytes(std::int64_t loaded, const plan::Plan& plan, int input_channels);

// Contiguous values in (channels, D, H, W) order as the engine wants to see them.
kernels::PatchView view_of(const float* values, const model::Triple& patch);

// The same noise on every machine: normally distributed, as a normalised image roughly is.
std::vector<float> noise_patch(int channels, const model::Triple& patch);

// Throws away logits as they come, so that only the network is measured.
class DropLogits : public engine::LogitsSink {
 public:
  void consume(int, float*) override {}
};

std::string triple_text(const model::Triple& triple);  // 128 x 128 x 128

}  // namespace e2enet::cli
