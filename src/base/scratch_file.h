// Bytes that wait on disk instead of in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace e2enet {

// A file without a name, in the folder of `beside`: the system removes it when it is closed, however the process ends.
// Bytes are appended, and any of them can be read again.
//
//   ScratchFile scratch("labels.dcm");
//   const std::int64_t place = scratch.append(bytes, count);
//   scratch.read(place, count, bytes);
//
// All functions throw Error (cannot_write) naming `beside`.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& beside);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  // Returns where the bytes begin.
  std::int64_t append(const void* data, std::size_t bytes);
  void read(std::int64_t place, std::size_t bytes, void* out);

 private:
  void flush();
  [[noreturn]] void fail(const std::string& action, int error) const;

  std::string beside_;
  int descriptor_ = -1;
  std::int64_t written_ = 0;  // what is in pending_ comes after it
  std::vector<unsigned char> pending_;
};

}  // namespace e2enet
