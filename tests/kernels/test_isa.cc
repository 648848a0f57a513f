// What the kernels take of each instruction set's properties, and that choosing one is nobody else's business.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "base/simd/dispatch.h"
#include "support/paths.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/test_isa.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once for each target.
#include <hwy/highway.h>

#include "base/simd/dispatch_table.h"
#include "kernels/isa-inl.h"

#ifndef E2ENET_TESTS_TEST_ISA_ONCE
#define E2ENET_TESTS_TEST_ISA_ONCE
namespace e2enet::kernels {
struct IsaProperties {
  const char* name;
  int lanes;
  int registers;
  bool masks;
  bool float_masks;
  bool one_lane;
  bool streams;
};
}  // namespace e2enet::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
IsaProperties isa_properties() {
  const hwy::HWY_NAMESPACE::ScalableTag<float> d;
  return {hwy::TargetName(HWY_TARGET),
          static_cast<int>(hwy::HWY_NAMESPACE::Lanes(d)),
          kRegisters,
          E2ENET_MASKS,
          E2ENET_FLOAT_MASKS,
          E2ENET_ONE_LANE,
          E2ENET_STREAMS};
}
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace e2enet::kernels {
namespace {
using simd::available_instruction_sets;
using simd::instruction_set;
using simd::use_instruction_set;
HWY_EXPORT(isa_properties);
}  // namespace

TEST_CASE("properties of an instruction set follow from its vectors, whatever its name") {
  const std::vector<std::string> names = available_instruction_sets();
  for (const std::string& name : names) {
    CAPTURE(name);
    use_instruction_set(name);
    const IsaProperties found = E2ENET_DISPATCH(isa_properties)();
    CHECK(found.name == name);  // the table's entry is the one that was chosen
    CHECK(instruction_set() == name);
    CHECK(found.one_lane == (found.lanes == 1));
    if (found.lanes == 1) {
      CHECK(found.registers == 16);
      CHECK(!found.streams);
      continue;
    }
#if HWY_ARCH_X86
    CHECK(found.registers == (found.lanes >= 16 ? 32 : 16));
    CHECK(found.masks == (found.lanes >= 16));
    CHECK(found.float_masks == (found.lanes >= 8));
    CHECK(found.streams);
#elif HWY_ARCH_ARM_A64
    CHECK(found.registers == 32);
    CHECK(!found.masks);
#endif
  }
  use_instruction_set(names.front());
}

TEST_CASE("no code compares names of Highway's targets") {
  const std::regex comparison("HWY_TARGET *[=!<>]=?|HWY_(AVX|SSE|SSSE|NEON|SVE|SCALAR|EMU|ARCH_)");
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(test::source_path("src"))) {
    // The one place that answers for all.
    if (entry.path().extension() != ".cc" && entry.path().extension() != ".h") continue;
    if (entry.path().filename() == "isa-inl.h") continue;
    CAPTURE(entry.path().string());
    std::ifstream source(entry.path());
    std::stringstream text;
    text << source.rdbuf();
    REQUIRE(text.str().size() > 10);
    CHECK(!std::regex_search(text.str(), comparison));
    ++files;
  }
  CHECK(files > 150);
}

TEST_CASE("what only some compilers have is in base/platform alone") {
  const std::regex extension("__builtin_|__attribute__|vector_size|\\basm\\b");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(test::source_path("src"))) {
    if (!entry.is_regular_file() || entry.path().parent_path().filename() == "platform") continue;
    CAPTURE(entry.path().string());
    std::ifstream source(entry.path());
    std::stringstream text;
    text << source.rdbuf();
    CHECK(!std::regex_search(text.str(), extension));
  }
}

TEST_CASE("another user of Highway in the program keeps its choice") {
  const std::int64_t supported = hwy::SupportedTargets();
  hwy::GetChosenTarget().Update(supported);
  const auto best = hwy::GetChosenTarget().GetIndex();
  const std::string others = HWY_DYNAMIC_DISPATCH(isa_properties)().name;
  const std::vector<std::string> names = available_instruction_sets();
  for (const std::string& name : names) {
    CAPTURE(name);
    use_instruction_set(name);
    CHECK(hwy::SupportedTargets() == supported);
    CHECK(hwy::GetChosenTarget().GetIndex() == best);
    CHECK(HWY_DYNAMIC_DISPATCH(isa_properties)().name == others);
  }
  use_instruction_set(names.front());
  // And the other way round: what another narrows for itself does not reach the kernels.
  hwy::GetChosenTarget().Update(supported & -supported);
  const std::int64_t worst = std::int64_t{1}
                             << (63 - __builtin_clzll(static_cast<unsigned long long>(supported & HWY_TARGETS)));
  hwy::GetChosenTarget().Update(worst);
  CHECK(E2ENET_DISPATCH(isa_properties)().name == names.front());
  hwy::GetChosenTarget().Update(supported);
}

}  // namespace e2enet::kernels
#endif  // HWY_ONCE
