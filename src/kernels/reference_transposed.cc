// The definition in transposed_convolution.h, written down as loops, in double.
#include "kernels/reference.h"
#include "kernels/transposed_convolution.h"

namespace e2enet::kernels {
namespace {

class ReferenceTransposed final : public TransposedConvolution {
 public:
  ReferenceTransposed(const TransposedConvolutionShape& shape, const SparseKernels& kernels)
      : shape_(shape), copy_(kernels), kernels_(copy_.view()) {}

  std::string name() const override { return "reference_transposed_f64"; }
  int items_per_row() const override { return 1; }
  std::size_t packed_bytes() const override { return copy_.bytes(); }
  std::size_t scratch_bytes() const override { return 0; }

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
  KernelCopy copy_;
  const SparseKernels& kernels_;
};

}  // namespace

std::unique_ptr<TransposedConvolution> make_reference_transposed(const TransposedConvolutionShape& shape,
                                                                 const SparseKernels& kernels, Element) {
  return std::make_unique<ReferenceTransposed>(shape, kernels);
}

}  // namespace e2enet::kernels
