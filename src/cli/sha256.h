// SHA-256 of files (FIPS 180-4): what tells that two results come from the same model and the same images.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace e2enet::cli {

class Sha256 {
 public:
  void add(const void* bytes, std::size_t count);
  // 64 hexadecimal digits of all that was added; nothing may be added afterwards.
  std::string finish();

 private:
  void add_block(const unsigned char* block);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> block_{};
  std::uint64_t bytes_ = 0;
};

struct FileDigest {
  std::string sha256;
  std::int64_t bytes = 0;
};

// Reads the file once more, beside whoever uses it. Throws Error (cannot_read; cancelled after Ctrl-C).
FileDigest digest_of_file(const std::string& path);

}  // namespace e2enet::cli
