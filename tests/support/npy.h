// Reads the .npy and .npy.gz arrays of the golden vectors. C order, little endian; values come back as the type asked
// for.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace e2enet::test {

template <typename T>
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<T> values;
};

template <typename T>
Array<T> read_npy(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");  // reads plain files as well
  if (!file) throw std::runtime_error("cannot open " + path);
  std::string bytes;
  char buffer[1 << 16];
  for (int got; (got = gzread(file, buffer, sizeof buffer)) > 0;) bytes.append(buffer, static_cast<std::size_t>(got));
  gzclose(file);
  if (bytes.compare(0, 6, "\x93NUMPY") != 0) throw std::runtime_error(path + " is no .npy file");
  const std::size_t header_at = bytes[6] == 1 ? 10 : 12;
  std::uint32_t header_size = 0;
  std::memcpy(&header_size, bytes.data() + 8, header_at - 8);
  const std::string header = bytes.substr(header_at, header_size);
  if (header.find("'fortran_order': False") == std::string::npos) throw std::runtime_error(path + ": not in C order");

  Array<T> array;
  std::size_t count = 1;
  const std::size_t shape_end = header.find(')', header.find("'shape'"));
  for (std::size_t at = header.find('(', header.find("'shape'")) + 1; at < shape_end;) {
    std::size_t used = 0;
    array.shape.push_back(std::stoll(header.substr(at), &used));
    count *= static_cast<std::size_t>(array.shape.back());
    at = header.find_first_of("0123456789)", at + used);
  }
  const std::string type = header.substr(header.find("'descr': '") + 10, 3);
  const char* data = bytes.data() + header_at + header_size;
  array.values.resize(count);
  const auto convert = [&](auto example) {
    using Stored = decltype(example);
    if (bytes.size() < header_at + header_size + count * sizeof(Stored))
      throw std::runtime_error(path + " is cut short");
    for (std::size_t i = 0; i < count; ++i) {
      Stored value;
      std::memcpy(&value, data + i * sizeof(Stored), sizeof(Stored));
      array.values[i] = static_cast<T>(value);
    }
  };
  if (type == "<f4")
    convert(float{});
  else if (type == "<f8")
    convert(double{});
  else if (type == "|u1" || type == "|b1")
    convert(std::uint8_t{});
  else if (type == "|i1")
    convert(std::int8_t{});
  else if (type == "<i2")
    convert(std::int16_t{});
  else if (type == "<u2")
    convert(std::uint16_t{});
  else if (type == "<i4")
    convert(std::int32_t{});
  else if (type == "<i8")
    convert(std::int64_t{});
  else
    throw std::runtime_error(path + ": type " + type + " is not known to the test's reader");
  return array;
}

}  // namespace e2enet::test
