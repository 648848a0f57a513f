// The machine that sizes and costs are said of: a core of an AMD Zen 4, where all of them were measured
// (docs/performance.md). Constants, not the machine's own figures, so that the same shape is cut into the same items,
// and gives the same bits, on every machine of an instruction set. What a kernel makes of them is in its folder.
#pragma once

#include <cstddef>

namespace e2enet::kernels::machine {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kPage = 4096;

// Of the first-level data cache of 32 KiB, what one array may take.
constexpr double kLevel1Bytes = 28 * 1024;
constexpr double kLevel2Bytes = 1024 * 1024;

// A feature of this size is not found in a cache by its next reader, so it is stored past them.
constexpr std::size_t kStreamedFeatureBytes = std::size_t{16} << 20;
// The same for outputs that are too large for any share of the third-level cache.
constexpr std::size_t kLevel3Bytes = std::size_t{48} << 20;

// Threads that the time of an item is estimated for; more find more items in the layers that take time.
constexpr int kThreads = 2;

// Lanes of the vectors that costs are said of.
constexpr int kLanes = 16;

}  // namespace e2enet::kernels::machine
