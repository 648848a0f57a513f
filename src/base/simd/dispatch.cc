#include "base/simd/dispatch.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <mutex>

#include "base/simd/dispatch_table.h"
#include "e2enet/error.h"

namespace e2enet::simd {
namespace {

struct InstructionSet {
  std::int64_t target;  // one bit of Highway's mask
  const char* name;
};

// What processor and build offer. The lowest bit is the best.
const std::vector<InstructionSet>& offered() {
  static const std::vector<InstructionSet> all = [] {
    std::vector<InstructionSet> found;
    for (std::int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
      const std::int64_t target = rest & -rest;
      found.push_back({target, hwy::TargetName(target)});
    }
    return found;
  }();
  return all;
}

std::atomic<const char*>& chosen_name() {
  static std::atomic<const char*> name{nullptr};
  return name;
}

void choose(const std::string& name, const char* where) {
  std::string names;
  for (const InstructionSet& one : offered()) {
    if (name == one.name) {
      chosen_target().Update(one.target);
      chosen_name().store(one.name);
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(one.name);
  }
  throw Error(ErrorCode::invalid_argument,
              std::string(where) + ": expected one of " + names + ", found \"" + name + "\"");
}

}  // namespace

hwy::ChosenTarget& chosen_target() {
  static hwy::ChosenTarget target;
  return target;
}

std::vector<std::string> available_instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet& one : offered()) names.emplace_back(one.name);
  return names;
}

void prepare_dispatch() {
  static std::once_flag once;
  std::call_once(once, [] {
    const char* wanted = std::getenv("E2ENET_TARGET");
    choose(wanted != nullptr && *wanted != '\0' ? wanted : offered().front().name,
           "environment variable E2ENET_TARGET");
  });
}

void use_instruction_set(const std::string& name) {
  prepare_dispatch();
  choose(name, "instruction set");
}

const char* instruction_set() {
  prepare_dispatch();
  return chosen_name().load();
}

}  // namespace e2enet::simd
