#include "cli/network_run.h"

#include <cmath>
#include <random>

#include "base/parallel.h"
#include "base/process_memory.h"
#include "cli/arguments.h"
#include "cli/text.h"

namespace e2enet::cli {

void add_precision_option(CLI::App& command, std::string& precision, const std::string& group,
                          AutomaticPrecision automatic) {
  const bool with_auto = automatic == AutomaticPrecision::yes;
  command
      .add_option(
          "--precision", precision,
          std::string("How features are stored: f32, or bf16 (half the memory, three decimal digits; arithmetic "
                      "stays float32; changes labels slightly)") +
              (with_auto ? "; auto: f32, but bf16 for an image that does not fit into the memory otherwise" : ""))
      ->type_name(with_auto ? "f32|bf16|auto" : "f32|bf16")
      ->capture_default_str()
      ->check([with_auto](const std::string& text) {
        if (text == "f32" || text == "bf16" || (with_auto && text == "auto")) return std::string();
        return std::string("expected f32") + (with_auto ? ", bf16 or auto" : " or bf16") + ", found '" + text + "'";
      })
      ->group(group);
}

const char* precision_name(kernels::Element precision) { return precision == kernels::Element::bf16 ? "bf16" : "f32"; }

constexpr plan::Algorithm kAlgorithms[] = {plan::Algorithm::winograd, plan::Algorithm::direct, plan::Algorithm::onednn,
                                           plan::Algorithm::reference};

void add_algorithm_option(CLI::App& command, std::string& algorithm, const std::string& group) {
  command
      .add_option("--algorithm", algorithm,
                  "Compute with this algorithm every layer that it can compute, to compare: auto lets the plan choose; "
                  "reference is slow and exact")
      ->type_name("auto|winograd|direct|onednn|reference")
      ->capture_default_str()
      ->check([](const std::string& text) {
        if (text == "auto") return std::string();
        for (const plan::Algorithm known : kAlgorithms) {
          if (text == plan::algorithm_name(known)) return std::string();
        }
        return "expected auto, winograd, direct, onednn or reference, found '" + text + "'";
      })
      ->group(group);
}

void add_patch_option(CLI::App& command, std::string& patch, const std::string& group) {
  command.add_option("--patch", patch, "Size of the patch in voxels; without it, the model's own")
      ->type_name("D,H,W")
      ->group(group);
}

void add_force_option(CLI::App& command, bool& force, const std::string& group) {
  command
      .add_flag("--force", force,
                "Take an image whose spacing is implausible: a field of view above 3 m, or below 5 mm with voxels "
                "below 0.1 mm, or a spacing more "
                "than 10 times the model's or less than a tenth of it")
      ->group(group);
}

plan::PlanOptions plan_options(const NetworkOptions& options, int threads) {
  plan::PlanOptions result;
  if (!options.patch.empty()) result.patch = parse_triple(options.patch, "--patch");
  result.threads = usable_threads(threads);
  for (const plan::Algorithm known : kAlgorithms) {
    if (options.algorithm == plan::algorithm_name(known)) result.forced_algorithm = known;
  }
  result.storage = options.precision == "bf16" ? kernels::Element::bf16 : kernels::Element::f32;
  return result;
}

model::Triple patch_of(const model::Network& network, const plan::PlanOptions& options) {
  return options.patch == model::Triple{0, 0, 0} ? network.architecture().patch_size : options.patch;
}

std::int64_t resident_without_kernels(const model::Network& network) {
  return resident_bytes() - network.kernel_bytes();
}

std::int64_t planned_process_bytes(std::int64_t loaded, const plan::Plan& plan, int input_channels) {
  const std::int64_t voxels = std::int64_t{plan.patch[0]} * plan.patch[1] * plan.patch[2];
  return loaded + static_cast<std::int64_t>(plan.peak_bytes()) + voxels * input_channels * 4;
}

kernels::PatchView view_of(const float* values, const model::Triple& patch) {
  kernels::PatchView view;
  view.data = values;
  view.stride[2] = 1;
  view.stride[1] = patch[2];
  view.stride[0] = std::ptrdiff_t{patch[1]} * patch[2];
  view.channel_stride = view.stride[0] * patch[0];
  for (std::size_t axis = 0; axis < 3; ++axis) view.end[axis] = patch[axis];
  return view;
}

std::vector<float> noise_patch(int channels, const model::Triple& patch) {
  std::vector<float> values(static_cast<std::size_t>(channels) * static_cast<std::size_t>(patch[0]) *
                            static_cast<std::size_t>(patch[1]) * static_cast<std::size_t>(patch[2]));
  std::mt19937 random(1);
  constexpr double kScale = 1.0 / 4294967296.0;
  for (float& value : values) {  // the sum of four uniform numbers is near enough to normal, and exact everywhere
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += random() * kScale;
    value = static_cast<float>((sum - 2.0) * std::sqrt(3.0));
  }
  return values;
}

std::string triple_text(const model::Triple& triple) { return shape_text({triple[0], triple[1], triple[2]}); }

}  // namespace e2enet::cli
