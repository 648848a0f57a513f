#include "cli/cases.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "e2enet/error.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Image files of a folder; of a .hdr/.img pair the header.
std::vector<std::string> image_files(const std::string& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) throw Error(ErrorCode::cannot_read, folder + ": cannot be listed: " + error.message());
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (name.empty() || name[0] == '.' || entry.is_directory(error)) continue;
    if (image_stem(name).empty() || ends_with(name, ".img") || ends_with(name, ".img.gz")) continue;
    files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string image_stem(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  for (const char* end : {".nii.gz", ".nii", ".hdr.gz", ".hdr", ".img.gz", ".img"}) {
    if (ends_with(name, end)) return name.substr(0, name.size() - std::string(end).size());
  }
  return "";
}

std::vector<Case> find_cases(const std::string& folder) {
  std::map<std::string, std::vector<std::pair<int, std::string>>> found;
  for (const std::string& file : image_files(folder)) {
    const std::string stem = image_stem(file);
    std::string name = stem;
    int channel = 0;
    if (stem.size() > 5 && stem[stem.size() - 5] == '_' &&
        std::all_of(stem.end() - 4, stem.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      name = stem.substr(0, stem.size() - 5);
      channel = std::stoi(stem.substr(stem.size() - 4));
    }
    found[name].emplace_back(channel, file);
  }
  std::vector<Case> cases;
  for (auto& [name, channels] : found) {
    Case one;
    one.name = name;
    std::sort(channels.begin(), channels.end());
    for (const auto& [channel, file] : channels) {
      const auto expected = static_cast<int>(one.channels.size());
      if (channel < expected) {
        one.problem =
            "channel " + std::to_string(channel) + ": expected one file, found " + one.channels.back() + " and " + file;
        break;
      }
      if (channel > expected) {
        one.problem = folder + ": expected a file for channel " + std::to_string(expected) + ", found channel " +
                      std::to_string(channel) + " next (" + file + ")";
        break;
      }
      one.channels.push_back(file);
    }
    cases.push_back(std::move(one));
  }
  return cases;
}

std::vector<Case> find_label_files(const std::string& folder) {
  std::vector<Case> cases;
  for (const std::string& file : image_files(folder)) {
    const std::string stem = image_stem(file);
    for (const Case& other : cases) {
      if (other.name == stem) {
        throw Error(ErrorCode::invalid_image, folder + ": expected one file for case '" + stem + "', found " +
                                                  other.channels[0] + " and " + file);
      }
    }
    cases.push_back({stem, {file}, ""});
  }
  return cases;
}

}  // namespace e2enet::cli
