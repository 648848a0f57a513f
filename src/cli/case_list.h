// A list of cases in a file (CSV), for cohorts that are no folder of images.
#pragma once

#include <string>
#include <vector>

namespace e2enet::cli {

struct ListedCase {
  std::string name;                 // may have folders: sub-01/anat/sub-01
  std::vector<std::string> images;  // one a channel; an empty field is none
  std::string series;               // of a DICOM folder, or empty
};

// First line: `case,image`, with a further `image...` column for each further channel and, if wanted, a column
// `series`. Fields as in RFC 4180, or separated by tabs. Paths that are not absolute are the list's folder's. Throws
// Error (cannot_read, invalid_image) naming file and line.
std::vector<ListedCase> read_case_list(const std::string& path);

}  // namespace e2enet::cli
