// What a NIfTI file's name says: its ending in any case of letters, and the other half of a .hdr/.img pair.
#pragma once

#include <string>
#include <vector>

namespace e2enet::imaging {

enum class NameKind { none, single, header, data };  // none: no image's name

struct ImageName {
  NameKind kind = NameKind::none;
  bool zipped = false;
  std::string stem;    // the path without the ending
  std::string ending;  // as it is written: ".nii.gz", ".IMG"

  bool pair() const { return kind == NameKind::header || kind == NameKind::data; }
};

ImageName parse_image_name(const std::string& path);

// The files that writing an image to `path` makes: of a pair the data, then the header; else `path`.
std::vector<std::string> written_files(const std::string& path);

// Where the other half of a pair may be, likeliest first: zipped or not, in the same or the other case of letters.
// Empty for what is no pair.
std::vector<std::string> partner_candidates(const std::string& path);

}  // namespace e2enet::imaging
