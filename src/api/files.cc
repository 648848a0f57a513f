#include "e2enet/files.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/atomic_file.h"
#include "base/input_file.h"
#include "base/sha256.h"
#include "e2enet/error.h"

namespace e2enet {

struct OutputFile::Implementation {
  AtomicFile file;
};

OutputFile::OutputFile(const std::string& path) : implementation_(new Implementation{AtomicFile(path)}) {}
OutputFile::~OutputFile() = default;
OutputFile::OutputFile(OutputFile&&) noexcept = default;
OutputFile& OutputFile::operator=(OutputFile&&) noexcept = default;
void OutputFile::write(const void* bytes, std::size_t count) { implementation_->file.write(bytes, count); }
void OutputFile::commit() { implementation_->file.commit(); }

void write_whole_file(const std::string& path, const void* bytes, std::size_t count) {
  AtomicFile file(path);
  file.write(bytes, count);
  file.commit();
}

std::string sha256_of(const std::string& bytes) {
  Sha256 digest;
  digest.add(bytes.data(), bytes.size());
  return hexadecimal(digest.finish());
}

FileDigest digest_of_file(const std::string& path, const std::function<bool()>& stop) {
  const int file = open_regular_file(path);
  try {
    Sha256 digest;
    FileDigest result;
    std::vector<char> buffer(std::size_t{1} << 18);
    for (;;) {
      if (stop && stop()) throw Error(ErrorCode::cancelled, "interrupted");
      const ssize_t count = read(file, buffer.data(), buffer.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw Error(ErrorCode::cannot_read, path + ": cannot be read: " + std::strerror(errno));
      if (count == 0) break;
      digest.add(buffer.data(), static_cast<std::size_t>(count));
      result.bytes += count;
    }
    close(file);
    result.sha256 = hexadecimal(digest.finish());
    return result;
  } catch (...) {
    close(file);
    throw;
  }
}

}  // namespace e2enet
