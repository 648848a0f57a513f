// The matrices of the Winograd convolution against its definition, and the factored code against the matrices.
#include <doctest/doctest.h>
#include <hwy/highway.h>

#include <Eigen/Core>
#include <cmath>
#include <cstddef>
#include <cstdlib>

#include "kernels/winograd/matrices.h"
#include "kernels/winograd/transforms-inl.h"

namespace {

using e2enet::kernels::winograd::kTaps;
using e2enet::kernels::winograd::kTile;
using e2enet::kernels::winograd::Strided;
using e2enet::kernels::winograd::Unstrided;
// The code of the instruction set that this file is compiled for.
namespace code = e2enet::kernels::HWY_NAMESPACE::winograd_kernels;
namespace hn = hwy::HWY_NAMESPACE;
using code::TileVectors;
using e2enet::kernels::HWY_NAMESPACE::Floats;
using e2enet::kernels::HWY_NAMESPACE::FloatVector;

// y[i] is the sum over taps a of g[a] d[stride i + a], for every g and d: as a product of three matrices.
template <int rows, int columns>
using Matrix = Eigen::Matrix<double, rows, columns, Eigen::RowMajor>;

template <typename Form>
void check_matrices() {
  const Eigen::Map<const Matrix<kTile, Form::kPatch>> At(&Form::kOutput[0][0]);
  const Eigen::Map<const Matrix<Form::kPatch, kTaps>> G(&Form::kKernel[0][0]);
  const Eigen::Map<const Matrix<Form::kPatch, Form::kPatch>> Bt(&Form::kInput[0][0]);
  for (int tap = 0; tap < kTaps; ++tap) {
    Matrix<kTile, Form::kPatch> expected = Matrix<kTile, Form::kPatch>::Zero();
    for (int output = 0; output < kTile; ++output) expected(output, Form::kStep / kTile * output + tap) = 1;
    CAPTURE(tap);
    CHECK((At * G.col(tap).asDiagonal() * Bt - expected).cwiseAbs().maxCoeff() < 1e-14);
  }
}

// Along both axes: A^T [(G g G^T) * (B^T d B)] A is the plain convolution of a patch with a kernel.
template <typename Form>
void check_tile() {
  const Eigen::Map<const Matrix<kTile, Form::kPatch>> At(&Form::kOutput[0][0]);
  const Eigen::Map<const Matrix<Form::kPatch, kTaps>> G(&Form::kKernel[0][0]);
  const Eigen::Map<const Matrix<Form::kPatch, Form::kPatch>> Bt(&Form::kInput[0][0]);
  constexpr int kStride = Form::kStep / kTile;
  std::srand(5);
  for (int i = 0; i < 20; ++i) {
    const Matrix<Form::kPatch, Form::kPatch> patch = Matrix<Form::kPatch, Form::kPatch>::Random();
    const Matrix<kTaps, kTaps> kernel = Matrix<kTaps, kTaps>::Random();
    const Matrix<kTile, kTile> found =
        At * (G * kernel * G.transpose()).cwiseProduct(Bt * patch * Bt.transpose()) * At.transpose();
    for (int h = 0; h < kTile; ++h) {
      for (int w = 0; w < kTile; ++w) {
        const double expected = patch.template block<kTaps, kTaps>(kStride * h, kStride * w).cwiseProduct(kernel).sum();
        CHECK(std::abs(found(h, w) - expected) < 1e-12);
      }
    }
  }
}

}  // namespace

// Vectors need the instruction set that Highway compiles this for, which the compiler's default may lack (ARM's does).
HWY_BEFORE_NAMESPACE();
namespace {

// The transforms are linear: what they make of a single 1 is a column of the matrix. All its numbers are whole.
template <typename Form>
void check_code() {
  const Floats d;
  for (int column = 0; column < Form::kPatch; ++column) {
    FloatVector x[Form::kPatch], t[Form::kPatch], y[kTile];
    for (int i = 0; i < Form::kPatch; ++i) x[i] = hn::Set(d, i == column ? 1.0f : 0.0f);
    code::transform_input<Form>(x, t);
    for (int p = 0; p < Form::kPatch; ++p) CHECK(hn::GetLane(t[p]) == Form::kInput[p][column]);
    code::transform_output<Form>(x, y);
    for (int i = 0; i < kTile; ++i) CHECK(hn::GetLane(y[i]) == Form::kOutput[i][column]);
  }
  const std::size_t lanes = hn::Lanes(d);
  HWY_ALIGN float products[Form::kPatch * Form::kPatch * HWY_MAX_BYTES / sizeof(float)] = {};
  for (int i = 0; i < Form::kPatch; ++i) {
    for (int j = 0; j < Form::kPatch; ++j) {
      float* at = products + std::size_t(i * Form::kPatch + j) * lanes;
      hn::Store(hn::Set(d, 1.0f), d, at);
      TileVectors y;
      code::transform_products<Form>(products, lanes, hn::Set(d, 0.0f), y);
      for (int r = 0; r < kTile; ++r) {
        for (int q = 0; q < kTile; ++q) {
          CHECK(hn::GetLane(y[r * kTile + q]) == Form::kOutput[r][i] * Form::kOutput[q][j]);
        }
      }
      hn::Store(hn::Zero(d), d, at);
    }
  }
  TileVectors y;
  code::transform_products<Form>(products, lanes, hn::Set(d, 3.0f), y);
  for (int i = 0; i < kTile * kTile; ++i) CHECK(hn::GetLane(y[i]) == 3.0f);  // the bias reaches every output
}

}  // namespace
HWY_AFTER_NAMESPACE();

TEST_CASE("Winograd: the three matrices of each form give the sums of the definition") {
  check_matrices<Unstrided>();
  check_matrices<Strided>();
}

TEST_CASE("Winograd: along both axes, the transforms are a convolution") {
  check_tile<Unstrided>();
  check_tile<Strided>();
}

TEST_CASE("Winograd: the transforms in registers are the matrices") {
  check_code<Unstrided>();
  check_code<Strided>();
}
