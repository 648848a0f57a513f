#include "cli/cases.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "e2enet/dicom.h"
#include "e2enet/error.h"
#include "e2enet/files.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;

struct Listing {
  std::vector<std::string> images;  // of a .hdr/.img pair the header
  std::vector<std::string> left_out;
};

Listing list_folder(const std::string& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) throw Error(ErrorCode::cannot_read, folder + ": cannot be listed: " + error.message());
  Listing listing;
  std::set<std::string> data;  // .img files
  while (entries != fs::directory_iterator()) {
    const std::string path = entries->path().string();
    const std::string name = entries->path().filename().string();
    const ImageName parts = parse_image_name(name);
    const bool image = parts.kind != NameKind::none && !parts.stem.empty() && name[0] != '.';
    std::error_code ignored;
    if (entries->is_directory(ignored) || !image) {
      // Hidden files are meant not to be seen, but for those that pass for images (._a.nii of another system).
      if (name[0] != '.' || parts.kind != NameKind::none) listing.left_out.push_back(path);
    } else if (parts.kind == NameKind::data) {
      data.insert(path);
    } else {
      listing.images.push_back(path);
    }
    entries.increment(error);
    if (error) throw Error(ErrorCode::cannot_read, folder + ": cannot be listed: " + error.message());
  }
  for (const std::string& image : listing.images) {
    for (const std::string& partner : partner_candidates(image)) data.erase(partner);
  }
  listing.left_out.insert(listing.left_out.end(), data.begin(), data.end());
  std::sort(listing.images.begin(), listing.images.end());
  std::sort(listing.left_out.begin(), listing.left_out.end());
  return listing;
}

constexpr int kNoDigits = -1;

// The number in CASE_0001, or kNoDigits.
int channel_of(const std::string& stem) {
  if (stem.size() < 6 || stem[stem.size() - 5] != '_') return kNoDigits;
  int number = 0;
  for (auto digit = stem.end() - 4; digit != stem.end(); ++digit) {
    if (*digit < '0' || *digit > '9') return kNoDigits;
    number = 10 * number + (*digit - '0');
  }
  return number;
}

// Files that may be channels of one case, by number; a file without digits counts as 0.
using Numbered = std::vector<std::pair<int, std::string>>;

Case case_of_channels(const std::string& name, const Numbered& files, int channels) {
  Case one;
  one.name = name;
  for (const auto& [number, file] : files) {
    const int expected = static_cast<int>(one.channels.size());
    if (number < expected) {
      one.problem =
          "channel " + std::to_string(number) + ": expected one file, found " + one.channels.back() + " and " + file;
      return one;
    }
    if (number > expected) break;
    one.channels.push_back(file);
  }
  const std::size_t found = files.size();
  if (found != static_cast<std::size_t>(channels) || one.channels.size() != found) {
    std::string list;
    for (const auto& [number, file] : files) list += (list.empty() ? "" : ", ") + fs::path(file).filename().string();
    one.problem = "expected the model's " + std::to_string(channels) + (channels == 1 ? " channel" : " channels") +
                  ", one file each from _0000 on, found " + list;
  }
  return one;
}

}  // namespace

std::string image_stem(const std::string& path) {
  const ImageName name = parse_image_name(fs::path(path).filename().string());
  return name.kind == NameKind::none ? "" : name.stem;
}

FolderCases find_cases(const std::string& folder, int channels) {
  Listing listing = list_folder(folder);
  FolderCases found;
  found.left_out = std::move(listing.left_out);
  std::vector<std::string> left_out;
  for (const std::string& path : found.left_out) {
    const std::string name = fs::path(path).filename().string();
    std::error_code error;
    if (name[0] != '.' && fs::is_directory(path, error) && is_dicom(path)) {
      Case one;
      one.name = name;
      one.channels = {path};
      one.dicom = true;
      found.cases.push_back(std::move(one));
    } else {
      left_out.push_back(path);
    }
  }
  found.left_out = std::move(left_out);
  std::map<std::string, Numbered> by_name;  // without the digits
  std::map<std::string, Numbered> cases;
  for (const std::string& file : listing.images) {
    const std::string stem = image_stem(file);
    const int number = channel_of(stem);
    if (number == kNoDigits) {
      cases[stem].emplace_back(0, file);
    } else {
      by_name[stem.substr(0, stem.size() - 5)].emplace_back(number, file);
    }
  }
  for (auto& [name, files] : by_name) {
    std::sort(files.begin(), files.end());
    // With several channels a lone file is no case whatever it is called, so one that begins with 0000 is told what it
    // lacks.
    const bool begins = files.front().first == 0;
    const bool runs = files.back().first < channels;
    if (begins && (runs || channels > 1)) {
      Numbered& of_case = cases[name];
      of_case.insert(of_case.end(), files.begin(), files.end());
      continue;
    }
    if (begins && channels == 1) {
      found.remarks.push_back("warning: " + files.front().second + " and " + files.back().second +
                              " are taken for cases of their own, not for channels: the model has one channel");
    }
    for (const auto& [number, file] : files) cases[image_stem(file)].emplace_back(0, file);
  }
  for (auto& [name, files] : cases) {
    std::sort(files.begin(), files.end());
    found.cases.push_back(case_of_channels(name, files, channels));
  }
  std::stable_sort(found.cases.begin(), found.cases.end(),
                   [](const Case& a, const Case& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < found.cases.size(); ++i) {
    if (found.cases[i].name != found.cases[i - 1].name) continue;
    throw Error(ErrorCode::invalid_image, folder + ": expected one case '" + found.cases[i].name + "', found " +
                                              found.cases[i - 1].channels[0] + " and " + found.cases[i].channels[0]);
  }
  return found;
}

FolderCases find_label_files(const std::string& folder) {
  Listing listing = list_folder(folder);
  FolderCases found;
  found.left_out = std::move(listing.left_out);
  std::map<std::string, std::string> files;
  for (const std::string& file : listing.images) {
    const std::string stem = image_stem(file);
    const auto [other, added] = files.emplace(stem, file);
    if (!added) {
      throw Error(ErrorCode::invalid_image,
                  folder + ": expected one file for case '" + stem + "', found " + other->second + " and " + file);
    }
  }
  for (const auto& [stem, file] : files) found.cases.push_back({stem, {file}, ""});
  return found;
}

std::string left_out_line(const std::string& folder, const std::vector<std::string>& left_out) {
  if (left_out.empty()) return "";
  constexpr std::size_t kNamed = 5;
  std::string line = std::to_string(left_out.size()) + (left_out.size() == 1 ? " file" : " files") + " left out of " +
                     folder + ", not being images: ";
  for (std::size_t i = 0; i < left_out.size(); ++i) {
    if (i == kNamed) return line + ", ...";
    line += (i > 0 ? ", " : "") + fs::path(left_out[i]).filename().string();
  }
  return line;
}

}  // namespace e2enet::cli
