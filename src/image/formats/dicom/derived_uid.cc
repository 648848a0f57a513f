#include "image/formats/dicom/derived_uid.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace e2enet::imaging::dicom {

void Digest::add(const std::string& text) {
  std::uint8_t length[8];
  for (int b = 0; b < 8; ++b) length[b] = static_cast<std::uint8_t>(std::uint64_t{text.size()} >> (8 * b));
  add(length, sizeof length);
  add(text.data(), text.size());
}

std::string derived_uid(Digest digest) {
  const Sha256::Digest bytes = digest.finish();
  std::array<std::uint8_t, 16> uuid{};
  std::copy_n(bytes.begin(), uuid.size(), uuid.begin());
  uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x80);  // version 8
  uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);  // variant of the RFC
  // To decimal digits, by long division.
  std::string digits;
  for (bool any = true; any;) {
    any = false;
    unsigned rest = 0;
    for (std::uint8_t& byte : uuid) {
      const unsigned value = rest << 8 | byte;
      byte = static_cast<std::uint8_t>(value / 10);
      rest = value % 10;
      any = any || byte != 0;
    }
    digits += static_cast<char>('0' + rest);
  }
  std::reverse(digits.begin(), digits.end());
  return "2.25." + digits;
}

}  // namespace e2enet::imaging::dicom
