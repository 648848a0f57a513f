#include "plan/kernel_choice.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "e2enet/error.h"

namespace e2enet::plan {
namespace {

// Cycles of a Zen 4 core, as measured (docs/performance.md, "Cost model"); only ratios matter.
struct Cost {
  double cycles = 0;
  const char* algorithm = "";
};

Cost direct_cost(const kernels::ConvolutionShape& shape, const kernels::SparseKernels& kernels) {
  const kernels::Extent output = shape.output();
  // Lanes are (pixel, depth) pairs of a row.
  const double row_lanes = double(output.width) * output.depth;
  const double lanes = double(output.height) * std::ceil(row_lanes / 16.0) * 16.0;
  // Nine products a kept kernel: in a dense layer a load serves several outputs, in a sparse one each needs its own,
  // and most loads cross a cache line.
  const double product = kernels.density() == 1.0 ? 9.5 : 16.0;
  // Staging, a pixel: slower where every second depth is picked.
  const double staging =
      16.0 * direct_staged_pixels(shape, kernels) *
      (shape.stride.depth == 1 ? 16.0 + 9.0 * std::ceil(output.depth / 16.0) : 1.2 * shape.input.depth);
  return {lanes * (product * double(kernels.count()) + 6.0 * kernels.outputs) + staging * kernels.inputs, "direct"};
}

Cost winograd_cost(const kernels::ConvolutionShape& shape, const kernels::SparseKernels& kernels) {
  const kernels::Extent output = shape.output();
  const bool strided = shape.stride.height == 2;
  const auto tiles = [](int size) { return double((size + 3) / 4); };
  // Lanes are (tile, depth) pairs of a tile row; a short row leaves some of the last vector's 16 lanes empty.
  const double row_lanes = std::ceil(tiles(output.width) * output.depth / 16.0) * 16.0;
  const double lanes = tiles(output.height) * row_lanes;
  // Features of narrow depths come from a cache, but their outputs are cut from lanes that cross pixels.
  const bool whole_vectors = output.depth % 16 == 0;
  const double transforms_of_channels = whole_vectors ? 430.0 * kernels.inputs + 170.0 * kernels.outputs
                                                      : 350.0 * kernels.inputs + 360.0 * kernels.outputs;
  const double positions = strided ? 81.0 : 36.0;
  const double product = positions * (kernels.density() >= 0.85 ? 1.03 : 1.42);
  const double transforms = strided ? 2.25 : 1.0;
  // What fits one vector is one item, for which all threads but one wait; two are taken to have come.
  const double waiting = lanes <= 16.0 ? 2.0 : 1.0;
  return {waiting * lanes * (transforms * transforms_of_channels + product * double(kernels.count())), "Winograd"};
}

// With stride 2 the transformed kernels take nine times the memory of the kernels. On coarse levels, with many channels
// and few voxels, that is not worth the little time that it saves: in the paper's network 53 MB for 12 of 1700 ms.
bool transformed_kernels_are_too_large(const kernels::ConvolutionShape& shape, const kernels::SparseKernels& kernels) {
  constexpr double kMostBytes = 8 << 20;
  return shape.stride.height == 2 && 81.0 * sizeof(float) * double(kernels.count()) > kMostBytes;
}

std::string describe(const Cost& chosen, const Cost& other) {
  char text[96];
  std::snprintf(text, sizeof text, "estimated %.1f times faster than %s", other.cycles / chosen.cycles,
                other.algorithm);
  return text;
}

std::unique_ptr<kernels::Convolution> make(Algorithm algorithm, const kernels::ConvolutionShape& shape,
                                           const kernels::SparseKernels& kernels, const PlanOptions& options) {
  const kernels::Element storage = options.storage;
  switch (algorithm) {
    case Algorithm::reference:
      return make_reference_convolution(shape, kernels, storage);
    case Algorithm::winograd:
      return make_sparse_winograd(shape, kernels, storage);
    case Algorithm::onednn:
      if (kernels.density() != 1.0) return nullptr;
      return make_dense_onednn(shape, kernels, storage, options.threads);
    case Algorithm::direct:
      return make_sparse_direct(shape, kernels, storage);
  }
  throw Error(ErrorCode::internal, "an algorithm without a kernel");
}

}  // namespace

const char* algorithm_name(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::reference:
      return "reference";
    case Algorithm::winograd:
      return "winograd";
    case Algorithm::onednn:
      return "onednn";
    case Algorithm::direct:
      return "direct";
  }
  throw Error(ErrorCode::internal, "an algorithm without a name");
}

KernelChoice choose_convolution(const kernels::ConvolutionShape& shape, const kernels::SparseKernels& kernels,
                                const PlanOptions& options, bool exact) {
  KernelChoice choice;
  if (options.forced_algorithm) {
    choice.kernel = make(*options.forced_algorithm, shape, kernels, options);
    choice.reason = "asked for";
    if (choice.kernel) return choice;
  }
  const Cost direct = direct_cost(shape, kernels);
  const Cost winograd = winograd_cost(shape, kernels);
  if (!winograd_takes(shape.stride)) {
    choice.kernel = make(Algorithm::direct, shape, kernels, options);
    choice.reason = "strides that Winograd cannot take";
  } else if (exact) {
    choice.kernel = make(Algorithm::direct, shape, kernels, options);
    choice.reason = "a norm over few voxels will magnify its rounding";
  } else if (transformed_kernels_are_too_large(shape, kernels)) {
    choice.kernel = make(Algorithm::direct, shape, kernels, options);
    choice.reason = "transformed kernels would take too much memory";
  } else if (winograd.cycles < direct.cycles) {
    choice.kernel = make(Algorithm::winograd, shape, kernels, options);
    choice.reason = describe(winograd, direct);
  } else {
    choice.kernel = make(Algorithm::direct, shape, kernels, options);
    choice.reason = describe(direct, winograd);
  }
  if (!choice.kernel) throw Error(ErrorCode::internal, "no kernel computes this layer");
  return choice;
}

}  // namespace e2enet::plan
