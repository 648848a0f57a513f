#include "plan/kernel_choice.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "e2enet/error.h"

namespace e2enet::plan {
namespace {

using kernels::Acceptance;

template <typename Problem, typename LayerPlan>
Choice<LayerPlan> choose_from(const std::vector<const kernels::KernelEntry<Problem, LayerPlan>*>& list,
                              const Problem& problem, const std::string& asked_for) {
  using Entry = kernels::KernelEntry<Problem, LayerPlan>;
  struct Candidate {
    const Entry* entry;
    double cycles;
  };
  std::vector<Candidate> candidates;
  const char* why_not = nullptr;  // of the first kernel that is out
  for (const Entry* entry : list) {
    const Acceptance acceptance = entry->accepts(problem);
    if (acceptance.degree != Acceptance::Degree::never && asked_for == entry->name) {
      // A library's kernel may turn out not to exist for the shape.
      if (auto kernel = entry->make(problem)) return {std::move(kernel), "asked for"};
    }
    if (acceptance.degree == Acceptance::Degree::yes) {
      candidates.push_back({entry, entry->cost(problem)});
    } else if (why_not == nullptr) {
      why_not = acceptance.why;
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.cycles < b.cycles; });
  if (candidates.empty()) throw Error(ErrorCode::internal, "no kernel computes this layer");
  Choice<LayerPlan> choice;
  choice.kernel = candidates.front().entry->make(problem);
  if (!choice.kernel) throw Error(ErrorCode::internal, "a kernel refuses a layer that it has accepted");
  if (candidates.size() > 1) {
    char text[96];
    std::snprintf(text, sizeof text, "estimated %.1f times faster than %s", candidates[1].cycles / candidates[0].cycles,
                  candidates[1].entry->name);
    choice.reason = text;
  } else if (why_not != nullptr) {
    choice.reason = why_not;
  }
  return choice;
}

}  // namespace

Choice<kernels::ConvolutionPlan> choose(const kernels::ConvolutionProblem& problem, const std::string& asked_for) {
  return choose_from(kernels::convolution_kernels(), problem, asked_for);
}

Choice<kernels::TransposedConvolutionPlan> choose(const kernels::TransposedConvolutionProblem& problem,
                                                  const std::string& asked_for) {
  return choose_from(kernels::transposed_convolution_kernels(), problem, asked_for);
}

void require_kernel_name(const std::string& name) {
  const std::vector<std::string> names = kernels::convolution_kernel_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  std::string known = "auto";
  for (std::size_t i = 0; i < names.size(); ++i) known += (i + 1 < names.size() ? ", " : " or ") + names[i];
  throw Error(ErrorCode::invalid_argument, "algorithm: expected " + known + ", found '" + name + "'");
}

}  // namespace e2enet::plan
