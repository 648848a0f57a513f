#include "cli/leftovers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>

#include "e2enet/files.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;

constexpr char kEnding[] = ".partial";

// ".case.nii.gz.1234-0.partial" is of "case.nii.gz"; "" for what is no unfinished file.
std::string output_of(const std::string& name) {
  const std::size_t ending = sizeof kEnding - 1;
  if (name.size() < ending + 2 || name[0] != '.' || name.compare(name.size() - ending, ending, kEnding) != 0) return "";
  const std::string stem = name.substr(1, name.size() - ending - 1);
  const std::size_t dot = stem.rfind('.');
  return dot == std::string::npos ? "" : stem.substr(0, dot);
}

bool writer_has_ended(const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return false;
  const bool locked = flock(file, LOCK_EX | LOCK_NB) == 0;
  close(file);
  return locked;
}

}  // namespace

std::size_t remove_unfinished(const std::vector<std::string>& outputs) {
  std::map<std::string, std::set<std::string>> by_folder;
  for (const std::string& output : outputs) {
    for (const std::string& file : written_files(output)) {
      const fs::path target = file_behind(file);
      by_folder[target.parent_path().string()].insert(target.filename().string());
    }
  }
  std::size_t removed = 0;
  for (const auto& [folder, names] : by_folder) {
    std::error_code error;
    std::vector<std::string> found;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (name[0] == '.' && names.count(output_of(name)) > 0) found.push_back(entry->path().string());
    }
    for (const std::string& path : found) {
      if (writer_has_ended(path) && unlink(path.c_str()) == 0) ++removed;
    }
  }
  return removed;
}

}  // namespace e2enet::cli
