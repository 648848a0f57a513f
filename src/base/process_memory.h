// What this process holds and what the machine has left.
#pragma once

#include <cstdint>
#include <string>

namespace e2enet {

// Memory of this process that is in RAM now, and the most that ever was. 0 where the system does not tell.
std::int64_t resident_bytes();
std::int64_t peak_resident_bytes();

// What can still be had without pushing others out: what the system calls available, and no more than the process's
// control group (a container's limit) leaves. INT64_MAX where the system does not tell.
std::int64_t available_bytes();

// Heap memory that is in no use goes back to the system: what was freed until now, and from now on every block of a
// megabyte or more as soon as it is freed. Otherwise the C library may keep it for later, and the process seems larger
// than it is. Nothing happens where the C library has no such thing.
void return_freed_memory();

// The part of that which control groups decide: the tightest limit, less what is used, of the groups that the file
// `membership` names (/proc/self/cgroup, version 1 or 2) and of all groups above them, whose folders are below `mount`
// (/sys/fs/cgroup). Pages of files that a group caches do not count as used. INT64_MAX where there is no limit.
std::int64_t left_in_control_groups(const std::string& membership, const std::string& mount);

}  // namespace e2enet
