// Which kernel computes which layer of the shipped models, against a table: a change of the cost model, or a layer that
// falls to another kernel by accident, is seen here.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "e2enet/error.h"
#include "kernels/kernel_list.h"
#include "model/model_file.h"
#include "plan/packed_network.h"
#include "plan/plan.h"
#include "support/paths.h"

namespace {

using namespace e2enet;

std::string line_of(const std::string& model, const plan::ConvolutionStep& step) {
  const model::LayerDescription& layer = step.description;
  std::ostringstream line;
  // Without the element and the instruction set at the name's end: the choice is the same on each.
  const std::string name = step.kernel->name();
  line << model << ' ' << layer.name << ' ' << name.substr(0, name.find("_f32"));
  return line.str();
}

}  // namespace

TEST_CASE("each layer of each shipped model has the kernel of the table") {
  std::vector<std::string> found;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(test::source_path("models"))) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  REQUIRE(!files.empty());
  for (const std::filesystem::path& file : files) {
    const auto network = model::load_model_file(file.string());
    const plan::Plan plan(*network, {});
    for (const plan::Step& step : plan.steps) {
      if (step.convolution) found.push_back(line_of(file.stem().string(), *step.convolution));
    }
  }
  std::vector<std::string> expected;
  std::ifstream table(test::source_path("tests/data/kernel_choice.txt"));
  REQUIRE(table);
  for (std::string line; std::getline(table, line);) {
    if (!line.empty() && line[0] != '#') expected.push_back(line);
  }
  for (std::size_t i = 0; i < std::max(found.size(), expected.size()); ++i) {
    const std::string is = i < found.size() ? found[i] : "(no more layers)";
    const std::string should_be = i < expected.size() ? expected[i] : "(no more lines)";
    CHECK(is == should_be);
  }
}

TEST_CASE("the choice is the same for every number of threads") {
  const auto network = model::load_model_file(test::source_path("models/hippocampus_small_density20.safetensors"));
  const auto names = [&](int threads) {
    plan::PlanOptions options;
    options.threads = threads;
    const plan::Plan plan(*network, options);
    std::vector<std::string> lines;
    for (const plan::Step& step : plan.steps) {
      if (step.convolution) lines.push_back(line_of("", *step.convolution));
    }
    return lines;
  };
  CHECK(names(1) == names(2));
  CHECK(names(1) == names(7));
}

TEST_CASE("every kernel has a name of its own, and one that is none is an error") {
  std::map<std::string, int> names;
  for (const std::string& name : kernels::convolution_kernel_names()) ++names[name];
  CHECK(names.size() == kernels::convolution_kernels().size());
  CHECK(names.count("winograd") + names.count("direct") + names.count("reference") == 3);
  const auto network = model::load_model_file(test::source_path("models/hippocampus_small_density20.safetensors"));
  plan::PlanOptions options;
  options.forced_algorithm = "fast";
  CHECK_THROWS_WITH_AS(plan::Plan(*network, options), doctest::Contains("algorithm: expected auto, winograd, direct"),
                       Error);
}

TEST_CASE("a plan says how much packing takes, to the byte, for every kernel") {
  const auto network = model::load_model_file(test::source_path("models/hippocampus_small_density20.safetensors"));
  std::vector<std::string> names = kernels::convolution_kernel_names();
  names.push_back("");
  for (const std::string& name : names) {
    for (const kernels::Element storage : {kernels::Element::f32, kernels::Element::bf16}) {
      CAPTURE(name);
      plan::PlanOptions options;
      options.forced_algorithm = name;
      options.storage = storage;
      const plan::Plan plan(*network, options);
      const plan::PackedNetwork packed(plan, *network);
      CHECK(packed.packed_bytes() == plan.packed_bytes);
      CHECK(plan.packed_bytes > 0);
    }
  }
}

TEST_CASE("a plan needs no weight: that of a network without kernels is the same") {
  const auto network = model::load_model_file(test::source_path("models/hippocampus_small_density20.safetensors"));
  const auto bare = network->without_kernels();
  const plan::Plan full(*network, {});
  const plan::Plan pure(*bare, {});
  CHECK(pure.peak_bytes() == full.peak_bytes());
  CHECK(pure.buffer_offsets == full.buffer_offsets);
  REQUIRE(pure.steps.size() == full.steps.size());
  for (std::size_t i = 0; i < full.steps.size(); ++i) {
    if (!full.steps[i].convolution) continue;
    CHECK(pure.steps[i].convolution->summary.kernel == full.steps[i].convolution->summary.kernel);
  }
}

TEST_CASE("each row of an upward flow is made once, and before the bands that read it") {
  const auto network = model::load_model_file(test::source_path("models/hippocampus_small_density20.safetensors"));
  for (const int items_at_once : {1, 8, 1000}) {
    plan::PlanOptions options;
    options.in_place_bytes = options.ring_bytes = 0;
    options.items_at_once = items_at_once;
    const plan::Plan plan(*network, options);
    int upward_flows = 0;
    for (const plan::Step& step : plan.steps) {
      if (!step.convolution) continue;
      const plan::ConvolutionStep& convolution = *step.convolution;
      CAPTURE(convolution.summary.name);
      std::vector<int> bands(std::size_t(convolution.kernel->bands()), 0);
      const int upward_rows = convolution.upward ? convolution.upward_input.feature.extent.height : 0;
      std::vector<int> made(std::size_t(upward_rows), 0);
      upward_flows += upward_rows > 0;
      for (const plan::BandGroup& group : convolution.schedule) {
        for (int row = group.upward.begin; row < group.upward.end; ++row) ++made[std::size_t(row)];
        for (int band = group.first; band < group.first + group.count; ++band) ++bands[std::size_t(band)];
        if (upward_rows == 0) continue;
        const kernels::Extent& extent = convolution.output.extent;
        const int stride = extent.height / upward_rows, rows = convolution.kernel->rows_per_band();
        const int first = std::max(group.first * rows - 1, 0);
        const int last = std::min((group.first + group.count) * rows, extent.height - 1);
        for (int row = first; row <= last; ++row) CHECK(made[std::size_t(row / stride)] == 1);
      }
      CHECK(std::count(bands.begin(), bands.end(), 1) == std::ptrdiff_t(bands.size()));
      CHECK(std::count(made.begin(), made.end(), 1) == upward_rows);
      CHECK(std::count_if(made.begin(), made.end(), [](int count) { return count > 1; }) == 0);
    }
    CHECK(upward_flows > 0);
  }
}
