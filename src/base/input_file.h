// Opens what a user names as input: regular files only.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "e2enet/files.h"

namespace e2enet {

// A descriptor for reading, which the caller closes. Throws Error (cannot_read).
int open_regular_file(const std::string& path);

// Calls take(bytes, count) for piece after piece until the file ends, and throws what that throws, or Error
// (cannot_read).
void read_regular_file(const std::string& path, const std::function<void(const char*, std::size_t)>& take);

}  // namespace e2enet
