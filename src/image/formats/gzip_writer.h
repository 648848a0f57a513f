// Gzip compression on several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/atomic_file.h"

namespace e2enet::imaging {

// Compresses what it is given into one gzip member of `file`. The bytes written depend on the input alone, not on the
// number of threads or on how the input was cut into calls:
//   1. The input is cut into blocks of kBlockBytes.
//   2. Each block is deflated on its own, with the 32 KiB before it as its dictionary, and ends on a byte boundary
//      (Z_SYNC_FLUSH); the last one ends the stream.
//   3. The blocks follow each other after one gzip header (no name, no time); the checksums of the blocks are combined.
class GzipWriter {
 public:
  GzipWriter(AtomicFile& file, int threads);

  void write(const void* data, std::size_t bytes);
  void finish();

  static constexpr std::size_t kBlockBytes = std::size_t{1} << 19;
  static constexpr std::size_t kBlocksAtOnce = 16;

  // What an instance takes at most: input and output of the blocks, and a compressor a thread.
  static constexpr std::size_t working_bytes(int threads) {
    return kBlocksAtOnce * (2 * kBlockBytes + (kBlockBytes >> 8)) + static_cast<std::size_t>(threads) * (300 << 10);
  }

 private:
  void compress(bool last);

  AtomicFile& file_;
  int threads_;
  std::vector<unsigned char> input_;                // dictionary, then what is not compressed yet
  std::size_t dictionary_ = 0;                      // bytes of the dictionary in input_
  std::vector<std::vector<unsigned char>> output_;  // one a block
  std::uint32_t checksum_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace e2enet::imaging
