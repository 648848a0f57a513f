// What the commands that run a bare network, or plan one, share: options and the forms in which values are written.
#pragma once

#include <array>
#include <string>

#include "e2enet/patch_runner.h"

namespace e2enet::cli {

class Command;

struct NetworkOptions {
  std::string model;
  std::string patch;  // D,H,W; empty: the model's own
  std::string precision = "f32";
  std::string algorithm = "auto";
};

// --precision f32|bf16, and where a memory limit can ask for it, auto.
enum class AutomaticPrecision { no, yes };
void add_precision_option(Command& command, std::string& precision, const std::string& group,
                          AutomaticPrecision automatic = AutomaticPrecision::no);
// --algorithm auto|winograd|direct|onednn|reference
void add_algorithm_option(Command& command, std::string& algorithm, const std::string& group);
// --force
void add_force_option(Command& command, bool& force, const std::string& group);
// --patch D,H,W
void add_patch_option(Command& command, std::string& patch, const std::string& group);

// Of --threads, --patch, --precision and --algorithm.
PatchOptions patch_options(const NetworkOptions& options, int threads);
// f32, bf16 or auto.
Precision parse_precision(const std::string& text);

std::string triple_text(const std::array<int, 3>& triple);  // 128 x 128 x 128

}  // namespace e2enet::cli
