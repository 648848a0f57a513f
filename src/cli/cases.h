// Cases in folders: image files with nnU-Net's names, label files with theirs.
#pragma once

#include <string>
#include <vector>

namespace e2enet::cli {

// The file name without folder and without .nii, .nii.gz, .hdr, .img (and .gz); "" if it is not an image's name.
std::string image_stem(const std::string& path);

struct Case {
  std::string name;
  std::vector<std::string> channels;  // files, in the order of the channels
  std::string problem;                // why the files do not make a case; empty if they do
};

// CASE_0000.nii.gz, CASE_0001.nii.gz, ... of a folder, by name. Files without the four digits are cases of one channel.
// Throws Error: cannot_read (no such folder), invalid_image (a case lacks a channel: 0000 and 0002, but no 0001; two
// files for one channel).
std::vector<Case> find_cases(const std::string& folder);

// Label files of a folder by stem, sorted. Throws Error (cannot_read, invalid_image: two files with the same stem).
std::vector<Case> find_label_files(const std::string& folder);

}  // namespace e2enet::cli
