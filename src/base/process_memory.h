// What this process holds and what the machine has left, beside what e2enet/machine.h tells.
#pragma once

#include <cstdint>
#include <string>

#include "e2enet/machine.h"

namespace e2enet {

// Heap memory that is in no use goes back to the system: what was freed until now, and from now on every block of a
// megabyte or more as soon as it is freed. Otherwise the C library may keep it for later, and the process seems larger
// than it is. Nothing happens where the C library has no such thing.
void return_freed_memory();

// The part of available_bytes() that control groups decide: the tightest limit, less what is used, of the groups that
// the file `membership` names (/proc/self/cgroup, version 1 or 2) and of all groups above them, whose folders are below
// `mount`
// (/sys/fs/cgroup). Pages of files that a group caches do not count as used. INT64_MAX where there is no limit.
std::int64_t left_in_control_groups(const std::string& membership, const std::string& mount);

}  // namespace e2enet
