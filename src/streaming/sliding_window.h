// Tiles over a volume: the network's patch slides over an image larger than itself, and where tiles overlap their
// probabilities are averaged (nnU-Net's sliding window inference).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/engine.h"

namespace e2enet::streaming {

using Extent3 = std::array<int, 3>;  // D, H, W in voxels

struct TilingOptions {
  double step = 0.5;             // fraction of the patch between neighbouring tiles, in (0, 1]
  std::vector<int> mirror_axes;  // 0 = D, 1 = H, 2 = W; every subset is averaged. Empty: no mirroring
  bool gaussian = true;          // weight a tile's voxels by a Gaussian about its centre; false: all alike
};

// Where tiles begin on one axis of an image (after padding to the patch): ceil((image - patch) / (patch * step)) + 1 of
// them, at round-half-to-even(i * (image - patch) / (count - 1)).
std::vector<int> tile_starts(int image, int patch, double step);

// Weight of each voxel of a tile, exp(-1/2 * sum(((i - n div 2) / (n / 8))^2)), (D, H, W) order.
std::vector<float> gaussian_weights(const Extent3& patch);

// Takes the volume's probabilities slice by slice, d = 0, 1, 2, ..., each once, on the calling thread.
class SliceSink {
 public:
  virtual ~SliceSink() = default;
  // probabilities is [classes][H][W] of slice d; valid during the call only.
  virtual void consume(int d, const float* probabilities) = 0;
};

// Called before each run of the network with what is done and what there is to do; returning false stops the work.
using TileCallback = std::function<bool(std::int64_t done, std::int64_t total)>;

// Runs an engine over a volume. Accumulated probabilities exist only for the slices that tiles still to come can reach,
// which is one patch depth of them; finished slices leave at once.
class SlidingWindow {
 public:
  // Throws Error (invalid_argument) for a step out of range; out_of_memory.
  SlidingWindow(engine::Engine& engine, const TilingOptions& options, const Extent3& volume);

  std::int64_t runs() const;           // tiles times mirrored copies
  std::size_t memory_bytes() const;    // of the accumulated probabilities and weights

  // `volume` is (channels, D, H, W). Throws Error (cancelled) when the callback says so.
  void run(const float* volume, SliceSink& sink, const TileCallback& callback = {});

 private:
  class Accumulate;

  void add_weights(const std::array<int, 3>& start);
  void finish_slices(int begin, int end, SliceSink& sink);

  engine::Engine& engine_;
  Extent3 volume_;
  Extent3 patch_;
  int classes_;
  std::array<int, 3> padding_;  // before the image, on an axis shorter than the patch
  std::array<std::vector<int>, 3> starts_;
  std::vector<std::vector<int>> mirrors_;  // each a set of axes to flip
  std::vector<float> weights_;             // of a tile; empty: all one
  int ring_slices_;
  AlignedBuffer sums_;          // [ring slice][classes][H][W]
  AlignedBuffer weight_sums_;   // [ring slice][H][W]
};

}  // namespace e2enet::streaming
