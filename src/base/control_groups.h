// What control groups (a container's limits) allow this process.
#pragma once

#include <functional>
#include <string>

namespace e2enet {

// Calls look(folder, version) for the groups of `controller` ("cpu", "memory") that the file `membership` names
// (/proc/self/cgroup, version 1 or 2) and for all groups above them. Their folders, which end in '/', are below `mount`
// (/sys/fs/cgroup); some may not exist.
void for_each_control_group(const std::string& membership, const std::string& mount, const std::string& controller,
                            const std::function<void(const std::string& folder, int version)>& look);

// The processors whose time these groups may use, the tightest quota of all (cpu.max, or cpu.cfs_quota_us by
// cpu.cfs_period_us): 1.5 is one and a half. Infinity where there is no quota.
double processors_in_control_groups(const std::string& membership, const std::string& mount);

}  // namespace e2enet
