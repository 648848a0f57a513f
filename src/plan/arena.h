// Places buffers with known lifetimes in one block of memory.
#pragma once

#include <cstddef>
#include <vector>

namespace e2enet::plan {

// A buffer that is alive from step `first` to step `last`, both included.
struct BufferRequest {
  std::size_t bytes = 0;
  int first = 0;
  int last = 0;
};

struct ArenaLayout {
  std::vector<std::size_t> offsets;  // one a request, 64-byte aligned
  std::size_t bytes = 0;
};

// Largest first, each at the lowest offset where no buffer that is alive at the same time lies (Pisarchyk and Lee,
// "Efficient Memory Management for Deep Neural Net Inference", 2020, "greedy by size"); then in other orders, until the
// block is no larger than what is alive at once or no better order was found. The same requests get the same layout.
ArenaLayout place_buffers(const std::vector<BufferRequest>& requests);

}  // namespace e2enet::plan
