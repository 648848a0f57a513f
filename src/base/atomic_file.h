// A file that appears under its name complete or not at all.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

namespace e2enet {

// Writes to a temporary file in the same folder; commit() flushes it to the disk and renames it to `path`, replacing what
// was there. Destroyed without commit, it removes the temporary file. All functions throw Error (cannot_write).
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void commit();

  // For a library that writes the file itself: it may open this name; commit() then renames what it left there.
  const std::string& temporary_path() const { return temporary_path_; }

 private:
  [[noreturn]] void fail(const char* doing) const;

  std::string path_;
  std::string temporary_path_;
  std::FILE* file_ = nullptr;
  bool committed_ = false;
};

}  // namespace e2enet
