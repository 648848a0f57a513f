// A file that appears under its name only when it is complete.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "e2enet/files.h"

namespace e2enet {

// Writes into a temporary file in the destination's folder and renames it at commit(), so that a reader (or a user
// after a crash, a full disk or Ctrl-C) sees either the old content or all of the new. Without commit() nothing is left
// behind.
//
//   AtomicFile file("labels.nii");
//   file.write(bytes, count);
//   file.commit();
//
// A file that is replaced keeps its permissions, and its owner and group where the system lets them be set; where the
// group cannot be kept, its members get what everybody gets. A new file has the permissions that the umask leaves.
// Where the destination is a symbolic link, the file that it leads to is written and the link stays, also where that
// file does not exist yet. Where it is one of several hard links, this name alone gets the new content.
//
// All functions throw Error (cannot_write) naming the destination.
class AtomicFile {
 public:
  // An existing destination must be a regular file (or a link to one).
  explicit AtomicFile(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(const void* data, std::size_t bytes);
  void commit();

  const std::string& path() const { return path_; }

 private:
  void keep_permissions();
  [[noreturn]] void fail(const std::string& action, int error) const;

  std::string path_;       // as the caller named it, for messages
  std::string target_;     // the same with links resolved
  std::string temporary_;  // empty once committed
  int descriptor_ = -1;
  bool replaces_ = false;  // the target exists, with these permissions and owners
  mode_t mode_ = 0;
  uid_t owner_ = 0;
  gid_t group_ = 0;
};

}  // namespace e2enet
