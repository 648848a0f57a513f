#include "plan/arena.h"

#include <algorithm>
#include <numeric>

#include "base/checked_size.h"

namespace e2enet::plan {

ArenaLayout place_buffers(const std::vector<BufferRequest>& requests) {
  std::vector<std::size_t> by_size(requests.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](std::size_t a, std::size_t b) { return requests[a].bytes > requests[b].bytes; });

  ArenaLayout layout;
  layout.offsets.assign(requests.size(), 0);
  std::vector<std::size_t> placed;  // ordered by offset
  for (const std::size_t index : by_size) {
    const BufferRequest& request = requests[index];
    const std::size_t bytes = (request.bytes + 63) / 64 * 64;
    std::size_t offset = 0;
    for (const std::size_t other : placed) {
      const bool meet = requests[other].first <= request.last && request.first <= requests[other].last;
      if (!meet) continue;
      if (layout.offsets[other] >= offset + bytes) break;
      offset = std::max(offset, layout.offsets[other] + (requests[other].bytes + 63) / 64 * 64);
    }
    layout.offsets[index] = offset;
    layout.bytes = std::max(layout.bytes, checked_sum("the features of a patch", offset, bytes));
    const auto at = std::upper_bound(placed.begin(), placed.end(), index, [&](std::size_t a, std::size_t b) {
      return layout.offsets[a] < layout.offsets[b];
    });
    placed.insert(at, index);
  }
  return layout;
}

}  // namespace e2enet::plan
