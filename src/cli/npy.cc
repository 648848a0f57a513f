// The format: six bytes of magic, two of version, the length of the header (2 bytes in version 1, 4 in 2 and 3, little
// endian), the header - a Python dictionary with 'descr', 'fortran_order' and 'shape' - and the values.
#include "cli/npy.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>

#include "cli/text.h"
#include "e2enet/error.h"
#include "e2enet/files.h"

namespace e2enet::cli {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr std::size_t kMagicSize = 6;
constexpr std::size_t kLargestHeader = 1 << 16;

[[noreturn]] void fail(ErrorCode code, const std::string& path, const std::string& what) {
  throw Error(code, path + ": " + what);
}

// A reader of the header's dictionary literal: strings, True and False, tuples of integers. Nothing is evaluated.
class HeaderReader {
 public:
  HeaderReader(const std::string& text, const std::string& path) : text_(text), path_(path) {}

  void read(std::string& type, bool& fortran_order, std::vector<std::int64_t>& shape) {
    bool has_type = false, has_order = false, has_shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !has_type) {
        if (peek() == '[') fail(ErrorCode::invalid_image, path_, "expected float32 values, found a structured type");
        type = string();
        has_type = true;
      } else if (key == "fortran_order" && !has_order) {
        fortran_order = boolean();
        has_order = true;
      } else if (key == "shape" && !has_shape) {
        shape = tuple();
        has_shape = true;
      } else {
        refuse("an unknown or repeated key '" + key + "'");
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    if (!has_type || !has_order || !has_shape) refuse("no 'descr', 'fortran_order' or 'shape'");
    skip_space();
    if (at_ != text_.size()) refuse("text after the dictionary");
  }

 private:
  [[noreturn]] void refuse(const std::string& found) const {
    fail(ErrorCode::invalid_image, path_, "header: expected the dictionary of a .npy file, found " + found);
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) refuse(std::string("no '") + c + "' at byte " + std::to_string(at_));
  }
  std::string string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') refuse("no text at byte " + std::to_string(at_));
    const std::size_t begin = ++at_;
    while (at_ < text_.size() && text_[at_] != quote) ++at_;
    if (at_ == text_.size()) refuse("text without end");
    return text_.substr(begin, at_++ - begin);
  }
  bool boolean() {
    skip_space();
    for (const bool value : {true, false}) {
      const std::string word = value ? "True" : "False";
      if (text_.compare(at_, word.size(), word) == 0) {
        at_ += word.size();
        return value;
      }
    }
    refuse("no True or False at byte " + std::to_string(at_));
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> values;
    expect('(');
    while (!take(')')) {
      skip_space();
      std::int64_t value = 0;
      std::size_t digits = 0;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
        if (++digits > 18) refuse("a number too large in 'shape'");
        value = value * 10 + (text_[at_++] - '0');
      }
      if (digits == 0) refuse("no number at byte " + std::to_string(at_));
      values.push_back(value);
      if (values.size() > 32) refuse("more than 32 axes");
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return values;
  }

  const std::string& text_;
  const std::string& path_;
  std::size_t at_ = 0;
};

}  // namespace

FloatArray read_npy(const std::string& path) {
  require_regular_file(path);
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) fail(ErrorCode::cannot_read, path, std::string("cannot be opened: ") + std::strerror(errno));
  const auto size = static_cast<std::int64_t>(file.tellg());
  file.seekg(0);
  std::array<unsigned char, 12> start{};
  const auto read = [&](void* to, std::size_t bytes) {
    return static_cast<bool>(file.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes)));
  };
  if (size < 10 || !read(start.data(), 10) || std::memcmp(start.data(), kMagic, kMagicSize) != 0) {
    fail(ErrorCode::invalid_image, path, "expected a .npy file, found something else");
  }
  const int version = start[6];
  if (version < 1 || version > 3) {
    fail(ErrorCode::invalid_image, path, "format version: expected 1 to 3, found " + std::to_string(version));
  }
  std::size_t header_size = start[8] + (std::size_t{start[9]} << 8);
  if (version > 1) {
    if (!read(start.data() + 10, 2)) fail(ErrorCode::invalid_image, path, "cut short within the header");
    header_size += (std::size_t{start[10]} << 16) + (std::size_t{start[11]} << 24);
  }
  const std::size_t data_at = (version > 1 ? 12 : 10) + header_size;
  if (header_size > kLargestHeader || static_cast<std::int64_t>(data_at) > size) {
    fail(ErrorCode::invalid_image, path, "header of " + std::to_string(header_size) + " bytes: the file is cut short");
  }
  std::string header(header_size, '\0');
  if (!read(header.data(), header_size)) fail(ErrorCode::cannot_read, path, "cannot be read");

  std::string type;
  bool fortran_order = false;
  FloatArray array;
  HeaderReader(header, path).read(type, fortran_order, array.shape);
  if (type != "<f4") {
    fail(
        ErrorCode::invalid_image, path,
        "type: expected float32 ('<f4'), found '" + type + "'; convert with numpy.save(path, array.astype('float32'))");
  }
  if (fortran_order) {
    fail(ErrorCode::invalid_image, path,
         "order of values: expected C, found Fortran; convert with numpy.save(path, numpy.ascontiguousarray(array))");
  }
  // Nothing is allocated before the file is known to hold it.
  const std::int64_t available = (size - static_cast<std::int64_t>(data_at)) / 4;
  std::int64_t count = 1;
  for (const std::int64_t extent : array.shape) {
    if (extent != 0 && count > std::numeric_limits<std::int64_t>::max() / 8 / extent) {
      fail(ErrorCode::invalid_image, path, "shape " + shape_text(array.shape) + ": too large");
    }
    count *= extent;
  }
  if (count != available || (size - static_cast<std::int64_t>(data_at)) % 4 != 0) {
    fail(ErrorCode::invalid_image, path,
         "shape " + shape_text(array.shape) + ": expected " + std::to_string(count * 4) + " bytes of values, found " +
             std::to_string(size - static_cast<std::int64_t>(data_at)));
  }
  try {
    if (static_cast<std::uint64_t>(count) > array.values.max_size()) throw std::bad_alloc();
    array.values.resize(static_cast<std::size_t>(count));
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::out_of_memory, path, "no memory for " + bytes_text(count * 4));
  }
  if (!read(array.values.data(), array.values.size() * 4)) fail(ErrorCode::cannot_read, path, "cannot be read");
  return array;
}

void write_npy(const std::string& path, const std::vector<std::int64_t>& shape, const float* values) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  std::size_t count = 1;
  for (const std::int64_t extent : shape) {
    header += std::to_string(extent) + ", ";
    count *= static_cast<std::size_t>(extent);
  }
  if (shape.size() > 1) header.resize(header.size() - 2);
  header += "), }";
  // Values start at a multiple of 64 bytes, so that they can be mapped.
  const std::size_t unpadded = kMagicSize + 4 + header.size() + 1;
  header += std::string((64 - unpadded % 64) % 64, ' ') + "\n";
  std::string start(kMagic, kMagicSize);
  start += {'\x01', '\x00', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  OutputFile file(path);
  file.write(start.data(), start.size());
  file.write(header.data(), header.size());
  file.write(values, count * sizeof(float));
  file.commit();
}

}  // namespace e2enet::cli
