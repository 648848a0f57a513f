#include "plan/arena.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "base/checked_size.h"

namespace e2enet::plan {
namespace {

constexpr char kWhat[] = "the features of a patch";
// Orders that are tried. The 35 buffers of a network of five poolings are placed in a few microseconds.
constexpr int kMostTrials = 2000;

std::size_t rounded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// In the given order, each buffer at the lowest offset where no buffer that is alive at the same time lies.
ArenaLayout placed_in_order(const std::vector<BufferRequest>& requests, const std::vector<std::size_t>& order) {
  ArenaLayout layout;
  layout.offsets.assign(requests.size(), 0);
  std::vector<std::size_t> placed;  // ordered by offset
  for (const std::size_t index : order) {
    const BufferRequest& request = requests[index];
    const std::size_t bytes = rounded(request.bytes);
    std::size_t offset = 0;
    for (const std::size_t other : placed) {
      const bool meet = requests[other].first <= request.last && request.first <= requests[other].last;
      if (!meet) continue;
      if (layout.offsets[other] >= offset + bytes) break;
      offset = std::max(offset, layout.offsets[other] + rounded(requests[other].bytes));
    }
    layout.offsets[index] = offset;
    layout.bytes = std::max(layout.bytes, checked_sum(kWhat, offset, bytes));
    const auto at = std::upper_bound(placed.begin(), placed.end(), index, [&](std::size_t a, std::size_t b) {
      return layout.offsets[a] < layout.offsets[b];
    });
    placed.insert(at, index);
  }
  return layout;
}

// What is alive at once at most; no layout takes less.
std::size_t most_alive(const std::vector<BufferRequest>& requests) {
  std::size_t most = 0;
  for (const BufferRequest& begun : requests) {  // the most begins where a buffer does
    std::size_t alive = 0;
    for (const BufferRequest& request : requests) {
      if (request.first <= begun.first && begun.first <= request.last) {
        alive = checked_sum(kWhat, alive, rounded(request.bytes));
      }
    }
    most = std::max(most, alive);
  }
  return most;
}

}  // namespace

ArenaLayout place_buffers(const std::vector<BufferRequest>& requests) {
  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return requests[a].bytes > requests[b].bytes; });
  ArenaLayout best = placed_in_order(requests, order);
  const std::size_t least = most_alive(requests);
  std::minstd_rand random(1);  // whose numbers are the same everywhere
  for (int trial = 0; trial < kMostTrials && best.bytes > least; ++trial) {
    const auto from = std::ptrdiff_t(random() % order.size());
    const auto to = std::ptrdiff_t(random() % order.size());
    std::vector<std::size_t> other = order;
    if (from > to) {
      std::rotate(other.begin() + to, other.begin() + from, other.begin() + from + 1);
    } else {
      std::rotate(other.begin() + from, other.begin() + from + 1, other.begin() + to + 1);
    }
    ArenaLayout layout = placed_in_order(requests, other);
    if (layout.bytes > best.bytes) continue;  // one as good may lead to a better
    best = std::move(layout);
    order = std::move(other);
  }
  return best;
}

}  // namespace e2enet::plan
