// What a model is made of, and what the network sees of an image.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "e2enet/export.h"
#include "e2enet/image.h"
#include "e2enet/model.h"
#include "e2enet/patch_runner.h"
#include "e2enet/segmenter.h"

namespace e2enet {

struct LayerInfo {
  std::string name;  // prefix of its tensors in the model file: "fusion.0.1.0"
  std::string kind;  // "backbone", "fusion", "upward" or "head"
  int inputs = 0;    // channels
  int outputs = 0;
  std::int64_t kept_kernels = 0;
  double density = 1;  // of these among inputs * outputs
  std::int64_t parameters = 0;
  double flops_paper = 0;  // of a patch, docs/flops.md
  double flops_executed = 0;
};

// Every layer in the order of the model file. `patch` 0, 0, 0: the model's own.
E2ENET_API std::vector<LayerInfo> layers(const Model& model, const std::array<int, 3>& patch = {0, 0, 0});

// How a network would run on a patch, without packing a kernel or getting memory for it.
struct NetworkPlan {
  std::array<int, 3> patch{0, 0, 0};
  int threads = 0;
  std::int64_t network_bytes = 0;  // features, scratch, packed weights
  std::int64_t process_bytes = 0;  // resident memory of this process at the most
  double flops_paper = 0;          // of a patch
  double flops_executed = 0;
};
// Throws Error (invalid_argument), naming the option.
E2ENET_API NetworkPlan plan_network(const Model& model, const PatchOptions& options = {});

// What the network's strides and levels are.
struct NetworkShape {
  std::vector<std::array<int, 3>> pool_strides;  // D, H, W from level i to level i + 1
  std::vector<int> features;                     // channels of each level
  int depth_shift_groups = 0;
  bool regions = false;  // labels may overlap (sigmoid); else each voxel has one class (softmax)
};
E2ENET_API NetworkShape network_shape(const Model& model);

// What the network would see of an image: cropped, transposed, resampled and normalised.
struct Prepared {
  std::array<std::int64_t, 4> shape{0, 0, 0, 0};  // channels, D, H, W in the network's frame
  std::vector<float> voxels;
};
// Of the options, `threads` and `allow_implausible_spacing` count. Throws Error: invalid_image, also where no voxel
// differs from zero.
E2ENET_API Prepared prepare(const Model& model, const Image& image, const Options& options = {});

// A model file with random weights, for benchmarks and tests. `configuration_json` is an object with the keys of
// docs/model-file.md and `density`, as for `e2enet random`; `source` names it in messages. The same text and seed give
// the same bytes. Throws Error: invalid_model, cannot_write.
E2ENET_API void write_random_model(const std::string& configuration_json, const std::string& source, std::uint64_t seed,
                                   const std::string& path);

// The instruction set that kernels use on this machine: "AVX3_ZEN4", "AVX2", "NEON".
E2ENET_API std::string instruction_set();

}  // namespace e2enet
