// The matrices of both forms of the Winograd convolution, along one axis:
//
//   y = A^T [ (G g) * (B^T d) ],    y[i] = sum over a of g[a] * d[step/4 * i + a]
//
// for four outputs y, a kernel g of three taps and a patch d of input samples. Along two axes each matrix is applied
// along the one and then along the other. transforms-inl.h computes with them, factored by hand;
// tests/kernels/test_winograd_matrices.cc holds them and that code against this definition.
#pragma once

namespace e2enet::kernels::winograd {

constexpr int kTile = 4;  // output pixels of a tile along H and W
constexpr int kTaps = 3;  // of a kernel along H and W

// Stride 1, F(4, 3): interpolation at 0, 1, -1, 2, -2 and infinity. 6 multiplications for 4 outputs.
struct Unstrided {
  static constexpr int kStep = 4;   // input pixels from one tile to the next
  static constexpr int kPatch = 6;  // input pixels that a tile reads, from the one before its first output's

  static constexpr double kInput[kPatch][kPatch] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                                    {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
  static constexpr double kKernel[kPatch][kTaps] = {{1.0 / 4, 0, 0},
                                                    {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                                    {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                                    {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                                    {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                                    {0, 0, 1}};
  static constexpr double kOutput[kTile][kPatch] = {
      {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
};

// Stride 2: an output is g[0] d[2i] + g[1] d[2i + 1] + g[2] d[2i + 2]. Taps 0 and 2, over the samples of even number
// in the patch: F(4, 2), interpolation at 0, 1, -1, 2 and infinity. Then tap 1, for each of the four others as it is.
// 9 multiplications for 4 outputs.
struct Strided {
  static constexpr int kStep = 8;
  static constexpr int kPatch = 9;

  static constexpr double kInput[kPatch][kPatch] = {
      {2, 0, -1, 0, -2, 0, 1, 0, 0}, {0, 0, -2, 0, -1, 0, 1, 0, 0}, {0, 0, 2, 0, -3, 0, 1, 0, 0},
      {0, 0, -1, 0, 0, 0, 1, 0, 0},  {0, 0, 2, 0, -1, 0, -2, 0, 1}, {0, 1, 0, 0, 0, 0, 0, 0, 0},
      {0, 0, 0, 1, 0, 0, 0, 0, 0},   {0, 0, 0, 0, 0, 1, 0, 0, 0},   {0, 0, 0, 0, 0, 0, 0, 1, 0}};
  static constexpr double kKernel[kPatch][kTaps] = {{1.0 / 2, 0, 0},
                                                    {-1.0 / 2, 0, -1.0 / 2},
                                                    {-1.0 / 6, 0, 1.0 / 6},
                                                    {1.0 / 6, 0, 1.0 / 3},
                                                    {0, 0, 1},
                                                    {0, 1, 0},
                                                    {0, 1, 0},
                                                    {0, 1, 0},
                                                    {0, 1, 0}};
  static constexpr double kOutput[kTile][kPatch] = {{1, 1, 1, 1, 0, 1, 0, 0, 0},
                                                    {0, 1, -1, 2, 0, 0, 1, 0, 0},
                                                    {0, 1, 1, 4, 0, 0, 0, 1, 0},
                                                    {0, 1, -1, 8, 1, 0, 0, 0, 1}};
};

constexpr int kMostPatch = Strided::kPatch;

}  // namespace e2enet::kernels::winograd
