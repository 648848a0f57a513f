// The formats that images are read from and labels are written to: one list. A new format is a folder beside this file
// and a line in formats.cc.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "image/formats/channel_file.h"
#include "image/formats/label_file.h"

namespace e2enet::imaging {

// One channel that is wanted.
struct ChannelRequest {
  std::vector<std::string> paths;  // one; of DICOM also several: the folders and files in which its slices are
  std::string series;              // of DICOM: a series' UID or number; empty: the only one that is a volume
  bool regrid = false;             // of DICOM: take slices at uneven distances
};

struct Format {
  const char* name;
  // Whether what is at `path` looks like one of this format; content decides where it can. Does not throw.
  bool (*recognises)(const std::string& path);
  // Throws Error.
  std::unique_ptr<ChannelFile> (*open)(const ChannelRequest& request);
  // Whether labels are written to a file of this name.
  bool (*writes)(const std::string& path);
  // For messages: ".nii, .nii.gz, .hdr or .img".
  const char* endings;
  // Whether ChannelRequest::series and regrid mean something.
  bool has_series = false;
  // Whether what is written says of each slice where it lies, so that distances may be uneven.
  bool places_each_slice = false;
  // Null where the format writes none. Throws Error (cannot_write).
  std::unique_ptr<LabelFile> (*create_labels)(const std::string& path, const LabelFileContents& contents);
  // What a file of labels takes in memory until it is committed, at the most, for an image of this shape and so many
  // labels; `of_reference`: which is no DICOM itself. Null: next to nothing.
  double (*label_file_bytes)(const Shape& image, std::size_t labels, bool of_reference) = nullptr;
};

// In the order in which they are tried; the last recognises everything, so that its errors are what is said of a file
// that is none of them.
const std::vector<Format>& formats();

std::unique_ptr<ChannelFile> open_channel(const ChannelRequest& request);

// Where the image's voxels are slices that were moved (ChannelFile::label_grid()), the file has the labels of the
// slices as they are. // Throws Error: invalid_argument where no format has this ending.
std::unique_ptr<LabelFile> create_label_file(const std::string& path, const LabelFileContents& contents);

// Format::label_file_bytes() of the format that `path` has; 0 for a path that is none.
double label_file_bytes(const std::string& path, const Shape& image, std::size_t labels, bool of_reference);

// Why the voxels of a file of this name are not the slices of `image`, the first channel, as they are: where these lie
// at uneven distances, or (for what is written on the image's own voxels: `labels` false) were moved. Empty where they
// are.
std::string not_on_slices(const std::string& path, const ChannelFile& image, bool labels);

}  // namespace e2enet::imaging
