// SHA-256 (FIPS 180-4): what tells that two results come from the same bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace e2enet {

class Sha256 {
 public:
  using Digest = std::array<std::uint8_t, 32>;

  void add(const void* bytes, std::size_t count);
  // Ends it: nothing may be added afterwards.
  Digest finish();

 private:
  void add_block(const std::uint8_t* block);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> block_{};
  std::uint64_t bytes_ = 0;
};

// 64 digits.
std::string hexadecimal(const Sha256::Digest& digest);

}  // namespace e2enet
