// A fuzzer's bytes taken one value after the other; zero where they have run out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace e2enet::test {

class InputBytes {
 public:
  InputBytes(const std::uint8_t* bytes, std::size_t size) : bytes_(bytes), size_(size) {}

  template <typename T>
  T take() {
    T value{};
    if (size_ >= sizeof(T)) {
      std::memcpy(&value, bytes_, sizeof(T));
      bytes_ += sizeof(T);
      size_ -= sizeof(T);
    } else {
      size_ = 0;
    }
    return value;
  }

  const std::uint8_t* rest() const { return bytes_; }
  std::size_t size() const { return size_; }

 private:
  const std::uint8_t* bytes_;
  std::size_t size_;
};

}  // namespace e2enet::test
