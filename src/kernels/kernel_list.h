// Every algorithm that the library has, in one list a kind of layer. A new one is a folder beside this file, which
// defines its entry, and a line in kernel_list.cc.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/convolution.h"
#include "kernels/transposed_convolution.h"

namespace e2enet::kernels {

// Whether an algorithm computes a layer.
struct Acceptance {
  enum class Degree {
    never,       // it cannot
    when_asked,  // it can, and is not to be chosen by its cost
    yes,
  };
  Degree degree = Degree::yes;
  const char* why = "";  // where it is not `yes`
};

template <typename Problem, typename Plan>
struct KernelEntry {
  const char* name;  // that --algorithm takes
  Acceptance (*accepts)(const Problem& problem);
  // Estimated cycles of a core for what it accepts, by a formula, never by a stopwatch: the choice, and with it every
  // bit of the result, is the same on every run. Of the machine that machine.h describes; only ratios matter.
  double (*cost)(const Problem& problem);
  // Plans what it accepts, and packs nothing.
  std::unique_ptr<Plan> (*make)(const Problem& problem);
};

using ConvolutionEntry = KernelEntry<ConvolutionProblem, ConvolutionPlan>;
using TransposedConvolutionEntry = KernelEntry<TransposedConvolutionProblem, TransposedConvolutionPlan>;

// Of equal costs the first is taken.
const std::vector<const ConvolutionEntry*>& convolution_kernels();
const std::vector<const TransposedConvolutionEntry*>& transposed_convolution_kernels();

// What --algorithm takes.
std::vector<std::string> convolution_kernel_names();

}  // namespace e2enet::kernels
