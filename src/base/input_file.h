// Opens what a user names as input: regular files only.
#pragma once

#include <string>

#include "e2enet/files.h"

namespace e2enet {

// A descriptor for reading, which the caller closes. Throws Error (cannot_read).
int open_regular_file(const std::string& path);

}  // namespace e2enet
