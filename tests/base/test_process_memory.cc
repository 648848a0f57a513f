// The limits of control groups, from files that say what the system's would.
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "base/process_memory.h"
#include "support/temporary_folder.h"

namespace {

using e2enet::left_in_control_groups;

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMebibyte = 1 << 20;

// A mount of control groups and a membership file.
class Groups {
 public:
  void member_of(const std::string& lines) { write("membership", lines); }
  void group2(const std::string& group, const std::string& limit, std::int64_t used, std::int64_t cached = 0) {
    write("mount" + group + "/memory.max", limit + "\n");
    write("mount" + group + "/memory.current", std::to_string(used) + "\n");
    write("mount" + group + "/memory.stat",
          "anon 5\nfile 9\ninactive_file " + std::to_string(cached) + "\nactive_file 77\n");
  }
  void group1(const std::string& group, const std::string& limit, std::int64_t used, std::int64_t cached = 0) {
    write("mount/memory" + group + "/memory.limit_in_bytes", limit + "\n");
    write("mount/memory" + group + "/memory.usage_in_bytes", std::to_string(used) + "\n");
    write("mount/memory" + group + "/memory.stat",
          "cache 5\ninactive_file 3\ntotal_inactive_file " + std::to_string(cached) + "\n");
  }
  std::int64_t left() const { return left_in_control_groups(folder_.file("membership"), folder_.file("mount")); }

 private:
  void write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_.file(name);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  e2enet::test::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("without control groups, or with a group without a limit, there is none") {
  Groups groups;
  CHECK(groups.left() == kNoLimit);
  groups.member_of("0::/user.slice\n");
  CHECK(groups.left() == kNoLimit);
  groups.group2("/user.slice", "max", 100 * kMebibyte);
  CHECK(groups.left() == kNoLimit);
  groups.member_of("nonsense\n::\n0::\n");
  CHECK(groups.left() == kNoLimit);
}

TEST_CASE("what a container's group leaves is its limit less what is used, and cached files can be given back") {
  Groups groups;
  groups.member_of("0::/\n");
  groups.group2("/", std::to_string(600 * kMebibyte), 250 * kMebibyte, 50 * kMebibyte);
  CHECK(groups.left() == 400 * kMebibyte);
  groups.group2("/", std::to_string(600 * kMebibyte), 700 * kMebibyte, 10 * kMebibyte);
  CHECK(groups.left() == 0);
}

TEST_CASE("the tightest of the groups above counts") {
  Groups groups;
  groups.member_of("0::/pod/container/work\n");
  groups.group2("/pod", std::to_string(900 * kMebibyte), 500 * kMebibyte);
  groups.group2("/pod/container", std::to_string(700 * kMebibyte), 400 * kMebibyte);
  groups.group2("/pod/container/work", "max", 100 * kMebibyte);
  CHECK(groups.left() == 300 * kMebibyte);
  groups.group2("/pod", std::to_string(900 * kMebibyte), 650 * kMebibyte);
  CHECK(groups.left() == 250 * kMebibyte);
}

TEST_CASE("version 1: the memory controller's group counts, and its number for no limit is none") {
  Groups groups;
  groups.member_of("7:cpu,cpuacct:/other\n5:memory:/docker/a1\n1:name=systemd:/docker/a1\n");
  groups.group1("/other", std::to_string(1 * kMebibyte), 0);
  groups.group1("/docker/a1", std::to_string(512 * kMebibyte), 112 * kMebibyte, 12 * kMebibyte);
  groups.group1("", "9223372036854771712", 5000 * kMebibyte);
  CHECK(groups.left() == 412 * kMebibyte);
  groups.group1("/docker/a1", "9223372036854771712", 112 * kMebibyte);
  CHECK(groups.left() == kNoLimit);
}

TEST_CASE("this process has memory, no more than its peak, and the system has some left") {
  // Before the peak: to ask for either takes memory too.
  const std::int64_t resident = e2enet::resident_bytes();
  CHECK(resident > 100000);
  CHECK(e2enet::peak_resident_bytes() >= resident);
  CHECK(e2enet::available_bytes() > 0);
}
