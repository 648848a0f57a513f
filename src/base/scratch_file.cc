#include "base/scratch_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "e2enet/error.h"
#include "e2enet/files.h"

namespace e2enet {
namespace {

constexpr std::size_t kPending = 1 << 16;

}  // namespace

ScratchFile::ScratchFile(const std::string& beside) : beside_(beside) {
  const std::string behind = file_behind(beside);
  const std::size_t slash = behind.rfind('/');
  // A template for mkstemp, whose name is taken away at once.
  std::string name = (slash == std::string::npos ? "" : behind.substr(0, slash + 1)) + ".e2enet-XXXXXX";
  descriptor_ = mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) fail("cannot create a file in its folder", errno);
  unlink(name.c_str());
  pending_.reserve(kPending);
}

ScratchFile::~ScratchFile() { close(descriptor_); }

std::int64_t ScratchFile::append(const void* data, std::size_t bytes) {
  const std::int64_t place = written_ + static_cast<std::int64_t>(pending_.size());
  const auto* from = static_cast<const unsigned char*>(data);
  while (bytes > 0) {
    const std::size_t taken = std::min(bytes, kPending - pending_.size());
    pending_.insert(pending_.end(), from, from + taken);
    from += taken;
    bytes -= taken;
    if (pending_.size() == kPending) flush();
  }
  return place;
}

void ScratchFile::flush() {
  for (std::size_t at = 0; at < pending_.size();) {
    const ssize_t put = pwrite(descriptor_, pending_.data() + at, pending_.size() - at, static_cast<off_t>(written_));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) fail("cannot write", put < 0 ? errno : EIO);
    at += static_cast<std::size_t>(put);
    written_ += put;
  }
  pending_.clear();
}

void ScratchFile::read(std::int64_t place, std::size_t bytes, void* out) {
  flush();
  auto* to = static_cast<unsigned char*>(out);
  while (bytes > 0) {
    const ssize_t got = pread(descriptor_, to, bytes, static_cast<off_t>(place));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail("cannot read what was written beside it", got < 0 ? errno : EIO);
    place += got;
    to += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

void ScratchFile::fail(const std::string& action, int error) const {
  throw Error(ErrorCode::cannot_write, beside_ + ": " + action + ": " + std::strerror(error));
}

}  // namespace e2enet
