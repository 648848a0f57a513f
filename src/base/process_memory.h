// What this process holds and what the machine has left.
#pragma once

#include <cstdint>

namespace e2enet {

// Memory of this process that is in RAM now, and the most that ever was. 0 where the system does not tell.
std::int64_t resident_bytes();
std::int64_t peak_resident_bytes();

// What can still be had without pushing others out: what the system calls available, and no more than the process's
// control group (a container's limit) leaves. INT64_MAX where the system does not tell.
std::int64_t available_bytes();

}  // namespace e2enet
