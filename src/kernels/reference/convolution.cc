// The definition in convolution.h, written down as loops. Slow, and the judge of every other algorithm.
#include <algorithm>
#include <limits>

#include "kernels/kernel_list.h"
#include "kernels/reference/elements.h"
#include "kernels/reference/reference.h"
#include "kernels/weight_rows.h"

namespace e2enet::kernels {
namespace {

using reference::read_element;
using reference::read_voxel;
using reference::write_element;

// A band must be a multiple of the pooling's rows for can_pool(); more rows would only ask more of a ring of rows.
constexpr int kRowsPerBand = 4;

class ReferencePlan final : public ConvolutionPlan {
 public:
  explicit ReferencePlan(const ConvolutionProblem& problem)
      : shape_(problem.shape), counts_(problem.kernels), output_(problem.shape.output()) {}

  std::string name() const override { return "reference_f64"; }
  int bands() const override { return (output_.height + kRowsPerBand - 1) / kRowsPerBand; }
  int rows_per_band() const override { return kRowsPerBand; }
  int items_per_band() const override { return 1; }
  PixelRange pixels(int) const override { return {0, output_.width}; }
  std::int64_t slot_voxels(int band, int) const override {
    return std::int64_t{row_end(band) - band * kRowsPerBand} * output_.width * output_.depth;
  }
  bool can_pool(Stride stride) const override { return kRowsPerBand % stride.height == 0; }
  std::size_t packed_bytes() const override { return SparseWeights::bytes(counts_, false); }
  std::size_t scratch_bytes() const override { return 0; }
  std::unique_ptr<Convolution> pack(const SparseKernels& kernels) const override;

  const ConvolutionShape& shape() const { return shape_; }
  const Extent& output() const { return output_; }
  int row_end(int band) const { return std::min((band + 1) * kRowsPerBand, output_.height); }

 private:
  ConvolutionShape shape_;
  KernelCounts counts_;
  Extent output_;
};

class ReferenceConvolution final : public Convolution {
 public:
  ReferenceConvolution(const ReferencePlan& plan, const SparseKernels& kernels)
      : plan_(plan), shape_(plan.shape()), output_(plan.output()), copy_(kernels, false), kernels_(copy_.view()) {}

  std::size_t packed_bytes() const override { return copy_.bytes(); }
  void run(const ConvolutionArguments& arguments, int band, int, void*) const override {
    for (int o = 0; o < kernels_.outputs; ++o) {
      for (int h = band * kRowsPerBand; h < plan_.row_end(band); ++h) {
        void* row = arguments.output.row(o, h);
        for (int w = 0; w < output_.width; ++w) {
          for (int d = 0; d < output_.depth; ++d) {
            write_element(row, std::ptrdiff_t{w} * output_.depth + d, arguments.output.element,
                          static_cast<float>(voxel(arguments, o, d, h, w)));
          }
        }
      }
      if (arguments.statistics != nullptr)
        arguments.statistics[std::ptrdiff_t{band} * kernels_.outputs + o] = statistics(arguments, band, o);
      if (arguments.pooled.feature.data != nullptr) pool(arguments, band, o);
    }
  }

 private:
  double voxel(const ConvolutionArguments& arguments, int o, int d, int h, int w) const {
    double sum = arguments.bias != nullptr ? arguments.bias[o] : 0.0;
    for (std::int32_t k = kernels_.row_begin[o]; k < kernels_.row_begin[o + 1]; ++k) {
      const int channel = kernels_.input[k];
      const int depth = d * shape_.stride.depth - depth_shift(channel, kernels_.inputs, shape_.groups);
      int part = 0;
      int channel_of_part = channel;
      while (channel_of_part >= shape_.source_channels[part]) channel_of_part -= shape_.source_channels[part++];
      for (int a = 0; a < 3; ++a) {
        for (int b = 0; b < 3; ++b) {
          sum += double{kernels_.values[std::ptrdiff_t{k} * 9 + a * 3 + b]} *
                 read_voxel(arguments.sources[part], channel_of_part, depth, h * shape_.stride.height + a - 1,
                            w * shape_.stride.width + b - 1);
        }
      }
    }
    return sum;
  }

  PartialStatistics statistics(const ConvolutionArguments& arguments, int band, int o) const {
    double sum = 0;
    double squares = 0;
    const auto each = [&](auto&& visit) {
      for (int h = band * kRowsPerBand; h < plan_.row_end(band); ++h) {
        const void* row = arguments.output.row(o, h);
        for (std::ptrdiff_t i = 0; i < arguments.output.row_elements(); ++i) {
          visit(double{read_element(row, i, arguments.output.element)});
        }
      }
    };
    each([&](double value) { sum += value; });
    const double mean = sum / static_cast<double>(plan_.slot_voxels(band, 0));
    each([&](double value) { squares += (value - mean) * (value - mean); });
    return {static_cast<float>(mean), static_cast<float>(squares)};
  }

  void pool(const ConvolutionArguments& arguments, int band, int o) const {
    const Feature& pooled = arguments.pooled.feature;
    const Stride stride = pooling_stride(output_, pooled.extent);
    const bool minimum = arguments.pooled.take_minimum != nullptr && arguments.pooled.take_minimum[o] != 0;
    const int first = band * kRowsPerBand / stride.height;
    const int last = std::min(plan_.row_end(band) / stride.height, pooled.extent.height);
    for (int h = first; h < last; ++h) {
      for (int w = 0; w < pooled.extent.width; ++w) {
        for (int d = 0; d < pooled.extent.depth; ++d) {
          float best = minimum ? std::numeric_limits<float>::infinity() : -std::numeric_limits<float>::infinity();
          for (int a = 0; a < stride.height; ++a) {
            const void* row = arguments.output.row(o, h * stride.height + a);
            for (int b = 0; b < stride.width; ++b) {
              for (int e = 0; e < stride.depth; ++e) {
                const std::ptrdiff_t at = std::ptrdiff_t{w * stride.width + b} * output_.depth + d * stride.depth + e;
                const float value = read_element(row, at, arguments.output.element);
                best = minimum ? std::min(best, value) : std::max(best, value);
              }
            }
          }
          write_element(pooled.row(o, h), std::ptrdiff_t{w} * pooled.extent.depth + d, pooled.element, best);
        }
      }
    }
  }

  const ReferencePlan& plan_;
  const ConvolutionShape& shape_;
  const Extent& output_;
  SparseWeights copy_;
  SparseKernels kernels_;
};

std::unique_ptr<Convolution> ReferencePlan::pack(const SparseKernels& kernels) const {
  return std::make_unique<ReferenceConvolution>(*this, kernels);
}

Acceptance accepts(const ConvolutionProblem&) {
  return {Acceptance::Degree::when_asked, "plain loops, to compare with"};
}

// As if a core did a multiply-add in eight cycles.
double cost(const ConvolutionProblem& problem) {
  return 8.0 * double(problem.kernels.kept) * problem.kernels.taps * double(problem.shape.output().voxels());
}

}  // namespace

namespace reference {

std::unique_ptr<ConvolutionPlan> make(const ConvolutionProblem& problem) {
  return std::make_unique<ReferencePlan>(problem);
}

extern const ConvolutionEntry kConvolution{"reference", accepts, cost, make};

}  // namespace reference
}  // namespace e2enet::kernels
