#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "e2enet/error.h"

namespace e2enet {

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  static std::atomic<unsigned> counter{0};
  temporary_path_ = path_ + ".partial-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
  file_ = std::fopen(temporary_path_.c_str(), "wb");
  if (!file_) fail("create");
}

AtomicFile::~AtomicFile() {
  if (file_) std::fclose(file_);
  if (!committed_) std::remove(temporary_path_.c_str());
}

void AtomicFile::fail(const char* doing) const {
  throw Error(ErrorCode::cannot_write, path_ + ": cannot " + doing + " the file: " + std::strerror(errno));
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  if (bytes && std::fwrite(data, 1, bytes, file_) != bytes) fail("write");
}

void AtomicFile::commit() {
  const bool flushed = std::fflush(file_) == 0 && fsync(fileno(file_)) == 0;
  const int problem = errno;
  const bool closed = std::fclose(file_) == 0;
  file_ = nullptr;
  if (!flushed || !closed) {
    if (!flushed) errno = problem;
    std::remove(temporary_path_.c_str());
    fail("write");
  }
  if (std::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    const int rename_problem = errno;
    std::remove(temporary_path_.c_str());
    errno = rename_problem;
    fail("rename the finished file to");
  }
  committed_ = true;
}

}  // namespace e2enet
