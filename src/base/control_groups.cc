#include "base/control_groups.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

namespace e2enet {
namespace {

bool names(const std::string& controllers, const std::string& controller) {
  std::istringstream list(controllers);
  for (std::string one; std::getline(list, one, ',');) {
    if (one == controller) return true;
  }
  return false;
}

void look_upwards(const std::string& root, std::string path, const std::function<void(const std::string&, int)>& look,
                  int version) {
  while (true) {
    look(root + path + (path.empty() || path.back() != '/' ? "/" : ""), version);
    const std::size_t slash = path.rfind('/');
    if (path == "/" || slash == std::string::npos) return;
    path = path.substr(0, slash);
  }
}

}  // namespace

void for_each_control_group(const std::string& membership, const std::string& mount, const std::string& controller,
                            const std::function<void(const std::string& folder, int version)>& look) {
  std::ifstream file(membership);
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      // Beside groups of version 1, those of version 2 have a folder of their own.
      for (const std::string& root : {mount, mount + "/unified"}) look_upwards(root, path, look, 2);
    } else if (names(controllers, controller)) {
      // Controllers that are mounted together have one folder, and a link for each where somebody made it.
      for (const std::string& folder : std::set<std::string>{controller, controllers}) {
        look_upwards(mount + "/" + folder, path, look, 1);
      }
    }
  }
}

double processors_in_control_groups(const std::string& membership, const std::string& mount) {
  double least = std::numeric_limits<double>::infinity();
  for_each_control_group(membership, mount, "cpu", [&](const std::string& folder, int version) {
    double quota = 0, period = 0;
    if (version == 2) {
      std::ifstream both(folder + "cpu.max");
      if (!(both >> quota >> period)) return;  // no such file, or "max"
    } else {
      std::ifstream quota_file(folder + "cpu.cfs_quota_us"), period_file(folder + "cpu.cfs_period_us");
      if (!(quota_file >> quota) || !(period_file >> period)) return;
    }
    if (quota > 0 && period > 0) least = std::min(least, quota / period);  // -1: no quota
  });
  return least;
}

}  // namespace e2enet
