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
#include "model/model_file.h"
#include "plan/plan.h"
#include "support/paths.h"

namespace {

using namespace e2enet;

std::string line_of(const std::string& model, const plan::ConvolutionStep& step) {
  const model::LayerDescription& layer = step.layer->description;
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

TEST_CASE("every algorithm has a name of its own, and one that is none is an error") {
  std::map<std::string, int> names;
  for (const plan::Algorithm algorithm :
       {plan::Algorithm::reference, plan::Algorithm::direct, plan::Algorithm::winograd, plan::Algorithm::onednn}) {
    ++names[plan::algorithm_name(algorithm)];
  }
  CHECK(names.size() == 4);
  CHECK_THROWS_AS(plan::algorithm_name(plan::Algorithm(99)), Error);
}
