// A block of memory aligned for every vector width, on huge pages where the system gives them.
#pragma once

#include <cstddef>

namespace e2enet {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // Contents are zero and no page is touched yet. Throws Error (out_of_memory) naming the size and `what` it was for.
  AlignedBuffer(std::size_t bytes, const char* what);
  // Somebody else's memory at a multiple of kAlignment, which must outlive this. It is set to zero.
  static AlignedBuffer borrowed(void* memory, std::size_t bytes);
  static constexpr std::size_t kAlignment = 64;
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~AlignedBuffer();

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void swap(AlignedBuffer& other) noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  void* mapping_ = nullptr;
  std::size_t mapping_size_ = 0;
};

}  // namespace e2enet
