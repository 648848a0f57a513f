#include "cli/network_run.h"

#include <algorithm>

#include "cli/arguments.h"
#include "cli/options.h"
#include "cli/text.h"
#include "e2enet/json.h"

namespace e2enet::cli {

void add_precision_option(Command& command, std::string& precision, const std::string& group,
                          AutomaticPrecision automatic) {
  const bool with_auto = automatic == AutomaticPrecision::yes;
  command
      .add_option(
          "--precision", precision,
          std::string("How features are stored: f32, or bf16 (half the memory, three decimal digits; arithmetic "
                      "stays float32; changes labels slightly)") +
              (with_auto ? "; auto: f32, but bf16 for an image that does not fit into the memory otherwise" : ""))
      .type_name(with_auto ? "f32|bf16|auto" : "f32|bf16")
      .show_default()
      .check([with_auto](const std::string& text) {
        if (text == "f32" || text == "bf16" || (with_auto && text == "auto")) return std::string();
        return std::string("expected f32") + (with_auto ? ", bf16 or auto" : " or bf16") + ", found '" + text + "'";
      })
      .group(group);
}

Precision parse_precision(const std::string& text) {
  for (const Precision known : {Precision::f32, Precision::bf16, Precision::automatic}) {
    if (text == precision_name(known)) return known;
  }
  throw UsageError("--precision: expected f32, bf16 or auto, found '" + text + "'");
}

void add_algorithm_option(Command& command, std::string& algorithm, const std::string& group) {
  std::string choices = "auto", list = "auto";
  const std::vector<std::string> known = algorithms();
  for (const std::string& name : known) {
    choices += "|" + name;
    list += (name == known.back() ? " or " : ", ") + name;
  }
  command
      .add_option("--algorithm", algorithm,
                  "Compute with this algorithm every layer that it can compute, to compare: auto lets the plan choose; "
                  "reference is slow and exact")
      .type_name(choices)
      .show_default()
      .check([known, list](const std::string& text) {
        if (text == "auto" || std::count(known.begin(), known.end(), text) > 0) return std::string();
        return "expected " + list + ", found '" + text + "'";
      })
      .group(group);
}

void add_patch_option(Command& command, std::string& patch, const std::string& group) {
  command.add_option("--patch", patch, "Size of the patch in voxels; without it, the model's own")
      .type_name("D,H,W")
      .group(group);
}

void add_force_option(Command& command, bool& force, const std::string& group) {
  command
      .add_flag("--force", force,
                "Take an image whose spacing is implausible: a field of view above 3 m, or below 5 mm with voxels "
                "below 0.1 mm, or a spacing more "
                "than 10 times the model's or less than a tenth of it")
      .group(group);
}

PatchOptions patch_options(const NetworkOptions& options, int threads) {
  PatchOptions result;
  if (!options.patch.empty()) result.patch = parse_triple(options.patch, "--patch");
  result.threads = threads;
  result.precision = parse_precision(options.precision);
  result.algorithm = options.algorithm;
  return result;
}

std::string triple_text(const std::array<int, 3>& triple) { return shape_text({triple[0], triple[1], triple[2]}); }

}  // namespace e2enet::cli
