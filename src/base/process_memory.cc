#include "base/process_memory.h"

#include <sys/resource.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>

#include "base/control_groups.h"
#ifdef __EMSCRIPTEN__
#include "base/platform/web_memory.h"
#endif

namespace e2enet {
namespace {

constexpr std::int64_t kUnknown = std::numeric_limits<std::int64_t>::max();

// "Name:   123 kB" of a file in /proc, in bytes; -1 where there is no such line.
std::int64_t kibibytes_field(const char* path, const char* name) {
  std::FILE* file = std::fopen(path, "r");
  if (!file) return -1;
  char line[256];
  std::int64_t bytes = -1;
  const std::size_t length = std::strlen(name);
  while (bytes < 0 && std::fgets(line, sizeof line, file)) {
    std::int64_t value = 0;
    if (std::strncmp(line, name, length) == 0 && std::sscanf(line + length, " %" SCNd64, &value) == 1)
      bytes = value * 1024;
  }
  std::fclose(file);
  return bytes;
}

// A file that holds one number; "max" and anything else that is none count as unlimited.
std::int64_t number_in(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "r");
  if (!file) return kUnknown;
  std::int64_t value = 0;
  const bool read = std::fscanf(file, "%" SCNd64, &value) == 1;
  std::fclose(file);
  return read && value >= 0 ? value : kUnknown;
}

// What the control group at `folder` leaves: pages of files that it caches can be given back.
std::int64_t left_in_group(const std::string& folder, const char* limit_name, const char* usage_name,
                           const char* cache_name) {
  const std::int64_t limit = number_in(folder + limit_name);
  const std::int64_t usage = number_in(folder + usage_name);
  if (limit == kUnknown || usage == kUnknown || limit > (std::int64_t{1} << 60)) return kUnknown;
  std::int64_t cached = 0;
  if (std::FILE* file = std::fopen((folder + "memory.stat").c_str(), "r")) {
    char key[128];
    std::int64_t value = 0;
    while (std::fscanf(file, "%127s %" SCNd64, key, &value) == 2) {
      if (std::strcmp(key, cache_name) == 0) cached = value;
    }
    std::fclose(file);
  }
  return std::max<std::int64_t>(0, limit - usage + cached);
}

}  // namespace

std::int64_t left_in_control_groups(const std::string& membership, const std::string& mount) {
  std::int64_t left = kUnknown;
  for_each_control_group(membership, mount, "memory", [&](const std::string& folder, int version) {
    left = std::min(left, version == 2 ? left_in_group(folder, "memory.max", "memory.current", "inactive_file")
                                       : left_in_group(folder, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                                       "total_inactive_file"));
  });
  return left;
}

#ifdef __EMSCRIPTEN__
// The memory of WebAssembly grows and never shrinks, so what was freed is not given back, but can be had again: what
// counts as held is what is in use.
std::int64_t resident_bytes() { return platform::web_bytes_in_use(); }
std::int64_t peak_resident_bytes() { return platform::web_bytes_of_memory(); }
std::int64_t available_bytes() { return platform::web_bytes_at_most() - platform::web_bytes_in_use(); }
void return_freed_memory() {}
#else
std::int64_t resident_bytes() { return std::max<std::int64_t>(0, kibibytes_field("/proc/self/status", "VmRSS:")); }

std::int64_t peak_resident_bytes() {
  const std::int64_t peak = kibibytes_field("/proc/self/status", "VmHWM:");
  if (peak >= 0) return peak;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

void return_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  malloc_trim(0);
#endif
}

std::int64_t available_bytes() {
  const std::int64_t available = kibibytes_field("/proc/meminfo", "MemAvailable:");
  return std::min(available >= 0 ? available : kUnknown, left_in_control_groups("/proc/self/cgroup", "/sys/fs/cgroup"));
}
#endif

}  // namespace e2enet
