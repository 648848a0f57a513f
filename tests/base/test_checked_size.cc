// Products that must not wrap, also for a size_t of 32 bits (this file is compiled for one too, where that is
// possible).
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "base/aligned_buffer.h"
#include "base/checked_size.h"

namespace {

using e2enet::checked_count;
using e2enet::checked_size;
using e2enet::checked_sum;
using e2enet::Error;
using e2enet::ErrorCode;

template <typename Function>
void check_refused(const Function& function) {
  try {
    function();
    FAIL("nothing was refused");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::out_of_memory);
    CHECK(std::string(error.what()).find("a volume") != std::string::npos);
  }
}

}  // namespace

TEST_CASE("a product is exact up to half of what its type counts, and refused beyond") {
  CHECK(checked_size<std::uint32_t>("a volume", 2, 3, 7) == 42);
  CHECK(checked_size<std::uint32_t>("a volume", 65535, 32768) == 65535u * 32768u);
  CHECK(checked_size<std::uint32_t>("a volume", 0x7fffffff) == 0x7fffffffu);
  check_refused([] { checked_size<std::uint32_t>("a volume", 65536, 32768); });
  // 2000 x 2000 x 1100 labels of two bytes would wrap to 105 MB.
  check_refused([] { checked_size<std::uint32_t>("a volume", 2000, 2000, 1100, sizeof(std::uint16_t)); });
  check_refused([] { checked_size<std::uint32_t>("a volume", std::int64_t{1} << 32, 1); });  // 0, if it were cut
  check_refused([] { checked_size<std::uint32_t>("a volume", std::int64_t{1} << 32, std::int64_t{1} << 32); });
  CHECK(checked_size<std::uint64_t>("a volume", std::int64_t{1} << 31, std::int64_t{1} << 31) == std::uint64_t{1}
                                                                                                     << 62);
  check_refused([] { checked_size<std::uint64_t>("a volume", std::int64_t{1} << 32, std::int64_t{1} << 31); });
}

TEST_CASE("nothing of anything is nothing, and less than nothing is an error") {
  CHECK(checked_size<std::uint32_t>("a volume", std::int64_t{1} << 40, 0) == 0);
  CHECK(checked_size("a volume", 0, std::int64_t{1} << 62, std::int64_t{1} << 62) == 0);
  CHECK_THROWS_AS(checked_size("a volume", -1, 4), Error);
  CHECK_THROWS_AS(checked_size("a volume", -1, 0), Error);
}

TEST_CASE("elements of a vector and sums are counted under the same limit") {
  CHECK(checked_count<float>("a volume", 3, 5) == 15);
  check_refused([] { checked_count<float>("a volume", SIZE_MAX / 8 + 1); });
  CHECK(checked_sum<std::uint32_t>("a volume", 1, 2, 3) == 6);
  CHECK(checked_sum<std::uint32_t>("a volume", 0x7ffffffe, 1) == 0x7fffffffu);
  check_refused([] { checked_sum<std::uint32_t>("a volume", 0x7fffffff, 1); });
}

TEST_CASE("a volume that the addresses of this program cannot reach is refused, not cut") {
  if (sizeof(std::size_t) == 4) {
    check_refused(
        [] { e2enet::AlignedBuffer(checked_size("a volume", 2000, 2000, 1100, sizeof(std::uint16_t)), "a volume"); });
  }
  check_refused([] { e2enet::AlignedBuffer(checked_size("a volume", std::int64_t{1} << 62, 4), "a volume"); });
}
