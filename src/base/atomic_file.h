// A file that appears under its name only when it is complete.
#pragma once

#include <cstddef>
#include <string>

namespace e2enet {

// Writes into a temporary file in the destination's folder and renames it at commit(), so that a reader (or a user
// after a crash, a full disk or Ctrl-C) sees either the old content or all of the new. Without commit() nothing is left
// behind.
//
//   AtomicFile file("labels.nii");
//   file.write(bytes, count);
//   file.commit();
//
// All functions throw Error (cannot_write) naming the destination.
class AtomicFile {
 public:
  // An existing destination must be a regular file (or a link to one, which stays a link).
  explicit AtomicFile(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(const void* data, std::size_t bytes);
  void commit();

  const std::string& path() const { return path_; }

 private:
  [[noreturn]] void fail(const std::string& action, int error) const;

  std::string path_;       // as the caller named it, for messages
  std::string target_;     // the same with links resolved
  std::string temporary_;  // empty once committed
  int descriptor_ = -1;
};

}  // namespace e2enet
