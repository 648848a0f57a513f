// Tiles over a volume: the network's patch slides over an image larger than itself, and where tiles overlap their
// probabilities are averaged (nnU-Net's sliding window inference).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace e2enet::tiles {

struct TilingOptions {
  double step = 0.5;             // fraction of the patch between neighbouring tiles, in (0, 1]
  std::vector<int> mirror_axes;  // 0 = D, 1 = H, 2 = W; every subset is averaged. Empty: no mirroring
  bool gaussian = true;          // weight a tile's voxels by a Gaussian about its centre; false: all alike
  // Runs of the network that go on at once, each on its part of the threads and in a working memory of its own. Fewer
  // where a layer of tiles has fewer, or where a part would have no thread. The result is the same, bit for bit.
  int side_by_side = 1;
};

// What is wrong with a step for tiles of this patch, as "expected ..., found ..."; empty where nothing is. A step is a
// number above 0 and at most 1, and at least one voxel along each axis: smaller ones only put tiles in the same place
// again. (Where the patch is one voxel, down to half of it, so that the usual step can be used.)
std::string step_problem(double step, const Extent& patch);

// Where tiles begin on one axis of an image: ceil((image - patch) / (patch * step)) + 1 of them, at
// round-half-to-even(i * (image - patch) / (count - 1)), and one at 0 where the image is not longer than the patch.
class TileStarts {
 public:
  TileStarts() = default;
  // Throws Error (invalid_argument) for a step that step_problem() refuses on this axis, internal for no voxel.
  TileStarts(int image, int patch, double step);
  std::int64_t count() const { return count_; }  // at least 1
  int operator[](std::int64_t i) const;

 private:
  int slack_ = 0;  // image - patch, or 0
  std::int64_t count_ = 1;
};

// Weight of each voxel of a tile, exp(-1/2 * sum(((i - n div 2) / (n / 8))^2)), (D, H, W) order.
std::vector<float> gaussian_weights(const Extent& patch);

// Slices whose probabilities no tile will change any more.
class FinishedSlices {
 public:
  FinishedSlices(int begin, int end, const float* ring, int ring_slices, std::ptrdiff_t slice_size)
      : begin_(begin), end_(end), ring_(ring), ring_slices_(ring_slices), slice_size_(slice_size) {}
  int begin() const { return begin_; }
  int end() const { return end_; }
  // [classes][H][W] of slice d in [begin, end).
  const float* slice(int d) const { return ring_ + (d % ring_slices_) * slice_size_; }

 private:
  int begin_, end_;
  const float* ring_;
  int ring_slices_;
  std::ptrdiff_t slice_size_;
};

// Takes the volume's probabilities from d = 0 to the last slice, some at a time, on the calling thread.
class SliceSink {
 public:
  virtual ~SliceSink() = default;
  // The slices are valid during the call only.
  virtual void consume(const FinishedSlices& slices) = 0;
};

// The image that a window slides over.
class InputVolume {
 public:
  virtual ~InputVolume() = default;
  struct Slices {
    const float* data;              // slice `begin` of channel 0; its slices, rows and voxels lie one after the other
    std::ptrdiff_t channel_stride;  // from a channel to the next
  };
  // Slices [begin, end), valid until the next call. Neither bound is below that of the call before.
  virtual Slices slices(int begin, int end) = 0;
};

// Called with what is done and what there is to do, for each number of runs of the network that are done, in their
// order, on the calling thread; returning false stops the work.
using TileCallback = std::function<bool(std::int64_t done, std::int64_t total)>;

// Runs an engine over a volume. A copy that is mirrored along left and right has the model's `mirrored_labels`
// exchanged. Accumulated probabilities exist only for the slices that tiles still to come can reach, which is one patch
// depth of them; finished slices leave at once.
class SlidingWindow {
 public:
  // Throws Error: invalid_argument for a step that step_problem() refuses, out_of_memory.
  SlidingWindow(engine::Engine& engine, const TilingOptions& options, const Extent& volume);

  std::int64_t runs() const;  // tiles times mirrored copies

  // What an instance takes for accumulated probabilities and weights. A real number, since it is asked for volumes that
  // no memory can hold.
  static double memory_bytes(const Extent& volume, const Extent& patch, int classes);

  // How many runs go on at once: `wanted`, or as many as there are in a layer of tiles or as `threads` can be shared
  // by equally. With threads of the caller's, one.
  static int runs_at_once(int wanted, int threads, const Extent& volume, const Extent& patch,
                          const TilingOptions& options);
  // What the network works in, of all runs that go on at once.
  static double network_bytes(const plan::Plan& plan, int at_once);

  // Throws Error (cancelled) when the callback says so, and what `volume` and `sink` throw.
  void run(InputVolume& volume, SliceSink& sink, const TileCallback& callback = {});
  // `volume` is (channels, D, H, W).
  void run(const float* volume, SliceSink& sink, const TileCallback& callback = {});

 private:
  class Accumulate;

  // Tiles that begin at one slice, and what the network sees of the image there.
  struct Layer {
    int start;
    int first_slice;  // of `slices`
    InputVolume::Slices slices;
    std::int64_t runs_before;  // of the layers before
  };
  // One run of the network.
  struct Run {
    std::array<int, 3> start;
    const std::vector<int>* mirror;
    bool last_of_tile;
  };
  // Tells the caller of each number of runs that are done, once. Throws Error (cancelled).
  class Reports;

  Run run_of(const Layer& layer, std::int64_t index) const;
  kernels::PatchView view_of(const Layer& layer, const Run& run) const;
  // Runs [begin, end) of a layer, `at_once` at a time.
  void run_layer(const Layer& layer, std::int64_t begin, std::int64_t end, int at_once, Reports& reports);
  void run_side_by_side(const Layer& layer, std::int64_t begin, std::int64_t end, int at_once, Reports& reports);
  void add_weights(const std::array<int, 3>& start);
  void finish_slices(int begin, int end, SliceSink& sink);

  engine::Engine& engine_;
  std::vector<std::unique_ptr<engine::Engine>> beside_;  // engines that run beside it
  Extent volume_;
  Extent patch_;
  int classes_;
  std::array<int, 3> padding_;  // before the image, on an axis shorter than the patch
  std::array<TileStarts, 3> starts_;
  std::vector<std::vector<int>> mirrors_;  // each a set of axes to flip
  std::vector<int> exchanged_;             // the class that each class is where left and right have changed places
  std::vector<float> weights_;             // of a tile; empty: all one
  int ring_slices_;
  AlignedBuffer sums_;         // [ring slice][classes][H][W]
  AlignedBuffer weight_sums_;  // [ring slice][H][W]
};

}  // namespace e2enet::tiles
