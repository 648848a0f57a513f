#include "tiles/sliding_window.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "base/checked_size.h"
#include "base/parallel.h"
#include "e2enet/error.h"

namespace e2enet::tiles {

namespace {

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

}  // namespace

std::string step_problem(double step, const Extent& patch) {
  if (!(step > 0 && step <= 1)) {
    return "expected a fraction of the patch above 0 and at most 1, found " + number_text(step);
  }
  for (std::size_t axis = 0; axis < 3; ++axis) {
    // 1/49 of 49 voxels is a little less than one in floating point.
    const double least = patch[axis] == 1 ? 0.5 : 1 - 1e-9;
    if (patch[axis] * step < least) {
      return std::string("expected at least one voxel, ") + number_text(1.0 / patch[axis]) + " of the patch along " +
             "DHW"[axis] + " (" + std::to_string(patch[axis]) + " voxels), found " + number_text(step);
    }
  }
  return "";
}

TileStarts::TileStarts(int image, int patch, double step) {
  const std::string problem = step_problem(step, {patch, patch, patch});
  if (!problem.empty()) throw Error(ErrorCode::invalid_argument, "step: " + problem);
  if (image < 1 || patch < 1) throw Error(ErrorCode::internal, "tiles: expected at least one voxel on each axis");
  if (image <= patch) return;
  slack_ = image - patch;
  count_ = std::int64_t(std::ceil(slack_ / (patch * step))) + 1;
}

int TileStarts::operator[](std::int64_t i) const {
  if (slack_ == 0) return 0;
  return int(std::nearbyint(double(i) * (double(slack_) / double(count_ - 1))));
}

std::vector<float> gaussian_weights(const Extent& patch) {
  std::array<std::vector<double>, 3> squares;
  for (int axis = 0; axis < 3; ++axis) {
    for (int i = 0; i < patch[axis]; ++i) {
      const double distance = (i - patch[axis] / 2) / (patch[axis] / 8.0);
      squares[axis].push_back(distance * distance);
    }
  }
  std::vector<float> weights;
  weights.reserve(checked_count<float>("a tile's weights", patch[0], patch[1], patch[2]));
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
            float* to = sums + ((ring * window_.classes_ + target) * slice + std::ptrdiff_t{h} * window_.volume_[2] +
                                start_[2] + w);
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

SlidingWindow::SlidingWindow(engine::Engine& engine, const TilingOptions& options, const Extent& volume)
    : engine_(engine), volume_(volume), patch_(engine.plan().patch), classes_(engine.network().architecture().classes) {
  const std::string problem = step_problem(options.step, patch_);
  if (!problem.empty()) throw Error(ErrorCode::invalid_argument, "step: " + problem);
  bool one_tile = true;
  for (int axis = 0; axis < 3; ++axis) {
    padding_[axis] = std::max(0, patch_[axis] - volume_[axis]) / 2;
    starts_[axis] = TileStarts(volume_[axis], patch_[axis], options.step);
    one_tile = one_tile && starts_[axis].count() == 1;
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
  if (options.gaussian && !one_tile) weights_ = gaussian_weights(patch_);
  ring_slices_ = std::min(patch_[0], volume_[0]);
  const auto slices = [&](const char* what, int channels) {
    return AlignedBuffer(checked_size(what, ring_slices_, channels, volume_[1], volume_[2], sizeof(float)), what);
  };
  sums_ = slices("accumulated probabilities", classes_);
  weight_sums_ = slices("the weights of accumulated probabilities", 1);
}

std::int64_t SlidingWindow::runs() const {
  return starts_[0].count() * starts_[1].count() * starts_[2].count() * std::int64_t(mirrors_.size());
}

double SlidingWindow::memory_bytes(const Extent& volume, const Extent& patch, int classes) {
  const double plane = double(volume[1]) * volume[2] * sizeof(float);
  const double weights = double(patch[0]) * patch[1] * patch[2] * sizeof(float);
  return double(std::min(patch[0], volume[0])) * (classes + 1.0) * plane + weights;
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
    Whole(const float* data, const Extent& extent)
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

  for (std::int64_t layer = 0; layer < starts_[0].count(); ++layer) {
    const int start_d = starts_[0][layer] - padding_[0];
    const int first_slice = std::max(0, start_d);
    const InputVolume::Slices slices = volume.slices(first_slice, std::min(volume_[0], start_d + patch_[0]));
    for (std::int64_t row = 0; row < starts_[1].count(); ++row) {
      for (std::int64_t tile = 0; tile < starts_[2].count(); ++tile) {
        const std::array<int, 3> start{start_d, starts_[1][row] - padding_[1], starts_[2][tile] - padding_[2]};
        for (const std::vector<int>& mirror : mirrors_) {
          if (callback && !callback(done, total)) throw Error(ErrorCode::cancelled, "cancelled by the caller");
          kernels::PatchView view;
          const std::ptrdiff_t strides[3] = {std::ptrdiff_t{volume_[1]} * volume_[2], volume_[2], 1};
          view.channel_stride = slices.channel_stride;
          view.data = slices.data;
          view.origin = -first_slice * strides[0];
          for (int axis = 0; axis < 3; ++axis) {
            view.begin[axis] = std::max(0, -start[axis]);
            view.end[axis] = std::min(patch_[axis], volume_[axis] - start[axis]);
            view.stride[axis] = strides[axis];
            view.origin += start[axis] * strides[axis];
          }
          for (const int axis : mirror) {
            view.origin += (patch_[axis] - 1) * strides[axis];
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
    const bool last = layer + 1 == starts_[0].count();
    const int finished = last ? volume_[0] : starts_[0][layer + 1] - padding_[0];
    finish_slices(first_slice, finished, sink);
  }
  if (callback && !callback(done, total)) throw Error(ErrorCode::cancelled, "cancelled by the caller");
}

void SlidingWindow::add_weights(const std::array<int, 3>& start) {
  auto* sums = reinterpret_cast<float*>(weight_sums_.data());
  for (int d = std::max(0, -start[0]); d < patch_[0] && start[0] + d < volume_[0]; ++d) {
    for (int h = std::max(0, -start[1]); h < patch_[1] && start[1] + h < volume_[1]; ++h) {
      const std::ptrdiff_t row =
          (std::ptrdiff_t((start[0] + d) % ring_slices_) * volume_[1] + start[1] + h) * volume_[2] + start[2];
      const float* weight =
          weights_.empty() ? nullptr : weights_.data() + (std::ptrdiff_t{d} * patch_[1] + h) * patch_[2];
      for (int w = std::max(0, -start[2]); w < patch_[2] && start[2] + w < volume_[2]; ++w)
        sums[row + w] += weight ? weight[w] : 1.0f;
    }
  }
}

}  // namespace e2enet::tiles
