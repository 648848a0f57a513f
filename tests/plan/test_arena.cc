// Buffers in one block of memory: those that live at the same time never overlap.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "e2enet/error.h"
#include "plan/arena.h"

namespace {

using e2enet::plan::ArenaLayout;
using e2enet::plan::BufferRequest;
using e2enet::plan::place_buffers;

// The number of pairs that live at the same time and share a byte.
int overlaps(const std::vector<BufferRequest>& requests, const ArenaLayout& layout) {
  int found = 0;
  for (std::size_t a = 0; a < requests.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      if (requests[a].last < requests[b].first || requests[b].last < requests[a].first) continue;
      if (requests[a].bytes == 0 || requests[b].bytes == 0) continue;
      found += layout.offsets[a] < layout.offsets[b] + requests[b].bytes &&
               layout.offsets[b] < layout.offsets[a] + requests[a].bytes;
    }
  }
  return found;
}

std::size_t most_alive(const std::vector<BufferRequest>& requests) {
  std::size_t most = 0;
  for (const BufferRequest& begun : requests) {  // the most begins where a buffer does
    std::size_t alive = 0;
    for (const BufferRequest& other : requests) {
      if (other.first <= begun.first && begun.first <= other.last) alive += other.bytes;
    }
    most = std::max(most, alive);
  }
  return most;
}

void check(const std::vector<BufferRequest>& requests) {
  const ArenaLayout layout = place_buffers(requests);
  REQUIRE(layout.offsets.size() == requests.size());
  CHECK(overlaps(requests, layout) == 0);
  std::size_t end = 0, all = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    CHECK(layout.offsets[i] % 64 == 0);
    end = std::max(end, layout.offsets[i] + requests[i].bytes);
    all += (requests[i].bytes + 63) / 64 * 64;
  }
  CHECK(layout.bytes >= end);
  CHECK(layout.bytes >= most_alive(requests));
  CHECK(layout.bytes <= all);
}

}  // namespace

TEST_CASE("buffers that live at the same time lie apart, others share memory") {
  const ArenaLayout layout = place_buffers({{100, 0, 1}, {100, 1, 2}, {100, 2, 3}});
  CHECK(layout.offsets[0] != layout.offsets[1]);
  CHECK(layout.offsets[1] != layout.offsets[2]);
  CHECK(layout.offsets[0] == layout.offsets[2]);
  CHECK(layout.bytes == 256);
  // Lives that meet in one step only, and a gap that is just large enough.
  check({{64, 0, 5}, {64, 5, 9}});
  check({{1000, 0, 9}, {128, 0, 3}, {64, 4, 9}, {128, 4, 9}, {129, 2, 5}});
  check({});
  check({{0, 0, 0}, {1, 0, 0}, {0, 0, 9}});
}

TEST_CASE("no two of any buffers overlap while both live") {
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    CAPTURE(round);
    std::vector<BufferRequest> requests(1 + random() % 40);
    const int steps = 1 + int(random() % 30);
    for (BufferRequest& request : requests) {
      // Equal sizes and sizes off the alignment, short lives and long ones.
      request.bytes = random() % 4 == 0 ? 64 * (random() % 5) : random() % 5000;
      request.first = int(random() % unsigned(steps));
      request.last = request.first + int(random() % unsigned(steps - request.first));
    }
    check(requests);
  }
}

// The largest of these, in millions of bytes, are those of the paper's network while x[0][1] is computed. Largest first
// they take 746, for 730 that are alive.
TEST_CASE("no more memory than what is alive at once, where an order of placing gives that") {
  const std::vector<BufferRequest> requests = {
      {419 << 20, 0, 32}, {50 << 20, 1, 13},  {109 << 20, 2, 30}, {12 << 20, 3, 14},  {33 << 20, 4, 28},
      {5 << 20, 6, 22},   {37 << 20, 12, 12}, {50 << 20, 12, 19}, {19 << 20, 13, 13}, {12 << 20, 13, 20},
      {9 << 20, 14, 14},  {37 << 20, 18, 18}, {50 << 20, 18, 24}, {19 << 20, 19, 19}, {12 << 20, 19, 25},
      {9 << 20, 20, 20},  {37 << 20, 23, 23}, {50 << 20, 23, 28}, {19 << 20, 24, 24}, {37 << 20, 27, 27}};
  CHECK(place_buffers(requests).bytes == most_alive(requests));
  check(requests);
}

TEST_CASE("a block larger than the address space is refused") {
  const std::size_t half = SIZE_MAX / 2 - 63;
  CHECK_THROWS_AS(place_buffers({{half, 0, 1}, {half, 0, 1}}), e2enet::Error);
}
