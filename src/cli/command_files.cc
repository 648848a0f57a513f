#include "cli/command_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "cli/arguments.h"
#include "e2enet/error.h"
#include "e2enet/files.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;

// A file that exists is known by its number, so that hard links are one; and by its name, under which it may be made.
std::vector<std::string> identities(const std::string& path) {
  std::vector<std::string> result = {"name " + file_behind(path)};
  struct stat status;
  if (stat(path.c_str(), &status) == 0) {
    result.push_back("number " + std::to_string(status.st_dev) + " " + std::to_string(status.st_ino));
  }
  return result;
}

// "a.hdr (with a.img)": the name that was given, and the file of it that is meant where that is another.
std::string shown(const std::string& named, const std::string& actual) {
  return named == actual ? named : named + " (with " + actual + ")";
}

}  // namespace

void CommandFiles::reads(const std::string& role, const std::string& path) {
  add({role, path, path, false});
  for (const std::string& partner : partner_candidates(path)) {
    std::error_code error;
    if (fs::exists(partner, error)) add({role, path, partner, false});
  }
}

void CommandFiles::writes(const std::string& role, const std::string& path) {
  if (path.empty()) return;
  for (const std::string& file : written_files(path)) add({role, path, file, true});
}

void write_text(const std::string& path, const std::string& text) { write_whole_file(path, text.data(), text.size()); }

void CommandFiles::add(Entry entry) {
  const std::vector<std::string> names = identities(entry.actual);
  for (const std::string& name : names) {
    const auto found = known_.find(name);
    if (found == known_.end()) continue;
    const Entry& other = entries_[found->second];
    if (!entry.output && !other.output) continue;
    const Entry& output = entry.output ? entry : other;
    const Entry& kept = entry.output ? other : entry;
    throw UsageError(output.role + ": expected another file than that of " + kept.role + ", found " +
                     shown(output.named, output.actual) + " and " + shown(kept.named, kept.actual) +
                     ", which are one file");
  }
  for (const std::string& name : names) known_.emplace(name, entries_.size());
  entries_.push_back(std::move(entry));
}

void CommandFiles::require_writable() const {
  std::set<fs::path> checked;
  for (const Entry& entry : entries_) {
    if (!entry.output) continue;
    const auto fail = [&](const std::string& what) {
      throw Error(ErrorCode::cannot_write, entry.role + ": " + entry.actual + ": " + what);
    };
    struct stat status;
    if (stat(entry.actual.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
      fail(std::string("expected the name of a file, found a ") +
           (S_ISDIR(status.st_mode) ? "folder" : "device or pipe"));
    }
    const fs::path folder = fs::path(file_behind(entry.actual)).parent_path();
    if (!checked.insert(folder).second) continue;
    std::error_code error;
    if (!fs::is_directory(folder, error)) fail("the folder " + folder.string() + " does not exist");
    if (access(folder.c_str(), W_OK | X_OK) != 0) fail("the folder " + folder.string() + " cannot be written to");
  }
}

}  // namespace e2enet::cli
