// Quotas of processor time, from files that say what the system's would.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "base/control_groups.h"
#include "base/parallel.h"
#include "support/temporary_folder.h"

namespace {

constexpr double kNone = std::numeric_limits<double>::infinity();

class Groups {
 public:
  void write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_.file(name);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  double processors() const {
    return e2enet::processors_in_control_groups(folder_.file("membership"), folder_.file("mount"));
  }

 private:
  e2enet::test::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("without groups, files or a quota there is no limit") {
  Groups groups;
  CHECK(groups.processors() == kNone);
  groups.write("membership", "nonsense\n::\n0::\n0::/a\n1:cpuset,cpuacct:/a\n");
  CHECK(groups.processors() == kNone);
  groups.write("mount/a/cpu.max", "max 100000\n");
  CHECK(groups.processors() == kNone);
  for (const char* wrong : {"", "many few\n", "100000\n", "100000 0\n", "-5 100000\n"}) {
    groups.write("mount/a/cpu.max", wrong);
    CHECK(groups.processors() == kNone);
  }
  // Groups of other controllers do not count.
  groups.write("mount/cpuset/a/cpu.cfs_quota_us", "100\n");
  groups.write("mount/cpuset/a/cpu.cfs_period_us", "100\n");
  CHECK(groups.processors() == kNone);
}

TEST_CASE("version 2: the tightest quota of a group and those above it") {
  Groups groups;
  groups.write("membership", "0::/pod/container\n");
  groups.write("mount/pod/container/cpu.max", "350000 100000\n");
  CHECK(groups.processors() == 3.5);
  groups.write("mount/pod/cpu.max", "100000 50000\n");
  CHECK(groups.processors() == 2);
  groups.write("mount/cpu.max", "25000 100000\n");  // the mount of a container begins at its own group
  CHECK(groups.processors() == 0.25);
}

TEST_CASE("version 1: quota by period, wherever the controller is mounted") {
  for (const std::string folder : {"cpu", "cpu,cpuacct"}) {
    CAPTURE(folder);
    Groups groups;
    groups.write("membership", "5:memory:/a\n4:cpu,cpuacct:/a/b\n0::/\n");
    groups.write("mount/" + folder + "/a/b/cpu.cfs_quota_us", "-1\n");
    groups.write("mount/" + folder + "/a/b/cpu.cfs_period_us", "100000\n");
    CHECK(groups.processors() == kNone);
    groups.write("mount/" + folder + "/a/cpu.cfs_quota_us", "150000\n");
    groups.write("mount/" + folder + "/a/cpu.cfs_period_us", "100000\n");
    CHECK(groups.processors() == 1.5);
  }
}

TEST_CASE("threads: as many as processors, or as their quota pays for, a part of one counted as one") {
  using e2enet::threads_within;
  CHECK(threads_within(8, kNone) == 8);
  CHECK(threads_within(8, 8) == 8);
  CHECK(threads_within(8, 64) == 8);
  CHECK(threads_within(8, 2) == 2);
  CHECK(threads_within(8, 1.5) == 2);
  CHECK(threads_within(8, 0.1) == 1);
  CHECK(threads_within(0, kNone) == 1);
}
