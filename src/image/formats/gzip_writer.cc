#include "image/formats/gzip_writer.h"

#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/parallel.h"
#include "e2enet/error.h"

namespace e2enet::imaging {
namespace {

constexpr std::size_t kDictionaryBytes = 32768;
// Labels are long runs of equal bytes: above this level the size hardly falls and the time doubles.
constexpr int kLevel = 4;

bool deflate_block(const unsigned char* dictionary, std::size_t dictionary_bytes, const unsigned char* data,
                   std::size_t bytes, bool last, std::vector<unsigned char>& output) {
  z_stream stream;
  std::memset(&stream, 0, sizeof stream);
  if (deflateInit2(&stream, kLevel, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) return false;
  if (dictionary_bytes > 0) deflateSetDictionary(&stream, dictionary, static_cast<uInt>(dictionary_bytes));
  output.resize(deflateBound(&stream, static_cast<uLong>(bytes)) + 16);
  stream.next_in = const_cast<Bytef*>(data);
  stream.avail_in = static_cast<uInt>(bytes);
  stream.next_out = output.data();
  stream.avail_out = static_cast<uInt>(output.size());
  const int result = deflate(&stream, last ? Z_FINISH : Z_SYNC_FLUSH);
  output.resize(output.size() - stream.avail_out);
  const bool complete = result == (last ? Z_STREAM_END : Z_OK) && stream.avail_in == 0;
  deflateEnd(&stream);
  return complete;
}

}  // namespace

GzipWriter::GzipWriter(AtomicFile& file, int threads)
    : file_(file), threads_(threads > 0 ? threads : available_threads()), output_(kBlocksAtOnce) {
  const unsigned char header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
  file_.write(header, sizeof header);
  checksum_ = static_cast<std::uint32_t>(crc32(0, nullptr, 0));
  input_.reserve(kDictionaryBytes + kBlocksAtOnce * kBlockBytes);
}

void GzipWriter::write(const void* data, std::size_t bytes) {
  const unsigned char* at = static_cast<const unsigned char*>(data);
  while (bytes > 0) {
    const std::size_t room = dictionary_ + kBlocksAtOnce * kBlockBytes - input_.size();
    const std::size_t part = std::min(room, bytes);
    input_.insert(input_.end(), at, at + part);
    at += part;
    bytes -= part;
    if (part == room) compress(false);
  }
}

void GzipWriter::finish() {
  compress(true);
  unsigned char trailer[8];
  for (int i = 0; i < 4; ++i) {
    trailer[i] = static_cast<unsigned char>(checksum_ >> (8 * i));
    trailer[4 + i] = static_cast<unsigned char>(total_ >> (8 * i));
  }
  file_.write(trailer, sizeof trailer);
}

void GzipWriter::compress(bool last) {
  const std::size_t bytes = input_.size() - dictionary_;
  const std::size_t blocks = std::max<std::size_t>(1, (bytes + kBlockBytes - 1) / kBlockBytes);
  std::vector<std::uint32_t> checksums(blocks);
  std::atomic<bool> failed{false};
  run_team(std::min<int>(threads_, static_cast<int>(blocks)), [&](const Worker& worker) {
    worker.for_each(static_cast<std::int64_t>(blocks), [&](std::int64_t index) {
      const std::size_t block = static_cast<std::size_t>(index);
      const std::size_t begin = dictionary_ + block * kBlockBytes;
      const std::size_t size = std::min(kBlockBytes, input_.size() - begin);
      const std::size_t before = std::min(begin, kDictionaryBytes);
      const unsigned char* data = input_.data() + begin;
      try {
        if (!deflate_block(data - before, before, data, size, last && block + 1 == blocks, output_[block]))
          failed = true;
      } catch (const std::bad_alloc&) {
        failed = true;
      }
      checksums[block] = static_cast<std::uint32_t>(crc32(crc32(0, nullptr, 0), data, static_cast<uInt>(size)));
    });
  });
  if (failed) throw Error(ErrorCode::out_of_memory, file_.path() + ": no memory to compress it");
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t size = std::min(kBlockBytes, bytes - block * kBlockBytes);
    checksum_ = static_cast<std::uint32_t>(crc32_combine(checksum_, checksums[block], static_cast<z_off_t>(size)));
    file_.write(output_[block].data(), output_[block].size());
  }
  total_ += bytes;
  const std::size_t keep = std::min(kDictionaryBytes, input_.size());
  input_.erase(input_.begin(), input_.end() - static_cast<std::ptrdiff_t>(keep));
  dictionary_ = keep;
}

}  // namespace e2enet::imaging
