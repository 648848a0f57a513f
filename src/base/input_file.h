// Opens what a user names as input: regular files only.
#pragma once

#include <string>

namespace e2enet {

// A device or pipe must not be opened: that can wait for ever, or do something to it. Throws Error (cannot_read) naming
// the file where it is none or does not exist.
void require_regular_file(const std::string& path);

// A descriptor for reading, which the caller closes. Throws Error (cannot_read).
int open_regular_file(const std::string& path);

// All of a small file. Throws Error (cannot_read).
std::string read_text_file(const std::string& path);

}  // namespace e2enet
