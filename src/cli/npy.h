// numpy's .npy files, as far as the command line needs them: float32, C order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace e2enet::cli {

struct FloatArray {
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // C order: the last axis is the fastest
};

// Reads little-endian float32 in C order; anything else is refused. Throws Error: cannot_read, invalid_image (the text
// says what the file has instead), out_of_memory.
FloatArray read_npy(const std::string& path);

// Writes format version 1.0, under `path` complete or not at all. Throws Error (cannot_write).
void write_npy(const std::string& path, const std::vector<std::int64_t>& shape, const float* values);

}  // namespace e2enet::cli
