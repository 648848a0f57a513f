// UIDs made from what they stand for: the same content has the same UID on every run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace e2enet::imaging::dicom {

// SHA-256 of what was added (FIPS 180-4).
class Digest {
 public:
  void add(const void* bytes, std::size_t count);
  // With its length, so that two texts are not one.
  void add(const std::string& text);
  // Ends it: nothing may be added afterwards.
  std::array<std::uint8_t, 32> finish();

 private:
  void block(const std::uint8_t* bytes);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> pending_{};
  std::size_t pending_bytes_ = 0;
  std::uint64_t total_bytes_ = 0;
};

// "2.25." and the number of a UUID (PS3.5, B.2), of the custom version of RFC 9562: 122 bits of the digest.
std::string derived_uid(Digest digest);

}  // namespace e2enet::imaging::dicom
