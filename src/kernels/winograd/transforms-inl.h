// The transforms of matrices.h, factored by hand: fewer operations, in registers.
#if defined(E2ENET_KERNELS_WINOGRAD_TRANSFORMS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_WINOGRAD_TRANSFORMS_INL_H
#undef E2ENET_KERNELS_WINOGRAD_TRANSFORMS_INL_H
#else
#define E2ENET_KERNELS_WINOGRAD_TRANSFORMS_INL_H
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "kernels/vector-inl.h"
#include "kernels/winograd/matrices.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
namespace winograd_kernels {

using winograd::kTile;
using winograd::Strided;
using winograd::Unstrided;

template <typename Form>
using PatchVectors = FloatVector[Form::kPatch];
using TileVectors = FloatVector[kTile * kTile];

// One dimension of B^T d: from the values of a patch to as many that the products need.
template <typename Form>
HWY_INLINE void transform_input(const PatchVectors<Form>& x, PatchVectors<Form>& t);

template <>
HWY_INLINE void transform_input<Unstrided>(const PatchVectors<Unstrided>& x, PatchVectors<Unstrided>& t) {
  const Floats d;
  const FloatVector d0 = x[0], d1 = x[1], d2 = x[2], d3 = x[3], d4 = x[4], d5 = x[5];
  const FloatVector four = hn::Set(d, 4.0f);
  const FloatVector two = hn::Set(d, 2.0f);
  const FloatVector even = hn::NegMulAdd(four, d2, d4);  // d4 - 4 d2
  const FloatVector odd = hn::NegMulAdd(four, d1, d3);   // d3 - 4 d1
  const FloatVector d42 = hn::Sub(d4, d2);
  const FloatVector d31 = hn::Sub(d3, d1);
  t[0] = hn::MulAdd(four, hn::Sub(d0, d2), d42);
  t[1] = hn::Add(even, odd);
  t[2] = hn::Sub(even, odd);
  t[3] = hn::MulAdd(two, d31, d42);
  t[4] = hn::NegMulAdd(two, d31, d42);
  t[5] = hn::NegMulAdd(four, d31, hn::Sub(d5, d3));
}

// The odd samples of the image, which have even numbers here, then the even ones as they are.
template <>
HWY_INLINE void transform_input<Strided>(const PatchVectors<Strided>& x, PatchVectors<Strided>& t) {
  const Floats d;
  const FloatVector two = hn::Set(d, 2.0f);
  const FloatVector d0 = x[0], d1 = x[2], d2 = x[4], d3 = x[6], d4 = x[8];
  const FloatVector d31 = hn::Sub(d3, d1);
  t[0] = hn::MulAdd(two, hn::Sub(d0, d2), d31);               // 2 d0 - d1 - 2 d2 + d3
  t[1] = hn::Sub(d31, hn::Add(d1, d2));                       // -2 d1 - d2 + d3
  t[2] = hn::MulAdd(hn::Set(d, 3.0f), hn::Sub(d1, d2), d31);  // 2 d1 - 3 d2 + d3
  t[3] = d31;                                                 // -d1 + d3
  t[4] = hn::NegMulAdd(two, d31, hn::Sub(d4, d2));            // 2 d1 - d2 - 2 d3 + d4
  t[5] = x[1];
  t[6] = x[3];
  t[7] = x[5];
  t[8] = x[7];
}

// One dimension of A^T m: from the products of a patch's positions to four outputs.
template <typename Form>
HWY_INLINE void transform_output(const FloatVector (&m)[Form::kPatch], FloatVector (&y)[kTile]);

template <>
HWY_INLINE void transform_output<Unstrided>(const FloatVector (&m)[Unstrided::kPatch], FloatVector (&y)[kTile]) {
  const Floats d;
  const FloatVector sum12 = hn::Add(m[1], m[2]);
  const FloatVector difference12 = hn::Sub(m[1], m[2]);
  const FloatVector sum34 = hn::Add(m[3], m[4]);
  const FloatVector difference34 = hn::Sub(m[3], m[4]);
  y[0] = hn::Add(hn::Add(m[0], sum12), sum34);
  y[1] = hn::MulAdd(hn::Set(d, 2.0f), difference34, difference12);
  y[2] = hn::MulAdd(hn::Set(d, 4.0f), sum34, sum12);
  y[3] = hn::MulAdd(hn::Set(d, 8.0f), difference34, hn::Add(difference12, m[5]));
}

template <>
HWY_INLINE void transform_output<Strided>(const FloatVector (&m)[Strided::kPatch], FloatVector (&y)[kTile]) {
  const Floats d;
  const FloatVector sum12 = hn::Add(m[1], m[2]);
  const FloatVector difference12 = hn::Sub(m[1], m[2]);
  y[0] = hn::Add(hn::Add(m[0], sum12), hn::Add(m[3], m[5]));
  y[1] = hn::MulAdd(hn::Set(d, 2.0f), m[3], hn::Add(difference12, m[6]));
  y[2] = hn::MulAdd(hn::Set(d, 4.0f), m[3], hn::Add(sum12, m[7]));
  y[3] = hn::MulAdd(hn::Set(d, 8.0f), m[3], hn::Add(difference12, hn::Add(m[4], m[8])));
}

// Products of row `i` of positions, transformed along W. Position (1, 1) gets the bias, since its column of A^T (x) A^T
// is all ones.
template <typename Form>
HWY_INLINE void transform_products_row(const float* products, std::size_t stride, int i, FloatVector bias,
                                       FloatVector (&y)[kTile]) {
  const Floats d;
  const float* from = products + i * Form::kPatch * stride;
  FloatVector m[Form::kPatch];
  E2ENET_UNROLL(9)
  for (int j = 0; j < Form::kPatch; ++j) m[j] = hn::Load(d, from + j * stride);
  if (i == 1) m[1] = hn::Add(m[1], bias);
  transform_output<Form>(m, y);
}

// The transform along H takes rows of positions in an order that needs few of them at a time.
template <typename Form>
HWY_INLINE void transform_products(const float* products, std::size_t stride, FloatVector bias, TileVectors& y);

template <>
HWY_INLINE void transform_products<Unstrided>(const float* products, std::size_t stride, FloatVector bias,
                                              TileVectors& y) {
  const Floats d;
  FloatVector row1[kTile], row2[kTile], row[kTile];
  transform_products_row<Unstrided>(products, stride, 1, bias, row1);
  transform_products_row<Unstrided>(products, stride, 2, bias, row2);
  transform_products_row<Unstrided>(products, stride, 0, bias, row);
  E2ENET_UNROLL(4)
  for (int q = 0; q < kTile; ++q) {
    const FloatVector sum = hn::Add(row1[q], row2[q]);
    const FloatVector difference = hn::Sub(row1[q], row2[q]);
    y[q] = hn::Add(row[q], sum);
    y[kTile + q] = difference;
    y[2 * kTile + q] = sum;
    y[3 * kTile + q] = difference;
  }
  transform_products_row<Unstrided>(products, stride, 3, bias, row1);
  transform_products_row<Unstrided>(products, stride, 4, bias, row2);
  transform_products_row<Unstrided>(products, stride, 5, bias, row);
  E2ENET_UNROLL(4)
  for (int q = 0; q < kTile; ++q) {
    const FloatVector sum = hn::Add(row1[q], row2[q]);
    const FloatVector difference = hn::Sub(row1[q], row2[q]);
    y[q] = hn::Add(y[q], sum);
    y[kTile + q] = hn::MulAdd(hn::Set(d, 2.0f), difference, y[kTile + q]);
    y[2 * kTile + q] = hn::MulAdd(hn::Set(d, 4.0f), sum, y[2 * kTile + q]);
    y[3 * kTile + q] = hn::Add(hn::MulAdd(hn::Set(d, 8.0f), difference, y[3 * kTile + q]), row[q]);
  }
}

template <>
HWY_INLINE void transform_products<Strided>(const float* products, std::size_t stride, FloatVector bias,
                                            TileVectors& y) {
  const Floats d;
  FloatVector row1[kTile], row2[kTile], row[kTile];
  transform_products_row<Strided>(products, stride, 1, bias, row1);
  transform_products_row<Strided>(products, stride, 2, bias, row2);
  transform_products_row<Strided>(products, stride, 3, bias, row);
  E2ENET_UNROLL(4)
  for (int q = 0; q < kTile; ++q) {
    const FloatVector sum = hn::Add(row1[q], row2[q]);
    const FloatVector difference = hn::Sub(row1[q], row2[q]);
    y[q] = hn::Add(row[q], sum);
    y[kTile + q] = hn::MulAdd(hn::Set(d, 2.0f), row[q], difference);
    y[2 * kTile + q] = hn::MulAdd(hn::Set(d, 4.0f), row[q], sum);
    y[3 * kTile + q] = hn::MulAdd(hn::Set(d, 8.0f), row[q], difference);
  }
  // Rows 0 and 4 of the odd samples, and 5 to 8 of the even ones, belong to one row of outputs each.
  const auto add_row = [&](int i, int output_row) HWY_ATTR {
    transform_products_row<Strided>(products, stride, i, bias, row);
    E2ENET_UNROLL(4)
    for (int q = 0; q < kTile; ++q) y[output_row * kTile + q] = hn::Add(y[output_row * kTile + q], row[q]);
  };
  add_row(0, 0);
  add_row(4, 3);
  add_row(5, 0);
  add_row(6, 1);
  add_row(7, 2);
  add_row(8, 3);
}

}  // namespace winograd_kernels
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
