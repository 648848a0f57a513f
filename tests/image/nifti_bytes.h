// Builds the bytes of NIfTI files field by field, so that tests can lie in any of them.
#pragma once

#include <nifti/nifti1.h>
#include <nifti/nifti2.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace e2enet::test {

// A folder that goes away with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int counter = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("e2enet-test-" + std::to_string(getpid()) + "-" + std::to_string(counter++));
    std::filesystem::create_directory(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all, ignored);
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::size_t files() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) ++count;
    return count;
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

inline void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw std::runtime_error("cannot write " + path);
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::string gzipped(const std::string& bytes) {
  z_stream stream;
  std::memset(&stream, 0, sizeof stream);
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, static_cast<uLong>(bytes.size())) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(&out[0]);
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// The bytes of a field at a given place, in either byte order.
template <typename T>
void put(std::string& bytes, std::size_t at, T value, bool swapped = false) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  if (swapped) std::reverse(raw, raw + sizeof(T));
  std::copy(raw, raw + sizeof(T), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

// Puts a value into the field of this name of a NIfTI-1 or NIfTI-2 header, in the field's own type.
class HeaderBytes {
 public:
  HeaderBytes(int version, bool swapped) : version_(version), swapped_(swapped) {
    bytes_.assign(version == 1 ? 348 : 540, '\0');
    set("sizeof_hdr", version == 1 ? 348 : 540);
    set_magic(version == 1 ? std::string("n+1\0", 4) : std::string("n+2\0\r\n\032\n", 8));
    for (int axis = 0; axis < 8; ++axis) {
      set("dim", 1, axis);
      set("pixdim", 1, axis);
    }
    set("dim", 3, 0);
    set("vox_offset", version == 1 ? 352 : 544);
  }

  HeaderBytes& shape(int i, int j, int k) {
    set("dim", i, 1);
    set("dim", j, 2);
    return set("dim", k, 3);
  }
  HeaderBytes& type(int code, int bits) {
    set("datatype", code);
    return set("bitpix", bits);
  }
  HeaderBytes& set_magic(const std::string& magic) {
    const std::size_t at = version_ == 1 ? offsetof(nifti_1_header, magic) : offsetof(nifti_2_header, magic);
    std::copy(magic.begin(), magic.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at));
    return *this;
  }

  HeaderBytes& set(const std::string& field, double value, int element = 0) {
#define E2ENET_FIELD(name, type1, type2)                                                              \
  if (field == #name) {                                                                               \
    if (version_ == 1) {                                                                              \
      put(bytes_, offsetof(nifti_1_header, name) + static_cast<std::size_t>(element) * sizeof(type1), \
          static_cast<type1>(value), swapped_);                                                       \
    } else {                                                                                          \
      put(bytes_, offsetof(nifti_2_header, name) + static_cast<std::size_t>(element) * sizeof(type2), \
          static_cast<type2>(value), swapped_);                                                       \
    }                                                                                                 \
    return *this;                                                                                     \
  }
    E2ENET_FIELD(sizeof_hdr, std::int32_t, std::int32_t)
    E2ENET_FIELD(dim, std::int16_t, std::int64_t)
    E2ENET_FIELD(datatype, std::int16_t, std::int16_t)
    E2ENET_FIELD(bitpix, std::int16_t, std::int16_t)
    E2ENET_FIELD(pixdim, float, double)
    E2ENET_FIELD(vox_offset, float, std::int64_t)
    E2ENET_FIELD(scl_slope, float, double)
    E2ENET_FIELD(scl_inter, float, double)
    E2ENET_FIELD(qform_code, std::int16_t, std::int32_t)
    E2ENET_FIELD(sform_code, std::int16_t, std::int32_t)
    E2ENET_FIELD(quatern_b, float, double)
    E2ENET_FIELD(quatern_c, float, double)
    E2ENET_FIELD(quatern_d, float, double)
    E2ENET_FIELD(qoffset_x, float, double)
    E2ENET_FIELD(qoffset_y, float, double)
    E2ENET_FIELD(qoffset_z, float, double)
    E2ENET_FIELD(srow_x, float, double)
    E2ENET_FIELD(srow_y, float, double)
    E2ENET_FIELD(srow_z, float, double)
    E2ENET_FIELD(xyzt_units, char, std::int32_t)
#undef E2ENET_FIELD
    throw std::runtime_error("no such field in the test's header: " + field);
  }

  const std::string& bytes() const { return bytes_; }
  // A whole .nii file: header, no extensions, data.
  std::string file(const std::string& data) const { return bytes_ + std::string(4, '\0') + data; }

 private:
  int version_;
  bool swapped_;
  std::string bytes_;
};

// Values as stored bytes.
template <typename T>
std::string stored(const std::vector<T>& values, bool swapped = false) {
  std::string bytes(values.size() * sizeof(T), '\0');
  for (std::size_t i = 0; i < values.size(); ++i) put(bytes, i * sizeof(T), values[i], swapped);
  return bytes;
}

}  // namespace e2enet::test
