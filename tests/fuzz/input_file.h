// The fuzzer's bytes as a file, since the readers take paths. One a process, rewritten for every input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "support/temporary_folder.h"

namespace e2enet::test {

class InputFile {
 public:
  explicit InputFile(const std::string& name) : path_(folder_.file(name)) {}
  const std::string& path() const { return path_; }

  void write(const std::uint8_t* bytes, std::size_t size) const {
    std::FILE* file = std::fopen(path_.c_str(), "wb");
    if (!file || std::fwrite(bytes, 1, size, file) != size || std::fclose(file) != 0) std::abort();
  }

 private:
  TemporaryFolder folder_;
  std::string path_;
};

}  // namespace e2enet::test
