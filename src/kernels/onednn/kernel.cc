// Dense convolutions through oneDNN: a 1x3x3 convolution is a 2D one with depth as the batch.
//
// An item is a band of rows x a block of depths x a segment of pixels. Its inputs are staged as (depth, row, pixel,
// channel), activated, shifted and with the border's zeros, so that one primitive without padding serves all items; at
// the far ends an item computes more than it keeps.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/kernel_list.h"
#include "kernels/onednn/backend.h"
#include "kernels/onednn/onednn.h"

namespace e2enet::kernels {
namespace {

constexpr int kDepths = 16;                    // of an item: a cache line of a feature
constexpr int kRows = 4;                       // of an item
constexpr std::size_t kItemBytes = 800 << 10;  // staged inputs and results, for a cache of 1 MiB
constexpr std::size_t kAlignment = 64 / sizeof(float);

std::size_t aligned(std::size_t floats) { return (floats + kAlignment - 1) / kAlignment * kAlignment; }

float load(const float* from, std::ptrdiff_t at) { return from[at]; }
float load(const std::uint16_t* from, std::ptrdiff_t at) { return widen_bf16(from[at]); }
void store(float* to, std::ptrdiff_t at, float value) { to[at] = value; }
void store(std::uint16_t* to, std::ptrdiff_t at, float value) { to[at] = round_to_bf16(value); }

class DenseOnednnPlan final : public ConvolutionPlan {
 public:
  explicit DenseOnednnPlan(const ConvolutionProblem& problem)
      : shape_(problem.shape),
        output_(shape_.output()),
        inputs_(problem.kernels.inputs),
        outputs_(problem.kernels.outputs),
        threads_(problem.threads) {
    depths_ = even_cut(output_.depth, kDepths);
    rows_ = std::min(output_.height, kRows);
    pixels_ = output_.width;
    while (item_floats() * sizeof(float) > kItemBytes) {
      if (pixels_ > 8) {
        pixels_ = (pixels_ + 1) / 2;
      } else if (rows_ > 1) {
        rows_ = (rows_ + 1) / 2;
      } else if (depths_ > 4) {
        depths_ = (depths_ + 1) / 2;
      } else {
        break;
      }
    }
    depth_blocks_ = (output_.depth + depths_ - 1) / depths_;
    segments_ = (output_.width + pixels_ - 1) / pixels_;
    primitive_ = onednn::Convolution2dPlan::make(
        {depths_, inputs_, outputs_, staged_rows(), staged_pixels(), shape_.stride.height, shape_.stride.width});
    if (primitive_) {
      name_ = std::string("dense_onednn_") + (problem.element == Element::f32 ? "f32_" : "bf16_") +
              primitive_->implementation();
    }
  }

  bool available() const { return primitive_ != nullptr; }

  std::string name() const override { return name_; }
  int bands() const override { return (output_.height + rows_ - 1) / rows_; }
  int rows_per_band() const override { return rows_; }
  int items_per_band() const override { return depth_blocks_ * segments_; }
  PixelRange pixels(int item) const override {
    const Item at = locate(0, item);
    return {at.first_pixel, at.first_pixel + at.pixels};
  }
  std::int64_t slot_voxels(int band, int item) const override {
    const Item at = locate(band, item);
    return std::int64_t{at.depths} * at.rows * at.pixels;
  }
  bool can_pool(Stride) const override { return false; }
  std::size_t packed_bytes() const override { return primitive_->packed_bytes(); }
  std::size_t scratch_bytes() const override {
    return (item_floats() + 5 * aligned(static_cast<std::size_t>(outputs_))) * sizeof(float) +
           primitive_->scratchpad_bytes();
  }

  std::unique_ptr<Convolution> pack(const SparseKernels& kernels) const override;

  struct Item {
    int first_depth, depths, first_row, rows, first_pixel, pixels;
  };

  static int even_cut(int extent, int most) {
    const int parts = (extent + most - 1) / most;
    return (extent + parts - 1) / parts;
  }

  int staged_rows() const { return (rows_ - 1) * shape_.stride.height + 3; }
  int staged_pixels() const { return (pixels_ - 1) * shape_.stride.width + 3; }
  std::size_t staged_floats() const {
    return static_cast<std::size_t>(depths_) * staged_rows() * staged_pixels() * inputs_;
  }
  std::size_t result_floats() const { return static_cast<std::size_t>(depths_) * rows_ * pixels_ * outputs_; }
  std::size_t item_floats() const { return aligned(staged_floats()) + aligned(result_floats()); }

  Item locate(int band, int item) const {
    Item at;
    at.first_depth = item % depth_blocks_ * depths_;
    at.depths = std::min(depths_, output_.depth - at.first_depth);
    at.first_row = band * rows_;
    at.rows = std::min(rows_, output_.height - at.first_row);
    at.first_pixel = item / depth_blocks_ * pixels_;
    at.pixels = std::min(pixels_, output_.width - at.first_pixel);
    return at;
  }

  const ConvolutionShape& shape() const { return shape_; }
  const Extent& output() const { return output_; }
  int inputs() const { return inputs_; }
  int outputs() const { return outputs_; }
  int rows() const { return rows_; }
  int pixels() const { return pixels_; }
  const onednn::Convolution2dPlan& primitive() const { return *primitive_; }
  int threads() const { return threads_; }

 private:
  ConvolutionShape shape_;
  Extent output_;
  int inputs_;
  int outputs_;
  int threads_;
  int depths_ = 1;  // of an item
  int rows_ = 1;
  int pixels_ = 1;
  int depth_blocks_ = 1;
  int segments_ = 1;
  std::unique_ptr<onednn::Convolution2dPlan> primitive_;
  std::string name_;
};

class DenseOnednn final : public Convolution {
 public:
  DenseOnednn(const DenseOnednnPlan& plan, const SparseKernels& kernels)
      : plan_(plan),
        primitive_(plan.primitive().pack(kernels.values, plan.threads())),
        no_bias_(static_cast<std::size_t>(plan.outputs()), 0.0f) {}

  std::size_t packed_bytes() const override { return plan_.primitive().packed_bytes(); }

  void run(const ConvolutionArguments& arguments, int band, int item, void* scratch) const override {
    const DenseOnednnPlan::Item at = plan_.locate(band, item);
    float* staged = static_cast<float*>(scratch);
    float* results = staged + aligned(plan_.staged_floats());
    float* sums = results + aligned(plan_.result_floats());
    float* scratchpad = sums + 5 * aligned(static_cast<std::size_t>(plan_.outputs()));

    std::memset(staged, 0, plan_.staged_floats() * sizeof(float));
    int first_channel = 0;
    for (std::size_t s = 0; s < plan_.shape().source_channels.size(); ++s) {
      if (arguments.sources[s].feature.element == Element::f32) {
        stage<float>(arguments.sources[s], first_channel, at, staged);
      } else {
        stage<std::uint16_t>(arguments.sources[s], first_channel, at, staged);
      }
      first_channel += plan_.shape().source_channels[s];
    }
    primitive_->execute(staged, arguments.bias != nullptr ? arguments.bias : no_bias_.data(), results, scratchpad);
    if (arguments.output.element == Element::f32) {
      write<float>(arguments.output, at, results);
    } else {
      write<std::uint16_t>(arguments.output, at, results);
    }
    if (arguments.statistics != nullptr) {
      gather_statistics(
          at, results, sums,
          arguments.statistics + (std::ptrdiff_t{band} * plan_.items_per_band() + item) * plan_.outputs());
    }
  }

 private:
  template <typename T>
  void stage(const Source& source, int first_channel, const DenseOnednnPlan::Item& at, float* staged) const {
    const Extent& extent = plan_.shape().input;
    const std::ptrdiff_t image = std::ptrdiff_t{plan_.staged_rows()} * plan_.staged_pixels() * plan_.inputs();
    for (int i = 0; i < plan_.staged_rows(); ++i) {
      const int row = at.first_row * plan_.shape().stride.height + i - 1;
      if (row < 0 || row >= extent.height) continue;
      for (int j = 0; j < plan_.staged_pixels(); ++j) {
        const int pixel = at.first_pixel * plan_.shape().stride.width + j - 1;
        if (pixel < 0 || pixel >= extent.width) continue;
        float* to = staged + (std::ptrdiff_t{i} * plan_.staged_pixels() + j) * plan_.inputs() + first_channel;
        for (int c = 0; c < source.feature.channels; ++c) {
          const T* from = static_cast<const T*>(source.feature.row(c, row)) + std::ptrdiff_t{pixel} * extent.depth;
          const int shift = depth_shift(first_channel + c, plan_.inputs(), plan_.shape().groups);
          const bool active = source.activation.scale != nullptr;
          const float scale = active ? source.activation.scale[c] : 1.0f;
          const float offset = active ? source.activation.offset[c] : 0.0f;
          const float slope = active ? source.activation.negative_slope : 1.0f;
          for (int n = 0; n < at.depths; ++n) {
            const int depth = (at.first_depth + n) * plan_.shape().stride.depth - shift;
            if (depth < 0 || depth >= extent.depth) continue;
            const float value = scale * load(from, depth) + offset;
            to[n * image + c] = value > 0 ? value : slope * value;
          }
        }
      }
    }
  }

  template <typename T>
  void write(const Feature& output, const DenseOnednnPlan::Item& at, const float* results) const {
    const std::ptrdiff_t image = std::ptrdiff_t{plan_.rows()} * plan_.pixels() * plan_.outputs();
    for (int r = 0; r < at.rows; ++r) {
      for (int w = 0; w < at.pixels; ++w) {
        const float* from = results + (std::ptrdiff_t{r} * plan_.pixels() + w) * plan_.outputs();
        for (int o = 0; o < plan_.outputs(); ++o) {
          T* to = static_cast<T*>(output.row(o, at.first_row + r)) +
                  std::ptrdiff_t{at.first_pixel + w} * plan_.output().depth + at.first_depth;
          for (int n = 0; n < at.depths; ++n) store(to, n, from[n * image + o]);
        }
      }
    }
  }

  // Of the results before any rounding to bf16, all outputs side by side: sums of x - p and (x - p)^2, p being the
  // first value of each output, so that a mean far from zero cancels before anything is squared. In double: an item has
  // thousands of voxels, and a bottleneck of a few voxels amplifies what rounding leaves of their sum.
  void gather_statistics(const DenseOnednnPlan::Item& at, const float* results, float* scratch,
                         PartialStatistics* statistics) const {
    const std::size_t pitch = aligned(static_cast<std::size_t>(plan_.outputs()));
    float* pivots = scratch;
    double* sums = reinterpret_cast<double*>(pivots + pitch);
    double* squares = sums + pitch;
    std::copy_n(results, plan_.outputs(), pivots);
    std::fill_n(sums, plan_.outputs(), 0.0);
    std::fill_n(squares, plan_.outputs(), 0.0);
    for (int n = 0; n < at.depths; ++n) {
      for (int r = 0; r < at.rows; ++r) {
        const float* from = results + (std::ptrdiff_t{n} * plan_.rows() + r) * plan_.pixels() * plan_.outputs();
        for (int w = 0; w < at.pixels; ++w, from += plan_.outputs()) {
          for (int o = 0; o < plan_.outputs(); ++o) {
            const double value = double(from[o]) - pivots[o];
            sums[o] += value;
            squares[o] += value * value;
          }
        }
      }
    }
    const double voxels = double(at.depths) * at.rows * at.pixels;
    for (int o = 0; o < plan_.outputs(); ++o) {
      const double mean = sums[o] / voxels;
      statistics[o] = {static_cast<float>(pivots[o] + mean),
                       static_cast<float>(std::max(0.0, squares[o] - sums[o] * mean))};
    }
  }

  const DenseOnednnPlan& plan_;
  std::unique_ptr<onednn::Convolution2d> primitive_;
  std::vector<float> no_bias_;
};

std::unique_ptr<Convolution> DenseOnednnPlan::pack(const SparseKernels& kernels) const {
  return std::make_unique<DenseOnednn>(*this, kernels);
}

}  // namespace

namespace onednn {

std::unique_ptr<ConvolutionPlan> make(const ConvolutionProblem& problem) {
  auto plan = std::make_unique<DenseOnednnPlan>(problem);
  if (!plan->available()) return nullptr;
  return plan;
}

}  // namespace onednn
}  // namespace e2enet::kernels
