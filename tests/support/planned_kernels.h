// Kernels of the list, by name, planned and packed in one go: for the tests and benchmarks of single layers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernel_list.h"

namespace e2enet::test {

class PlannedConvolution {
 public:
  PlannedConvolution(std::unique_ptr<kernels::ConvolutionPlan> plan, const kernels::SparseKernels& kernels)
      : plan_(std::move(plan)), packed_(plan_->pack(kernels)) {}

  std::string name() const { return plan_->name(); }
  int bands() const { return plan_->bands(); }
  int rows_per_band() const { return plan_->rows_per_band(); }
  int items_per_band() const { return plan_->items_per_band(); }
  int slots_per_band() const { return plan_->slots_per_band(); }
  int slot_of(int band, int item) const { return plan_->slot_of(band, item); }
  std::int64_t slot_voxels(int band, int slot) const { return plan_->slot_voxels(band, slot); }
  bool can_pool(kernels::Stride stride) const { return plan_->can_pool(stride); }
  std::size_t scratch_bytes() const { return plan_->scratch_bytes(); }
  std::size_t planned_bytes() const { return plan_->packed_bytes(); }
  std::size_t packed_bytes() const { return packed_->packed_bytes(); }
  void run(const kernels::ConvolutionArguments& arguments, int band, int item, void* scratch) const {
    packed_->run(arguments, band, item, scratch);
  }

 private:
  std::unique_ptr<kernels::ConvolutionPlan> plan_;
  std::unique_ptr<kernels::Convolution> packed_;
};

class PlannedTransposed {
 public:
  PlannedTransposed(std::unique_ptr<kernels::TransposedConvolutionPlan> plan, const kernels::SparseKernels& kernels)
      : plan_(std::move(plan)), packed_(plan_->pack(kernels)) {}

  std::string name() const { return plan_->name(); }
  int items_per_row() const { return plan_->items_per_row(); }
  std::size_t scratch_bytes() const { return plan_->scratch_bytes(); }
  std::size_t planned_bytes() const { return plan_->packed_bytes(); }
  std::size_t packed_bytes() const { return packed_->packed_bytes(); }
  void run(const kernels::Source& source, const kernels::Feature& output, int input_row, int item,
           void* scratch) const {
    packed_->run(source, output, input_row, item, scratch);
  }

 private:
  std::unique_ptr<kernels::TransposedConvolutionPlan> plan_;
  std::unique_ptr<kernels::TransposedConvolution> packed_;
};

// nullptr where there is no kernel of the name or it cannot compute the layer.
template <typename Planned, typename Problem, typename LayerPlan>
std::unique_ptr<Planned> planned(const std::vector<const kernels::KernelEntry<Problem, LayerPlan>*>& list,
                                 const std::string& name, const Problem& problem,
                                 const kernels::SparseKernels& kernels) {
  for (const kernels::KernelEntry<Problem, LayerPlan>* entry : list) {
    if (name != entry->name) continue;
    if (entry->accepts(problem).degree == kernels::Acceptance::Degree::never) return nullptr;
    auto plan = entry->make(problem);
    return plan ? std::make_unique<Planned>(std::move(plan), kernels) : nullptr;
  }
  return nullptr;
}

inline bool has_kernel(const std::string& name) {
  const std::vector<std::string> names = kernels::convolution_kernel_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

inline std::unique_ptr<PlannedConvolution> planned_convolution(const std::string& name,
                                                               const kernels::ConvolutionShape& shape,
                                                               const kernels::SparseKernels& kernels,
                                                               kernels::Element element, int threads = 1) {
  kernels::ConvolutionProblem problem;
  problem.shape = shape;
  problem.kernels = kernels.counts();
  problem.element = element;
  problem.threads = threads;
  return planned<PlannedConvolution>(kernels::convolution_kernels(), name, problem, kernels);
}

inline std::unique_ptr<PlannedTransposed> planned_transposed(const std::string& name,
                                                             const kernels::TransposedConvolutionShape& shape,
                                                             const kernels::SparseKernels& kernels,
                                                             kernels::Element element) {
  return planned<PlannedTransposed>(kernels::transposed_convolution_kernels(), name,
                                    kernels::TransposedConvolutionProblem{shape, kernels.counts(), element}, kernels);
}

inline std::unique_ptr<PlannedConvolution> make_sparse_winograd(const kernels::ConvolutionShape& shape,
                                                                const kernels::SparseKernels& kernels,
                                                                kernels::Element element) {
  return planned_convolution("winograd", shape, kernels, element);
}
inline std::unique_ptr<PlannedConvolution> make_sparse_direct(const kernels::ConvolutionShape& shape,
                                                              const kernels::SparseKernels& kernels,
                                                              kernels::Element element) {
  return planned_convolution("direct", shape, kernels, element);
}
inline std::unique_ptr<PlannedConvolution> make_reference_convolution(const kernels::ConvolutionShape& shape,
                                                                      const kernels::SparseKernels& kernels,
                                                                      kernels::Element element) {
  return planned_convolution("reference", shape, kernels, element);
}

}  // namespace e2enet::test
