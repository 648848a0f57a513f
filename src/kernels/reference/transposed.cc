// The definition in transposed_convolution.h, written down as loops, in double.
#include "kernels/kernel_list.h"
#include "kernels/reference/elements.h"
#include "kernels/reference/reference.h"
#include "kernels/weight_rows.h"

namespace e2enet::kernels {
namespace {

class ReferenceTransposed final : public TransposedConvolution {
 public:
  ReferenceTransposed(const TransposedConvolutionShape& shape, const SparseKernels& kernels)
      : shape_(shape), copy_(kernels, false), kernels_(copy_.view()) {}

  std::size_t packed_bytes() const override { return copy_.bytes(); }

  void run(const Source& source, const Feature& output, int input_row, int, void*) const override {
    const Stride& stride = shape_.stride;
    for (int o = 0; o < kernels_.outputs; ++o) {
      for (int b = 0; b < stride.height; ++b) {
        void* row = output.row(o, input_row * stride.height + b);
        for (int w = 0; w < shape_.input.width * stride.width; ++w) {
          for (int d = 0; d < shape_.input.depth * stride.depth; ++d) {
            const int tap = ((d % stride.depth) * stride.height + b) * stride.width + w % stride.width;
            double sum = 0;
            for (std::int32_t k = kernels_.row_begin[o]; k < kernels_.row_begin[o + 1]; ++k) {
              sum += double{kernels_.values[std::ptrdiff_t{k} * kernels_.taps + tap]} *
                     reference::read_voxel(source, kernels_.input[k], d / stride.depth, input_row, w / stride.width);
            }
            reference::write_element(row, std::ptrdiff_t{w} * output.extent.depth + d, output.element,
                                     static_cast<float>(sum));
          }
        }
      }
    }
  }

 private:
  TransposedConvolutionShape shape_;
  SparseWeights copy_;
  SparseKernels kernels_;
};

class ReferenceTransposedPlan final : public TransposedConvolutionPlan {
 public:
  explicit ReferenceTransposedPlan(const TransposedConvolutionProblem& problem) : problem_(problem) {}

  std::string name() const override { return "reference_transposed_f64"; }
  int items_per_row() const override { return 1; }
  PixelRange pixels(int) const override { return {0, problem_.shape.input.width * problem_.shape.stride.width}; }
  std::size_t packed_bytes() const override { return SparseWeights::bytes(problem_.kernels, false); }
  std::size_t scratch_bytes() const override { return 0; }
  std::unique_ptr<TransposedConvolution> pack(const SparseKernels& kernels) const override {
    return std::make_unique<ReferenceTransposed>(problem_.shape, kernels);
  }

 private:
  TransposedConvolutionProblem problem_;
};

Acceptance accepts(const TransposedConvolutionProblem&) {
  return {Acceptance::Degree::when_asked, "plain loops, to compare with"};
}

// As if a core did a multiply-add in eight cycles.
double cost(const TransposedConvolutionProblem& problem) {
  return 8.0 * double(problem.kernels.kept) * problem.kernels.taps * double(problem.shape.input.voxels());
}

}  // namespace

namespace reference {

std::unique_ptr<TransposedConvolutionPlan> make_transposed(const TransposedConvolutionProblem& problem) {
  return std::make_unique<ReferenceTransposedPlan>(problem);
}

extern const TransposedConvolutionEntry kTransposedConvolution{"reference", accepts, cost, make_transposed};

}  // namespace reference
}  // namespace e2enet::kernels
