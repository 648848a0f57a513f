#include "image/formats/dicom/rle.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "e2enet/error.h"

namespace e2enet::imaging::dicom {
namespace {

constexpr std::size_t kHeaderBytes = 64;  // the number of segments, and where each of at most 15 begins

std::uint32_t u32(const unsigned char* p) {
  return static_cast<std::uint32_t>(p[3]) << 24 | static_cast<std::uint32_t>(p[2]) << 16 |
         static_cast<std::uint32_t>(p[1]) << 8 | p[0];
}

bool is_little_endian() {
  const std::uint16_t one = 1;
  unsigned char first;
  std::memcpy(&first, &one, 1);
  return first == 1;
}

}  // namespace

void decode_rle(const std::vector<unsigned char>& compressed, std::size_t pixels, std::size_t bytes,
                const std::string& where, std::vector<unsigned char>& stored) {
  const auto refuse = [&](ErrorCode code, const std::string& what) {
    throw Error(code, where + ": run-length coding: " + what);
  };
  if (compressed.size() < kHeaderBytes) refuse(ErrorCode::cannot_read, "expected a header of 64 bytes, found fewer");
  const std::uint32_t segments = u32(compressed.data());
  if (segments != bytes) {
    refuse(ErrorCode::invalid_image,
           "expected " + std::to_string(bytes) + " segments, found " + std::to_string(segments));
  }
  // Two bytes become 128 at the most: a frame that claims more is not begun.
  if (pixels * bytes / 64 > compressed.size()) {
    refuse(ErrorCode::cannot_read, "expected bytes for " + std::to_string(pixels) + " pixels, found fewer");
  }
  stored.resize(pixels * bytes);
  for (std::size_t segment = 0; segment < bytes; ++segment) {
    std::size_t at = u32(compressed.data() + 4 + 4 * segment);
    const std::size_t end = segment + 1 < bytes ? u32(compressed.data() + 8 + 4 * segment) : compressed.size();
    if (at < kHeaderBytes || end > compressed.size() || at > end) {
      refuse(ErrorCode::invalid_image, "expected a segment within the frame's " + std::to_string(compressed.size()) +
                                           " bytes, found one from byte " + std::to_string(at) + " to byte " +
                                           std::to_string(end));
    }
    // The first segment has the most significant bytes.
    const std::size_t byte = is_little_endian() ? bytes - 1 - segment : segment;
    std::size_t pixel = 0;
    while (pixel < pixels) {
      if (at >= end) refuse(ErrorCode::cannot_read, "expected more bytes in a segment, found its end");
      const unsigned control = compressed[at++];
      if (control == 128) continue;  // says nothing
      const bool literal = control < 128;
      const std::size_t count = literal ? control + 1 : 257 - control;
      if (count > pixels - pixel || (literal ? count : 1) > end - at) {
        refuse(ErrorCode::cannot_read, "expected a run within its segment and the frame, found one beyond");
      }
      for (std::size_t i = 0; i < count; ++i, ++pixel) stored[pixel * bytes + byte] = compressed[literal ? at + i : at];
      at += literal ? count : 1;
    }
  }
}

}  // namespace e2enet::imaging::dicom
