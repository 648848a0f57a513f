#include "tiles/sliding_window.h"

#include <algorithm>
#include <atomic>
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

namespace {

// The most threads that the engine number `i` beside the first ever runs on: where as few runs are left as put it to
// work.
int threads_beside(int i, int threads) { return threads / (i + 1); }

}  // namespace

// Adds one run's weighted probabilities to the ring, row by row.
class SlidingWindow::Accumulate : public engine::LogitsSink {
 public:
  // Waits for `number` of the turns, if there are any, before it adds anything.
  Accumulate(SlidingWindow& window, const Run& run, const Turns* turns = nullptr, std::uint64_t number = 0,
             const Worker* whole = nullptr)
      : window_(window),
        start_(run.start),
        share_(1.0f / float(window.mirrors_.size())),
        turns_(turns),
        number_(number),
        whole_(whole),
        sigmoid_(window.engine_.network().configuration().output == model::OutputKind::sigmoid) {
    for (const int axis : *run.mirror) flipped_[axis] = true;
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
    if (turns_) turns_->await(number_, *whole_);

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
  const Turns* turns_;
  std::uint64_t number_;
  const Worker* whole_;
  bool sigmoid_;
};

class SlidingWindow::Reports {
 public:
  Reports(const TileCallback& callback, std::int64_t total) : callback_(callback), total_(total) {}
  void up_to(std::int64_t done) {
    for (; next_ <= done; ++next_) {
      if (callback_ && !callback_(next_, total_)) throw Error(ErrorCode::cancelled, "cancelled by the caller");
    }
  }

 private:
  const TileCallback& callback_;
  const std::int64_t total_;
  std::int64_t next_ = 0;
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
  const int at_once = runs_at_once(options.side_by_side, engine.plan().threads, volume, patch_, options);
  for (int i = 1; i < at_once; ++i) {
    beside_.push_back(std::make_unique<engine::Engine>(engine, threads_beside(i, engine.plan().threads)));
  }
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

int SlidingWindow::runs_at_once(int wanted, int threads, const Extent& volume, const Extent& patch,
                                const TilingOptions& options) {
  std::int64_t a_layer = std::int64_t{1} << options.mirror_axes.size();
  for (const std::size_t axis : {1, 2}) a_layer *= TileStarts(volume[axis], patch[axis], options.step).count();
  int at_once = int(std::min({std::int64_t{wanted}, std::int64_t{threads}, a_layer}));
  while (at_once > 1 && threads % at_once != 0) --at_once;
  return std::max(1, at_once);
}

double SlidingWindow::network_bytes(const plan::Plan& plan, int at_once) {
  double bytes = double(plan.run_bytes());
  for (int i = 1; i < at_once; ++i) bytes += double(plan.run_bytes(threads_beside(i, plan.threads)));
  return bytes;
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
  const std::int64_t a_layer = runs() / starts_[0].count();
  const int most = 1 + int(beside_.size());
  Reports reports(callback, runs());

  for (std::int64_t layer = 0; layer < starts_[0].count(); ++layer) {
    const int start_d = starts_[0][layer] - padding_[0];
    const int first_slice = std::max(0, start_d);
    const InputVolume::Slices slices = volume.slices(first_slice, std::min(volume_[0], start_d + patch_[0]));
    const Layer here{start_d, first_slice, slices, layer * a_layer};
    // What is left when all have had the same number of runs shares all threads.
    const std::int64_t even = a_layer - a_layer % most;
    run_layer(here, 0, even, most, reports);
    if (even < a_layer) run_layer(here, even, a_layer, int(a_layer - even), reports);
    const bool last = layer + 1 == starts_[0].count();
    const int finished = last ? volume_[0] : starts_[0][layer + 1] - padding_[0];
    finish_slices(first_slice, finished, sink);
  }
  reports.up_to(runs());
}

SlidingWindow::Run SlidingWindow::run_of(const Layer& layer, std::int64_t index) const {
  const auto copies = std::int64_t(mirrors_.size());
  const std::int64_t tile = index / copies;
  const std::int64_t across = starts_[2].count();
  return {{layer.start, starts_[1][tile / across] - padding_[1], starts_[2][tile % across] - padding_[2]},
          &mirrors_[std::size_t(index % copies)],
          index % copies + 1 == copies};
}

kernels::PatchView SlidingWindow::view_of(const Layer& layer, const Run& run) const {
  kernels::PatchView view;
  const std::ptrdiff_t strides[3] = {std::ptrdiff_t{volume_[1]} * volume_[2], volume_[2], 1};
  view.channel_stride = layer.slices.channel_stride;
  view.data = layer.slices.data;
  view.origin = -layer.first_slice * strides[0];
  for (int axis = 0; axis < 3; ++axis) {
    view.begin[axis] = std::max(0, -run.start[axis]);
    view.end[axis] = std::min(patch_[axis], volume_[axis] - run.start[axis]);
    view.stride[axis] = strides[axis];
    view.origin += run.start[axis] * strides[axis];
  }
  for (const int axis : *run.mirror) {
    view.origin += (patch_[axis] - 1) * strides[axis];
    view.stride[axis] = -strides[axis];
    const int begin = patch_[axis] - view.end[axis];
    view.end[axis] = patch_[axis] - view.begin[axis];
    view.begin[axis] = begin;
  }
  return view;
}

void SlidingWindow::run_layer(const Layer& layer, std::int64_t begin, std::int64_t end, int at_once, Reports& reports) {
  if (at_once > 1) {
    run_side_by_side(layer, begin, end, at_once, reports);
    return;
  }
  for (std::int64_t i = begin; i < end; ++i) {
    reports.up_to(layer.runs_before + i);
    const Run run = run_of(layer, i);
    Accumulate accumulate(*this, run);
    engine_.run(view_of(layer, run), accumulate);
    if (run.last_of_tile) add_weights(run.start);
  }
}

void SlidingWindow::run_side_by_side(const Layer& layer, std::int64_t begin, std::int64_t end, int at_once,
                                     Reports& reports) {
  const int threads = engine_.plan().threads;
  struct Part {
    explicit Part(int threads) : team(threads) {}
    Team team;
    std::int64_t run = 0;
  };
  std::vector<std::unique_ptr<Part>> parts;
  for (int i = 0; i < at_once; ++i) parts.push_back(std::make_unique<Part>(threads / at_once));
  std::atomic<std::int64_t> next{begin};
  Turns turns;  // runs add what they found in their order, so that sums do not depend on who was first
  run_team(threads, [&](const Worker& whole) {
    // A team that is smaller than asked for (within another, or of OpenMP's) makes one part after the other.
    const bool complete = whole.threads() == threads;
    const int number = complete ? whole.thread() / (threads / at_once) : 0;
    if (number >= at_once || (!complete && whole.thread() > 0)) return;
    Team alone(1);
    Part& part = *parts[std::size_t(number)];
    engine::Engine& engine = number == 0 ? engine_ : *beside_[std::size_t(number) - 1];
    run_part(complete ? part.team : alone, complete ? whole.thread() % (threads / at_once) : 0,
             [&](const Worker& worker) {
               while (true) {
                 if (worker.thread() == 0) {
                   if (whole.thread() == 0) reports.up_to(layer.runs_before + begin + std::int64_t(turns.passed()));
                   if (whole.failed()) throw TeamFailed();
                   part.run = next.fetch_add(1);
                 }
                 worker.meet();
                 if (part.run >= end) return;
                 const Run run = run_of(layer, part.run);
                 Accumulate accumulate(*this, run, &turns, std::uint64_t(part.run - begin), &whole);
                 engine.run(worker, view_of(layer, run), accumulate);
                 if (worker.thread() == 0) {
                   if (run.last_of_tile) add_weights(run.start);
                   turns.pass();
                 }
               }
             });
  });
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
