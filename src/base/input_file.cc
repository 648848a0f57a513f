#include "base/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "e2enet/error.h"

namespace e2enet {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& what, int error) {
  throw Error(ErrorCode::cannot_read, path + ": " + what + ": " + std::strerror(error));
}

void require_regular(const std::string& path, const struct stat& status) {
  if (S_ISREG(status.st_mode)) return;
  const char* found = S_ISDIR(status.st_mode)    ? "a folder"
                      : S_ISFIFO(status.st_mode) ? "a pipe"
                      : S_ISSOCK(status.st_mode) ? "a socket"
                                                 : "a device";
  throw Error(ErrorCode::cannot_read, path + ": expected a regular file, found " + found);
}

}  // namespace

void require_regular_file(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) fail(path, "cannot open", errno);
  require_regular(path, status);
}

int open_regular_file(const std::string& path) {
  require_regular_file(path);
  // Asked again once it is open, and opened without waiting: it may have been exchanged for a pipe in between.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) fail(path, "cannot open", errno);
  struct stat status;
  try {
    if (fstat(descriptor, &status) != 0) fail(path, "cannot open", errno);
    require_regular(path, status);
  } catch (...) {
    close(descriptor);
    throw;
  }
  return descriptor;
}

void read_regular_file(const std::string& path, const std::function<void(const char*, std::size_t)>& take) {
  const int descriptor = open_regular_file(path);
  try {
    std::vector<char> buffer(std::size_t{1} << 18);
    for (;;) {
      const ssize_t bytes = read(descriptor, buffer.data(), buffer.size());
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes < 0) fail(path, "cannot read", errno);
      if (bytes == 0) break;
      take(buffer.data(), static_cast<std::size_t>(bytes));
    }
  } catch (...) {
    close(descriptor);
    throw;
  }
  close(descriptor);
}

std::string read_text_file(const std::string& path) {
  std::string text;
  read_regular_file(path, [&](const char* bytes, std::size_t count) { text.append(bytes, count); });
  return text;
}

}  // namespace e2enet
