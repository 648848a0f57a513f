#include "streaming/sliding_window.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/parallel.h"
#include "e2enet/error.h"

namespace e2enet::streaming {

std::vector<int> tile_starts(int image, int patch, double step) {
  if (image <= patch) return {0};
  const int count = int(std::ceil((image - patch) / (patch * step))) + 1;
  std::vector<int> starts;
  for (int i = 0; i < count; ++i)
    starts.push_back(int(std::nearbyint(double(i) * (double(image - patch) / (count - 1)))));
  return starts;
}

std::vector<float> gaussian_weights(const Extent3& patch) {
  std::array<std::vector<double>, 3> squares;
  for (int axis = 0; axis < 3; ++axis) {
    for (int i = 0; i < patch[axis]; ++i) {
      const double distance = (i - patch[axis] / 2) / (patch[axis] / 8.0);
      squares[axis].push_back(distance * distance);
    }
  }
  std::vector<float> weights;
  weights.reserve(std::size_t(patch[0]) * std::size_t(patch[1]) * std::size_t(patch[2]));
  for (const double d : squares[0]) {
    for (const double h : squares[1]) {
      for (const double w : squares[2]) weights.push_back(float(std::exp(-0.5 * (d + h + w))));
    }
  }
  return weights;
}

// Adds one run's weighted probabilities to the ring, row by row.
class SlidingWindow::Accumulate : public engine::LogitsSink {
 public:
  Accumulate(SlidingWindow& window, const std::array<int, 3>& start, const std::vector<int>& mirror, float share)
      : window_(window),
        start_(start),
        share_(share),
        sigmoid_(window.engine_.network().configuration().output == model::OutputKind::sigmoid) {
    for (const int axis : mirror) flipped_[axis] = true;
    const std::optional<int> side = model::left_right_axis(window.engine_.network().configuration().preprocessing);
    exchanged_ = side && flipped_[*side];
  }

  void consume(int patch_row, float* logits) override {
    const auto& [depth, height, width] = window_.patch_;
    const std::ptrdiff_t plane = std::ptrdiff_t{width} * depth;
    if (sigmoid_) {
      kernels::sigmoid(logits, window_.classes_, plane);
    } else {
      kernels::softmax(logits, window_.classes_, plane);
    }
    const int tile_row = flipped_[1] ? height - 1 - patch_row : patch_row;
    const int h = start_[1] + tile_row;
    if (h < 0 || h >= window_.volume_[1]) return;
    const int w_begin = std::max(0, -start_[2]);
    const int w_end = std::min(width, window_.volume_[2] - start_[2]);
    const std::ptrdiff_t slice = std::ptrdiff_t{window_.volume_[1]} * window_.volume_[2];
    auto* sums = reinterpret_cast<float*>(window_.sums_.data());

    const int d_begin = std::max(0, -start_[0]);
    const int d_end = std::min(depth, window_.volume_[0] - start_[0]);
    for (int c = 0; c < window_.classes_; ++c) {
      const int target = exchanged_ ? window_.exchanged_[std::size_t(c)] : c;
      for (int d = d_begin; d < d_end; d += kBlock) {
        for (int w = w_begin; w < w_end; w += kBlock) {
          const int depths = std::min(kBlock, d_end - d);
          const int pixels = std::min(kBlock, w_end - w);
          float block[kBlock][kBlock];  // [depth][pixel]
          transpose(logits + c * plane, d, depths, w, pixels, block);
          for (int i = 0; i < depths; ++i) {
            const std::ptrdiff_t ring = (start_[0] + d + i) % window_.ring_slices_;
            float* to = sums + (ring * window_.classes_ + target) * slice + std::ptrdiff_t{h} * window_.volume_[2] +
                        start_[2] + w;
            if (window_.weights_.empty()) {
              for (int k = 0; k < pixels; ++k) to[k] += block[i][k];
            } else {
              const float* weight = window_.weights_.data() + (std::ptrdiff_t{d + i} * height + tile_row) * width + w;
              for (int k = 0; k < pixels; ++k) to[k] += weight[k] * block[i][k];
            }
          }
        }
      }
    }
  }

 private:
  // A row of the network is [W][D], a slice of the sums [H][W]: turned over in blocks whose lines stay in cache.
  static constexpr int kBlock = 16;

  // Depths [d, d + depths) and pixels [w, w + pixels) of the tile, unmirrored, as this run's share of the average.
  void transpose(const float* row, int d, int depths, int w, int pixels, float (&block)[kBlock][kBlock]) const {
    const auto& [depth, height, width] = window_.patch_;
    for (int k = 0; k < pixels; ++k) {
      const int patch_w = flipped_[2] ? width - 1 - (w + k) : w + k;
      const float* pixel = row + std::ptrdiff_t{patch_w} * depth;
      if (flipped_[0]) {
        for (int i = 0; i < depths; ++i) block[i][k] = pixel[depth - 1 - (d + i)] * share_;
      } else {
        for (int i = 0; i < depths; ++i) block[i][k] = pixel[d + i] * share_;
      }
    }
  }

  SlidingWindow& window_;
  std::array<int, 3> start_;
  bool flipped_[3] = {false, false, false};
  bool exchanged_ = false;
  float share_;
  bool sigmoid_;
};

SlidingWindow::SlidingWindow(engine::Engine& engine, const TilingOptions& options, const Extent3& volume)
    : engine_(engine), volume_(volume), patch_(engine.plan().patch), classes_(engine.network().architecture().classes) {
  if (!(options.step > 0 && options.step <= 1)) {
    throw Error(ErrorCode::invalid_argument,
                "step: expected a fraction of the patch above 0 and at most 1, found " + std::to_string(options.step));
  }
  std::int64_t tiles = 1;
  for (int axis = 0; axis < 3; ++axis) {
    padding_[axis] = std::max(0, patch_[axis] - volume_[axis]) / 2;
    starts_[axis] = tile_starts(std::max(volume_[axis], patch_[axis]), patch_[axis], options.step);
    for (int& start : starts_[axis]) start -= padding_[axis];
    tiles *= std::int64_t(starts_[axis].size());
  }
  for (int subset = 0; subset < (1 << options.mirror_axes.size()); ++subset) {
    mirrors_.emplace_back();
    for (std::size_t i = 0; i < options.mirror_axes.size(); ++i) {
      if (subset >> i & 1) mirrors_.back().push_back(options.mirror_axes[i]);
    }
  }
  for (int c = 0; c < classes_; ++c) exchanged_.push_back(c);
  for (const auto& [one, other] : engine.network().configuration().mirrored_labels)
    std::swap(exchanged_[std::size_t(one)], exchanged_[std::size_t(other)]);
  if (options.gaussian && tiles > 1) weights_ = gaussian_weights(patch_);
  ring_slices_ = std::min(patch_[0], volume_[0]);
  const std::size_t plane = std::size_t(volume_[1]) * std::size_t(volume_[2]) * sizeof(float);
  sums_ = AlignedBuffer(std::size_t(ring_slices_) * std::size_t(classes_) * plane, "accumulated probabilities");
  weight_sums_ = AlignedBuffer(std::size_t(ring_slices_) * plane, "the weights of accumulated probabilities");
}

std::int64_t SlidingWindow::runs() const {
  return std::int64_t(starts_[0].size() * starts_[1].size() * starts_[2].size() * mirrors_.size());
}

std::size_t SlidingWindow::memory_bytes(const Extent3& volume, const model::Triple& patch, int classes) {
  const std::size_t plane = std::size_t(volume[1]) * std::size_t(volume[2]) * sizeof(float);
  const std::size_t weights = std::size_t(patch[0]) * std::size_t(patch[1]) * std::size_t(patch[2]) * sizeof(float);
  return std::size_t(std::min(patch[0], volume[0])) * std::size_t(classes + 1) * plane + weights;
}

void SlidingWindow::finish_slices(int begin, int end, SliceSink& sink) {
  const std::ptrdiff_t plane = std::ptrdiff_t{volume_[1]} * volume_[2];
  auto* sums = reinterpret_cast<float*>(sums_.data());
  auto* weights = reinterpret_cast<float*>(weight_sums_.data());
  const auto ring = [&](std::int64_t slice) { return (begin + slice) % ring_slices_; };
  run_team(engine_.plan().threads, [&](const Worker& worker) {
    worker.for_each(std::int64_t{end - begin} * classes_, [&](std::int64_t i) {
      float* values = sums + (ring(i / classes_) * classes_ + i % classes_) * plane;
      const float* weight = weights + ring(i / classes_) * plane;
      for (std::ptrdiff_t voxel = 0; voxel < plane; ++voxel) values[voxel] /= weight[voxel];
    });
  });
  sink.consume(FinishedSlices(begin, end, sums, ring_slices_, classes_ * plane));
  run_team(engine_.plan().threads, [&](const Worker& worker) {
    worker.for_each(end - begin, [&](std::int64_t i) {
      std::memset(sums + ring(i) * classes_ * plane, 0, std::size_t(classes_ * plane) * sizeof(float));
      std::memset(weights + ring(i) * plane, 0, std::size_t(plane) * sizeof(float));
    });
  });
}

void SlidingWindow::run(const float* volume, SliceSink& sink, const TileCallback& callback) {
  class Whole : public InputVolume {
   public:
    Whole(const float* data, const Extent3& extent)
        : data_(data), slice_size_(std::ptrdiff_t{extent[1]} * extent[2]), channel_stride_(slice_size_ * extent[0]) {}
    Slices slices(int begin, int) override { return {data_ + begin * slice_size_, channel_stride_}; }

   private:
    const float* data_;
    std::ptrdiff_t slice_size_, channel_stride_;
  };
  Whole whole(volume, volume_);
  run(whole, sink, callback);
}

void SlidingWindow::run(InputVolume& volume, SliceSink& sink, const TileCallback& callback) {
  std::memset(sums_.data(), 0, sums_.size());
  std::memset(weight_sums_.data(), 0, weight_sums_.size());
  const std::int64_t total = runs();
  std::int64_t done = 0;
  const float share = 1.0f / float(mirrors_.size());

  for (std::size_t layer = 0; layer < starts_[0].size(); ++layer) {
    const int first_slice = std::max(0, starts_[0][layer]);
    const InputVolume::Slices slices = volume.slices(first_slice, std::min(volume_[0], starts_[0][layer] + patch_[0]));
    for (const int start_h : starts_[1]) {
      for (const int start_w : starts_[2]) {
        const std::array<int, 3> start{starts_[0][layer], start_h, start_w};
        for (const std::vector<int>& mirror : mirrors_) {
          if (callback && !callback(done, total)) throw Error(ErrorCode::cancelled, "cancelled by the caller");
          kernels::PatchView view;
          const std::ptrdiff_t strides[3] = {std::ptrdiff_t{volume_[1]} * volume_[2], volume_[2], 1};
          view.channel_stride = slices.channel_stride;
          view.data = slices.data - first_slice * strides[0];
          for (int axis = 0; axis < 3; ++axis) {
            view.begin[axis] = std::max(0, -start[axis]);
            view.end[axis] = std::min(patch_[axis], volume_[axis] - start[axis]);
            view.stride[axis] = strides[axis];
            view.data += start[axis] * strides[axis];
          }
          for (const int axis : mirror) {
            view.data += (patch_[axis] - 1) * strides[axis];
            view.stride[axis] = -strides[axis];
            const int begin = patch_[axis] - view.end[axis];
            view.end[axis] = patch_[axis] - view.begin[axis];
            view.begin[axis] = begin;
          }
          Accumulate accumulate(*this, start, mirror, share);
          engine_.run(view, accumulate);
          ++done;
        }
        add_weights(start);
      }
    }
    const bool last = layer + 1 == starts_[0].size();
    const int finished = last ? volume_[0] : starts_[0][layer + 1];
    finish_slices(first_slice, finished, sink);
  }
  if (callback && !callback(done, total)) throw Error(ErrorCode::cancelled, "cancelled by the caller");
}

void SlidingWindow::add_weights(const std::array<int, 3>& start) {
  auto* sums = reinterpret_cast<float*>(weight_sums_.data());
  for (int d = std::max(0, -start[0]); d < patch_[0] && start[0] + d < volume_[0]; ++d) {
    for (int h = std::max(0, -start[1]); h < patch_[1] && start[1] + h < volume_[1]; ++h) {
      float* row =
          sums + (std::ptrdiff_t((start[0] + d) % ring_slices_) * volume_[1] + start[1] + h) * volume_[2] + start[2];
      const float* weight =
          weights_.empty() ? nullptr : weights_.data() + (std::ptrdiff_t{d} * patch_[1] + h) * patch_[2];
      for (int w = std::max(0, -start[2]); w < patch_[2] && start[2] + w < volume_[2]; ++w)
        row[w] += weight ? weight[w] : 1.0f;
    }
  }
}

}  // namespace e2enet::streaming
