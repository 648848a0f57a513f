#include "kernels/winograd/packing.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/checked_size.h"
#include "kernels/weight_rows.h"

namespace e2enet::kernels::winograd {
namespace {

constexpr char kWhat[] = "packed kernels of a Winograd convolution";
constexpr int kMostPositions = kMostPatch * kMostPatch;

template <typename Number, int rows, int columns>
using Matrix = Eigen::Matrix<Number, rows, columns, Eigen::RowMajor>;

// U = G g G^T in double precision. Both products are written as the sums over taps that they are, in the order of taps,
// since the order in which Eigen sums a product is its own and these are bits of a packed kernel.
template <typename Form>
void transform_kernel(const float* kernel, double* transformed) {
  constexpr int kPatch = Form::kPatch;
  static_assert(kTaps == 3);
  const Eigen::Map<const Matrix<double, kPatch, kTaps>> G(&Form::kKernel[0][0]);
  const Matrix<double, kTaps, kTaps> g = Eigen::Map<const Matrix<float, kTaps, kTaps>>(kernel).template cast<double>();
  const Matrix<double, kPatch, kTaps> Gg =
      G.col(0).lazyProduct(g.row(0)) + G.col(1).lazyProduct(g.row(1)) + G.col(2).lazyProduct(g.row(2));
  Eigen::Map<Matrix<double, kPatch, kPatch>> U(transformed);
  U = Gg.col(0).lazyProduct(G.col(0).transpose()) + Gg.col(1).lazyProduct(G.col(1).transpose()) +
      Gg.col(2).lazyProduct(G.col(2).transpose());
}

void transform_kernel(const Plan& plan, const float* kernel, double* transformed) {
  if (plan.strided) {
    transform_kernel<Strided>(kernel, transformed);
  } else {
    transform_kernel<Unstrided>(kernel, transformed);
  }
}

// How large transforms of random kernels are at each position.
template <typename Form>
std::vector<float> position_scales() {
  double along_axis[Form::kPatch];
  for (int i = 0; i < Form::kPatch; ++i) {
    double squares = 0;
    for (const double factor : Form::kKernel[i]) squares += factor * factor;
    along_axis[i] = std::sqrt(squares);
  }
  std::vector<float> scales;
  for (const double row : along_axis) {
    for (const double column : along_axis) scales.push_back(static_cast<float>(row * column));
  }
  return scales;
}

std::vector<float> position_scales(const Plan& plan) {
  if (!plan.integers) return std::vector<float>(plan.positions, 1.0f);
  return plan.strided ? position_scales<Strided>() : position_scales<Unstrided>();
}

// Writes the transforms of a row's `count` kernels as integers, the one of kernel i and position p to
// to[p * position_weights + i * stride], and returns the row's scale. `kernel_of(i)`: its nine values.
template <typename KernelOf>
float pack_integers(const Plan& plan, const std::vector<float>& position_scale, std::size_t count, KernelOf&& kernel_of,
                    std::vector<double>& transformed, std::int16_t* to, std::size_t stride) {
  transformed.resize(count * plan.positions);
  double largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    double* const at = transformed.data() + i * plan.positions;
    transform_kernel(plan, kernel_of(i), at);
    for (int p = 0; p < plan.positions; ++p) {
      at[p] /= position_scale[p];
      largest = larger_magnitude(largest, at[p]);
    }
  }
  const float scale = integer_scale(largest);
  if (!std::isfinite(scale)) return scale;  // with weights of zero, as the memory came
  const double reciprocal = 1.0 / double{scale};
  for (int p = 0; p < plan.positions; ++p) {
    std::int16_t* const at = to + p * plan.position_weights;
    for (std::size_t i = 0; i < count; ++i) {
      at[i * stride] = static_cast<std::int16_t>(std::lrint(transformed[i * plan.positions + p] * reciprocal));
    }
  }
  return scale;
}

std::size_t weights_bytes(const Plan& plan) {
  const std::size_t weight = plan.integers ? sizeof(std::int16_t) : sizeof(float);
  return checked_size(kWhat, plan.positions, plan.position_weights, weight) + kSpareWeights * weight;
}

// Packed sparse kernels:
//  1. The input channels are cut into `chunks` chunks of `chunk_channels`. A row is the kept kernels of one output in
//     one chunk, in the order of their input channels. Rows are ordered by chunk and then by length, longest first
//     (equal lengths in the order of outputs), so that consecutive rows run the same number of loop iterations.
//  2. row_output[r] is the output of row r, row_begin[r] the number of its first kept kernel, row_begin[r + 1] the end.
//  3. input_offset[k] is where kept kernel k finds its channel's vectors in a region of the slab, in floats.
//  4. weights: for each position, the transformed kernels as one number per kept kernel, in the same order, padded to
//     whole cache lines of floats (position_weights numbers).
void pack_sparse(const Plan& plan, const SparseKernels& kernels, PackedKernels& to) {
  const int vector_floats = plan.tiling.vectors * plan.unit.lanes;
  const auto kept = static_cast<std::size_t>(kernels.count());
  std::vector<std::uint32_t> packed_from;  // number of the kernel in `kernels`
  packed_from.reserve(kept);
  to.input_offset.reserve(kept);
  to.row_begin.reserve(std::size_t(plan.outputs) * plan.chunks + 1);
  to.row_output.reserve(std::size_t(plan.outputs) * plan.chunks);

  std::vector<std::int32_t> next(kernels.row_begin, kernels.row_begin + plan.outputs);
  std::vector<std::int32_t> end(plan.outputs);
  std::vector<int> order(plan.outputs);
  for (int chunk = 0; chunk < plan.chunks; ++chunk) {
    const int channel_end = std::min(plan.channels, (chunk + 1) * plan.chunk_channels);
    for (int o = 0; o < plan.outputs; ++o) {
      end[o] = next[o];
      while (end[o] < kernels.row_begin[o + 1] && kernels.input[end[o]] < channel_end) ++end[o];
    }
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return end[a] - next[a] > end[b] - next[b]; });
    for (const int o : order) {
      to.row_output.push_back(static_cast<std::uint32_t>(o));
      to.row_begin.push_back(static_cast<std::uint32_t>(packed_from.size()));
      for (std::int32_t k = next[o]; k < end[o]; ++k) {
        packed_from.push_back(static_cast<std::uint32_t>(k));
        to.input_offset.push_back(static_cast<std::uint32_t>(kernels.input[k] * vector_floats));
      }
    }
    next = end;
  }
  to.row_begin.push_back(static_cast<std::uint32_t>(packed_from.size()));

  if (plan.integers) {
    std::vector<double> transformed;
    auto* const packed = reinterpret_cast<std::int16_t*>(to.weights.data());
    for (std::size_t r = 0; r < to.row_output.size(); ++r) {
      const std::uint32_t first = to.row_begin[r];
      const auto kernel_of = [&](std::size_t i) { return kernels.values + std::size_t{packed_from[first + i]} * 9; };
      to.row_scale.push_back(pack_integers(plan, to.position_scale, to.row_begin[r + 1] - first, kernel_of, transformed,
                                           packed + first, 1));
    }
    return;
  }
  to.row_scale.assign(to.row_output.size(), 1.0f);

  // A cache line of each position at a time.
  constexpr std::size_t kTogether = 16;
  auto* packed = reinterpret_cast<float*>(to.weights.data());
  for (std::size_t k = 0; k < packed_from.size(); k += kTogether) {
    const std::size_t count = std::min(kTogether, packed_from.size() - k);
    float lines[kMostPositions][kTogether];
    for (std::size_t i = 0; i < count; ++i) {
      double transformed[kMostPositions];
      transform_kernel(plan, kernels.values + std::size_t{packed_from[k + i]} * 9, transformed);
      for (int p = 0; p < plan.positions; ++p) lines[p][i] = static_cast<float>(transformed[p]);
    }
    for (int p = 0; p < plan.positions; ++p) std::copy_n(lines[p], count, packed + p * to.position_weights + k);
  }
}

void pack_dense_integers(const Plan& plan, const SparseKernels& kernels, PackedKernels& to) {
  const int block = plan.block_outputs;
  auto* const packed = reinterpret_cast<std::int16_t*>(to.weights.data());
  const float dropped[9] = {};
  std::vector<double> transformed;
  std::vector<const float*> row(plan.channels);
  for (int o = 0; o < plan.outputs; ++o) {
    std::fill(row.begin(), row.end(), dropped);
    for (std::int32_t k = kernels.row_begin[o]; k < kernels.row_begin[o + 1]; ++k) {
      row[kernels.input[k]] = kernels.values + std::size_t(k) * 9;
    }
    std::int16_t* const at = packed + std::size_t(o / block) * plan.channels * block + o % block;
    const auto kernel_of = [&](std::size_t channel) { return row[channel]; };
    to.row_scale.push_back(
        pack_integers(plan, to.position_scale, row.size(), kernel_of, transformed, at, std::size_t(block)));
  }
}

// Packed dense kernels:
//  1. The outputs are cut into blocks of `block_outputs`; the last one is filled up with zero kernels.
//  2. weights: for each position, for each block, for each input channel, the transformed kernels of the block's
//     outputs, one number each. A dropped kernel is zero.
void pack_dense(const Plan& plan, const SparseKernels& kernels, PackedKernels& to) {
  const int block = plan.block_outputs;
  if (plan.integers) return pack_dense_integers(plan, kernels, to);
  to.row_scale.assign(plan.outputs, 1.0f);
  auto* packed = reinterpret_cast<float*>(to.weights.data());
  // In the order in which they lie, all outputs of a block together, so that a cache line is written once.
  for (int first = 0; first < plan.outputs; first += block) {
    const int count = std::min(block, plan.outputs - first);
    std::vector<std::int32_t> next(kernels.row_begin + first, kernels.row_begin + first + count);
    for (int channel = 0; channel < plan.channels; ++channel) {
      float* const at = packed + (std::size_t(first / block) * plan.channels + channel) * block;
      for (int i = 0; i < count; ++i) {
        const std::int32_t k = next[i];
        if (k == kernels.row_begin[first + i + 1] || kernels.input[k] != channel) continue;  // dropped
        double transformed[kMostPositions];
        transform_kernel(plan, kernels.values + std::size_t(k) * 9, transformed);
        for (int p = 0; p < plan.positions; ++p) at[p * to.position_weights + i] = static_cast<float>(transformed[p]);
        ++next[i];
      }
    }
  }
}

}  // namespace

PackedKernels pack(const Plan& plan, const SparseKernels& kernels) {
  PackedKernels packed;
  packed.position_weights = plan.position_weights;
  packed.position_scale = position_scales(plan);
  packed.weights = AlignedBuffer(weights_bytes(plan), kWhat);
  if (plan.dense) {
    pack_dense(plan, kernels, packed);
  } else {
    pack_sparse(plan, kernels, packed);
  }
  return packed;
}

std::size_t packed_bytes(const Plan& plan) {
  const std::size_t positions = weights_bytes(plan) + plan.positions * sizeof(float);
  if (plan.dense) return positions + plan.outputs * sizeof(float);
  const std::size_t rows = std::size_t(plan.outputs) * std::size_t(plan.chunks);
  return positions + rows * sizeof(float) +
         (2 * rows + 1 + static_cast<std::size_t>(plan.kept)) * sizeof(std::uint32_t);
}

}  // namespace e2enet::kernels::winograd
