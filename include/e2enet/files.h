// For programs around the library that treat files as it does: outputs that appear whole or not at all, inputs that are
// files, and what an image's name says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "e2enet/export.h"

namespace e2enet {

// A file that appears under its name only when it is complete: written beside it and renamed at commit(), so that a
// reader sees either the old content or all of the new. Without commit() nothing is left behind. Throws Error
// (cannot_write) naming the file.
class E2ENET_API OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(OutputFile&&) noexcept;
  OutputFile& operator=(OutputFile&&) noexcept;
  void write(const void* bytes, std::size_t count);
  void commit();

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

// All of one at once.
E2ENET_API void write_whole_file(const std::string& path, const void* bytes, std::size_t count);

// All of a small text file; regular files only. Throws Error (cannot_read) naming the file.
E2ENET_API std::string read_text_file(const std::string& path);

// Throws Error (cannot_read) naming the file where it is a device, a pipe or a folder, or does not exist: opening those
// can wait for ever.
E2ENET_API void require_regular_file(const std::string& path);

// SHA-256 (FIPS 180-4) of these bytes, 64 hexadecimal digits.
E2ENET_API std::string sha256_of(const std::string& bytes);

struct FileDigest {
  std::string sha256;  // as sha256_of()
  std::int64_t bytes = 0;
};

// Reads the file, a regular one. Throws Error: cannot_read, naming the file; cancelled, where `stop`, which is asked
// now and then if it is there, says so.
E2ENET_API FileDigest digest_of_file(const std::string& path, const std::function<bool()>& stop = {});

// The file that writing to `path` makes or replaces: all links followed, in its folder's real name. Nothing but folders
// has to exist; where even these do not, the missing part stays as it is.
E2ENET_API std::string file_behind(const std::string& path);

enum class NameKind { none, single, header, data };  // none: no image's name

struct ImageName {
  NameKind kind = NameKind::none;
  bool zipped = false;
  std::string stem;    // the path without the ending
  std::string ending;  // as it is written: ".nii.gz", ".IMG"

  bool pair() const { return kind == NameKind::header || kind == NameKind::data; }
};

E2ENET_API ImageName parse_image_name(const std::string& path);

// The files that writing an image to `path` makes: of a pair the data, then the header; else `path`.
E2ENET_API std::vector<std::string> written_files(const std::string& path);

// Where the other half of a pair may be, likeliest first: zipped or not, in the same or the other case of letters.
// Empty for what is no pair.
E2ENET_API std::vector<std::string> partner_candidates(const std::string& path);

}  // namespace e2enet
