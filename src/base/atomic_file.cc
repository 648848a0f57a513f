#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "e2enet/error.h"

namespace e2enet {

namespace {

constexpr int kMostLinks = 40;  // as the kernel

}  // namespace

std::string file_behind(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path at = fs::absolute(path, error);
  if (error) return path;
  for (int links = 0; links < kMostLinks && fs::is_symlink(fs::symlink_status(at, error)); ++links) {
    const fs::path to = fs::read_symlink(at, error);
    if (error) break;
    at = to.is_absolute() ? to : at.parent_path() / to;
  }
  const fs::path folder = fs::weakly_canonical(at.parent_path(), error);
  return error ? at.string() : (folder / at.filename()).string();
}

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(file_behind(path)) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0) {
    if (!S_ISREG(status.st_mode)) {
      throw Error(ErrorCode::cannot_write, path + ": expected the name of a regular file, found a " +
                                               (S_ISDIR(status.st_mode) ? "folder" : "device or pipe"));
    }
    replaces_ = true;
    mode_ = status.st_mode & 0777;
    owner_ = status.st_uid;
    group_ = status.st_gid;
  }
  const std::size_t slash = target_.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : target_.substr(0, slash + 1);
  // One counter for the whole process: several writers of one name must not share a temporary file.
  static std::atomic<unsigned> counter{0};
  const std::string base = target_.substr(folder.size()).substr(0, 180);
  // What is private must not be readable for as long as it is written either.
  const mode_t first_mode = replaces_ ? 0600 : 0666;
  for (int attempt = 0; attempt < 100; ++attempt) {
    temporary_ = folder + "." + base + "." + std::to_string(getpid()) + "-" + std::to_string(counter++) + ".partial";
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, first_mode);
    if (descriptor_ >= 0 || errno != EEXIST) break;
  }
  if (descriptor_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail("cannot create a file in its folder", error);
  }
  // Held until the file is closed, so that who finds it can tell whether its writer lives. A file system without locks
  // only leaves that unknown.
  while (flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EINTR) {
  }
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, std::string())),
      descriptor_(std::exchange(other.descriptor_, -1)),
      replaces_(other.replaces_),
      mode_(other.mode_),
      owner_(other.owner_),
      group_(other.group_) {}

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
  if (replaces_) keep_permissions();
  // Some file systems report a full disk only here.
  while (fsync(descriptor_) != 0) {
    if (errno == EINTR) continue;
    if (errno == EINVAL || errno == ENOTSUP) break;
    fail("cannot write", errno);
  }
  if (close(std::exchange(descriptor_, -1)) != 0) fail("cannot write", errno);
  if (rename(temporary_.c_str(), target_.c_str()) != 0) fail("cannot rename the finished file to its name", errno);
  temporary_.clear();
}

void AtomicFile::keep_permissions() {
  struct stat status;
  if (fstat(descriptor_, &status) != 0) fail("cannot tell its permissions", errno);
  mode_t mode = mode_;
  if (status.st_uid != owner_ && fchown(descriptor_, owner_, group_) == 0) status.st_gid = group_;
  if (status.st_gid != group_ && fchown(descriptor_, static_cast<uid_t>(-1), group_) != 0) {
    // Another group must not get what the old one had.
    mode = (mode & ~mode_t{070}) | (mode & 07) << 3;
  }
  // Some file systems have no permissions of their own (EPERM, ENOTSUP).
  if (fchmod(descriptor_, mode) != 0 && errno != EPERM && errno != ENOTSUP) fail("cannot keep its permissions", errno);
}

void AtomicFile::fail(const std::string& action, int error) const {
  throw Error(ErrorCode::cannot_write, path_ + ": " + action + ": " + std::strerror(error));
}

}  // namespace e2enet
