#include "base/aligned_buffer.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "base/platform/mapped_memory.h"
#include "base/platform/processor.h"
#include "e2enet/error.h"

namespace e2enet {

// Straight from the system, so that the pages go back to it at once when the buffer does, and none is touched before
// use.
AlignedBuffer::AlignedBuffer(std::size_t bytes, const char* what) {
  if (bytes == 0) return;
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  // A block that begins on a huge page boundary can be all huge pages; for small ones that would be waste.
  const std::size_t alignment = platform::kHugePages && bytes >= 4 * kHugePage ? kHugePage : kAlignment;
  const std::size_t wanted = bytes + alignment;
  void* const mapping = wanted < bytes ? nullptr : platform::map_zeros(wanted);
  if (mapping == nullptr) {
    throw Error(ErrorCode::out_of_memory, "cannot get " + std::to_string(bytes >> 20) + " MiB of memory for " + what);
  }
  mapping_ = mapping;
  mapping_size_ = wanted;
  size_ = bytes;
  const auto address = reinterpret_cast<std::uintptr_t>(mapping);
  data_ = static_cast<std::byte*>(mapping) + (alignment - address % alignment) % alignment;
  if (alignment == kHugePage) platform::take_huge_pages(data_, bytes);
}

AlignedBuffer AlignedBuffer::borrowed(void* memory, std::size_t bytes) {
  AlignedBuffer buffer;
  buffer.data_ = static_cast<std::byte*>(memory);
  buffer.size_ = bytes;
  std::memset(memory, 0, bytes);
  return buffer;
}

AlignedBuffer::~AlignedBuffer() {
  if (mapping_) platform::unmap(mapping_, mapping_size_);
}

void AlignedBuffer::swap(AlignedBuffer& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_size_, other.mapping_size_);
}

}  // namespace e2enet
