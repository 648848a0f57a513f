// The bytes of a DICOM file, read where they are asked for; and what they claim, checked before a parser sees them.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace e2enet::imaging::dicom {

struct Tag {
  std::uint16_t group = 0, element = 0;
  bool operator==(const Tag& other) const { return group == other.group && element == other.element; }
};
constexpr Tag kPixelData{0x7fe0, 0x0010};

// "(0020,0032)"
std::string text(const Tag& tag);

// What tells whether a file is still the one that was looked at.
struct FileState {
  std::int64_t size = 0;
  std::int64_t seconds = 0, nanoseconds = 0;  // of the last modification
  bool operator==(const FileState& other) const {
    return size == other.size && seconds == other.seconds && nanoseconds == other.nanoseconds;
  }
};

// An open file. Throws Error (cannot_read) naming it.
class DicomBytes {
 public:
  explicit DicomBytes(const std::string& path);
  ~DicomBytes();
  DicomBytes(const DicomBytes&) = delete;
  DicomBytes& operator=(const DicomBytes&) = delete;

  const std::string& path() const { return path_; }
  FileState state() const;

  // Of what can be read: once inflated, that is more than the file has.
  std::int64_t size() const { return inflated_from_ < 0 ? file_size_ : inflated_from_ + inflated_size(); }
  // Bytes [offset, offset + count). Throws where they are not there: the file is cut short.
  void read(std::int64_t offset, std::size_t count, unsigned char* out);

  // What follows `offset` is a deflated data set: from here on its inflated bytes are what is there. They are held in
  // memory; more than 1 GiB is refused.
  void inflate(std::int64_t offset);

 private:
  std::int64_t inflated_size() const { return static_cast<std::int64_t>(inflated_.size()); }
  void read_file(std::int64_t offset, std::size_t count, unsigned char* out);

  std::string path_;
  int descriptor_ = -1;
  std::int64_t file_size_ = 0;
  std::vector<unsigned char> window_;  // file bytes from window_offset_ on: headers are read a few bytes at a time
  std::int64_t window_offset_ = 0;
  std::int64_t inflated_from_ = -1;
  std::vector<unsigned char> inflated_;
};

struct Fragment {
  std::int64_t offset = 0, length = 0;
};

// Where a file's parts lie.
struct Structure {
  std::string transfer_syntax;  // its UID
  bool explicit_vr = true, big_endian = false;
  std::int64_t data_set = 0;    // where it begins
  std::int64_t header_end = 0;  // where its pixel data's tag is, or its end
  bool pixels = false;
  bool encapsulated = false;
  Fragment native;                  // pixel data that are not encapsulated
  bool words = false;               // which are OW
  std::vector<Fragment> fragments;  // of encapsulated pixel data, without the offset table
  std::vector<std::uint32_t> offset_table;
};

// Whether the bytes begin as a DICOM file does: with "DICM" after a preamble, or, as very old files do, at once with a
// data set's first group.
bool begins_as_dicom(DicomBytes& bytes);

// Goes through all elements of the file. DCMTK's parser reads strangers' files by recursion and takes memory as the
// file tells it to; so what reaches it has at most 32 nested sequences, 4 million elements, 256 MiB before the pixel
// data, and no length beyond the end of what holds it. Throws Error (cannot_read where the file is cut short,
// invalid_image) naming the file and the tag. Inflates what is deflated.
Structure check_structure(DicomBytes& bytes);

}  // namespace e2enet::imaging::dicom
