// What this process may use and what it holds.
#pragma once

#include <cstdint>

#include "e2enet/export.h"

namespace e2enet {

// The most threads that anybody may ask for.
constexpr int kMostThreads = 4096;

// As many threads as this process may use: the affinity mask counts, and so does a container's quota of processor time,
// read once.
E2ENET_API int available_threads();

// How many threads are started where a caller wants `wanted` (0: as many as there can be): never more than
// available_threads(), since threads that share a core only wait for each other. Throws Error (invalid_argument) for a
// number below 0 or above kMostThreads.
E2ENET_API int usable_threads(int wanted);

// Memory of this process that is in RAM now, and the most that ever was, in bytes. 0 where the system does not tell.
E2ENET_API std::int64_t resident_bytes();
E2ENET_API std::int64_t peak_resident_bytes();

// What can still be had without pushing others out: what the system calls available, and no more than the process's
// control group (a container's limit) leaves. INT64_MAX where the system does not tell.
E2ENET_API std::int64_t available_bytes();

}  // namespace e2enet
