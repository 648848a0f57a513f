// Cases in folders: image files with nnU-Net's names, folders with DICOM series, label files with theirs.
#pragma once

#include <string>
#include <vector>

namespace e2enet::cli {

// The file name without folder and without .nii, .nii.gz, .hdr, .img (and .gz), in any case of letters; "" if it is not
// an image's name.
std::string image_stem(const std::string& path);

struct Case {
  std::string name;
  std::vector<std::string> channels;  // files, in the order of the channels; or one folder with DICOM files
  std::string problem;                // why the files do not make a case; empty if they do
  bool dicom = false;
};

struct FolderCases {
  std::vector<Case> cases;            // by name
  std::vector<std::string> left_out;  // files and folders that are no part of a case, sorted
  std::vector<std::string> remarks;   // lines: what could have been meant otherwise
};

// The cases of a folder for a model of `channels` channels. Four digits after an underline at the end of a name are a
// channel where the files that differ in them only begin with 0000 and run to the model's channels: CASE_0000.nii.gz,
// CASE_0001.nii.gz. Otherwise they belong to the name: sub_2019.nii.gz is a case of one channel. Where some of a case's
// channels are there, or several files are one channel, the case has a problem. A folder in which DICOM files are is a
// case with the folder's name. Throws Error: cannot_read.
FolderCases find_cases(const std::string& folder, int channels);

// Label files of a folder by stem. Throws Error (cannot_read, invalid_image: two files with the same stem).
FolderCases find_label_files(const std::string& folder);

// "2 files left out of in: notes.txt, b.img": one line, with the first of them; "" where there are none.
std::string left_out_line(const std::string& folder, const std::vector<std::string>& left_out);

}  // namespace e2enet::cli
