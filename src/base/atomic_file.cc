#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "e2enet/error.h"

namespace e2enet {

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0) {
    if (!S_ISREG(status.st_mode)) {
      throw Error(ErrorCode::cannot_write, path + ": expected the name of a regular file, found a " +
                                               (S_ISDIR(status.st_mode) ? "folder" : "device or pipe"));
    }
    if (char* resolved = realpath(path.c_str(), nullptr)) {
      target_ = resolved;
      std::free(resolved);
    }
  }
  const std::size_t slash = target_.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : target_.substr(0, slash + 1);
  // One counter for the whole process: several writers of one name must not share a temporary file.
  static std::atomic<unsigned> counter{0};
  const std::string base = target_.substr(folder.size()).substr(0, 180);
  for (int attempt = 0; attempt < 100; ++attempt) {
    temporary_ = folder + "." + base + "." + std::to_string(getpid()) + "-" + std::to_string(counter++) + ".partial";
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ >= 0 || errno != EEXIST) break;
  }
  if (descriptor_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail("cannot create a file in its folder", error);
  }
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, std::string())),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_, at, std::min<std::size_t>(bytes, std::size_t{1} << 30));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("cannot write", errno);
    }
    at += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  // Some file systems report a full disk only here.
  if (fsync(descriptor_) != 0 && errno != EINVAL && errno != ENOTSUP) fail("cannot write", errno);
  if (close(std::exchange(descriptor_, -1)) != 0) fail("cannot write", errno);
  if (rename(temporary_.c_str(), target_.c_str()) != 0) fail("cannot rename the finished file to its name", errno);
  temporary_.clear();
}

void AtomicFile::fail(const std::string& action, int error) const {
  throw Error(ErrorCode::cannot_write, path_ + ": " + action + ": " + std::strerror(error));
}

}  // namespace e2enet
