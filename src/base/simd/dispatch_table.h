// Calls of functions that are compiled for several instruction sets, by a choice of the project's own.
//
// Highway's own choice (hwy::GetChosenTarget) is one for all of a process: whoever narrows it changes every other user
// of Highway in the same program. Its tables are used here, its choice is not.
#pragma once

#include <hwy/highway.h>
#include <hwy/targets.h>

#include <cstddef>

namespace e2enet::simd {

// What prepare_dispatch() and use_instruction_set() set.
hwy::ChosenTarget& chosen_target();

// A build for one instruction set has tables of one entry.
template <typename Function, std::size_t kEntries>
Function dispatched(Function const (&table)[kEntries]) {
  return table[kEntries == 1 ? 0 : chosen_target().GetIndex()];
}

}  // namespace e2enet::simd

// The function that HWY_EXPORT(NAME) has made a table of. To be called after prepare_dispatch().
#define E2ENET_DISPATCH(NAME) (::e2enet::simd::dispatched(HWY_DISPATCH_TABLE(NAME)))
