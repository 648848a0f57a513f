// The formats that images are read from and labels are written to: one list. A new format is a folder beside this file
// and a line in formats.cc.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "image/formats/channel_file.h"
#include "image/formats/label_file.h"

namespace e2enet::imaging {

struct Format {
  const char* name;
  // Whether what is at `path` looks like one of this format; content decides where it can. Does not throw.
  bool (*recognises)(const std::string& path);
  // Throws Error.
  std::unique_ptr<ChannelFile> (*open)(const std::string& path);
  // Whether labels are written to a file of this name.
  bool (*writes)(const std::string& path);
  // For messages: ".nii, .nii.gz, .hdr or .img".
  const char* endings;
  // Null where the format writes none. Throws Error (cannot_write).
  std::unique_ptr<LabelFile> (*create_labels)(const std::string& path, const LabelFileContents& contents);
};

// In the order in which they are tried; the last recognises everything, so that its errors are what is said of a file
// that is none of them.
const std::vector<Format>& formats();

std::unique_ptr<ChannelFile> open_channel(const std::string& path);

// Throws Error: invalid_argument where no format has this ending.
std::unique_ptr<LabelFile> create_label_file(const std::string& path, const LabelFileContents& contents);

}  // namespace e2enet::imaging
