// Sizes of memory for what files and options of strangers ask for. A product that wraps gives a small block and then
// writes beyond it: with a size_t of 32 bits, a volume of 2000 x 2000 x 1100 labels would take 105 MB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "e2enet/error.h"

namespace e2enet {
namespace sizes {

[[noreturn]] inline void refuse(const char* what) {
  throw Error(ErrorCode::out_of_memory,
              std::string("cannot get memory for ") + what + ": it is larger than this program's address space");
}

template <typename Factor>
std::uint64_t not_negative(const char* what, Factor factor) {
  static_assert(std::is_integral<Factor>::value, "sizes are whole numbers");
  if constexpr (std::is_signed<Factor>::value) {
    if (factor < 0) {
      throw Error(ErrorCode::internal,
                  std::string("the size of ") + what + ": expected 0 or more, found " + std::to_string(factor));
    }
  }
  return static_cast<std::uint64_t>(factor);
}

}  // namespace sizes

// The product of the factors. Throws Error (out_of_memory) naming `what` where it is more than half of what Size can
// count: distances inside an array must have a sign too.
template <typename Size = std::size_t, typename... Factors>
Size checked_size(const char* what, Factors... factors) {
  static_assert(std::is_unsigned<Size>::value, "a size has no sign");
  constexpr std::uint64_t kMost = std::numeric_limits<Size>::max() / 2;
  const std::uint64_t all[] = {sizes::not_negative(what, factors)...};
  for (const std::uint64_t factor : all) {
    if (factor == 0) return 0;
  }
  std::uint64_t product = 1;
  for (const std::uint64_t factor : all) {
    if (factor > kMost / product) sizes::refuse(what);
    product *= factor;
  }
  return static_cast<Size>(product);
}

// The number of elements of a std::vector<T>, whose bytes must be countable too.
template <typename T, typename... Factors>
std::size_t checked_count(const char* what, Factors... factors) {
  return checked_size(what, sizeof(T), factors...) / sizeof(T);
}

// The sum of the terms, under the same limit.
template <typename Size = std::size_t, typename... Terms>
Size checked_sum(const char* what, Terms... terms) {
  static_assert(std::is_unsigned<Size>::value, "a size has no sign");
  constexpr std::uint64_t kMost = std::numeric_limits<Size>::max() / 2;
  std::uint64_t sum = 0;
  for (const std::uint64_t term : {sizes::not_negative(what, terms)...}) {
    if (term > kMost - sum) sizes::refuse(what);
    sum += term;
  }
  return static_cast<Size>(sum);
}

}  // namespace e2enet
