#include "image/formats/nifti/nifti_reader.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/checked_size.h"
#include "base/input_file.h"
#include "e2enet/error.h"
#include "e2enet/files.h"

namespace e2enet::imaging {
namespace {

constexpr std::int64_t kBufferBytes = std::int64_t{1} << 20;
// Deflate cannot shrink by more than this factor, so a header that claims more than the file could ever give is refused
// before memory is asked for.
constexpr std::int64_t kLargestDeflateRatio = 1040;
// How much may follow the voxels and still be read to reach the checksum.
constexpr std::int64_t kLongestTrailer = std::int64_t{64} << 20;

bool is_file(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

// The other half of a pair: the likeliest of the names that exist.
std::string partner(const std::string& path) {
  const std::vector<std::string> candidates = partner_candidates(path);
  const auto found = std::find_if(candidates.begin(), candidates.end(), is_file);
  return found == candidates.end() ? candidates.front() : *found;
}

template <typename Stored>
void convert(const unsigned char* bytes, std::int64_t count, bool scaled, double slope, double intercept, float* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, bytes + static_cast<std::size_t>(i) * sizeof(Stored), sizeof(Stored));
    out[i] = scaled ? static_cast<float>(static_cast<double>(value) * slope + intercept) : static_cast<float>(value);
  }
}

void convert(const NiftiHeader& header, const unsigned char* bytes, std::int64_t count, float* out) {
  const auto run = [&](auto example) {
    convert<decltype(example)>(bytes, count, header.scaled, header.slope, header.intercept, out);
  };
  switch (header.type) {
    case StoredType::uint8:
      return run(std::uint8_t{});
    case StoredType::int16:
      return run(std::int16_t{});
    case StoredType::int32:
      return run(std::int32_t{});
    case StoredType::float32:
      return run(float{});
    case StoredType::float64:
      return run(double{});
    case StoredType::int8:
      return run(std::int8_t{});
    case StoredType::uint16:
      return run(std::uint16_t{});
    case StoredType::uint32:
      return run(std::uint32_t{});
    case StoredType::int64:
      return run(std::int64_t{});
    case StoredType::uint64:
      return run(std::uint64_t{});
  }
}

}  // namespace

// A file's bytes, gunzipped where its content is gzip.
class ImageReader::ByteStream {
 public:
  explicit ByteStream(const std::string& path) : path_(path) {
    const int descriptor = open_regular_file(path);
    struct stat status;
    if (fstat(descriptor, &status) != 0) {
      const int error = errno;
      close(descriptor);
      throw Error(ErrorCode::cannot_read, path + ": cannot open: " + std::strerror(error));
    }
    size_ = status.st_size;
    changed_ = status.st_mtim;
    file_ = gzdopen(descriptor, "rb");
    if (!file_) {
      close(descriptor);
      throw Error(ErrorCode::out_of_memory, path + ": no memory to read it");
    }
    descriptor_ = descriptor;
    gzbuffer(file_, 1 << 18);
    gzipped_ = gzdirect(file_) == 0;
  }
  ~ByteStream() { gzclose(file_); }
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  const std::string& path() const { return path_; }

  // The most bytes that the file can hold once unpacked.
  std::int64_t capacity() const { return gzipped_ ? size_ * kLargestDeflateRatio : size_; }
  bool gzipped() const { return gzipped_; }

  // Reads up to `count` bytes at `offset`; returns how many were there.
  std::int64_t read(std::int64_t offset, unsigned char* out, std::int64_t count) {
    if (offset != position_) {
      check_unchanged();
      gzclearerr(file_);
      if (gzseek(file_, static_cast<z_off_t>(offset), SEEK_SET) != static_cast<z_off_t>(offset)) {
        fail("cannot go to byte " + std::to_string(offset));
      }
      position_ = offset;
    }
    std::int64_t done = 0;
    while (done < count) {
      const unsigned wanted = static_cast<unsigned>(std::min<std::int64_t>(count - done, 1 << 30));
      const int got = gzread(file_, out + done, wanted);
      if (got < 0) {
        position_ = -1;
        fail("cannot read after " + std::to_string(offset + done) + " bytes");
      }
      if (got == 0) break;
      done += got;
    }
    position_ += done;
    return done;
  }

  // Why a read came back short.
  std::string why_short() const {
    check_unchanged();
    int error = Z_OK;
    gzerror(file_, &error);
    return error == Z_BUF_ERROR ? "the gzip stream is cut short" : "the file is cut short";
  }

  // Reads what follows the current position, which makes zlib compare the stream's checksum.
  void check_end() {
    check_unchanged();
    if (!gzipped_) return;
    unsigned char rest[4096];
    for (std::int64_t seen = 0; seen < kLongestTrailer;) {
      const int got = gzread(file_, rest, sizeof rest);
      if (got < 0) {
        position_ = -1;
        fail("damaged after the last voxel");
      }
      if (got == 0) {
        int error = Z_OK;
        gzerror(file_, &error);
        if (error == Z_BUF_ERROR) fail("damaged after the last voxel");
        break;
      }
      seen += got;
      position_ += got;
    }
  }

  void check_unchanged() const {
    struct stat status;
    if (fstat(descriptor_, &status) != 0 || status.st_size != size_ || status.st_mtim.tv_sec != changed_.tv_sec ||
        status.st_mtim.tv_nsec != changed_.tv_nsec) {
      throw Error(ErrorCode::invalid_image, path_ +
                                                ": size and modification time: expected those of when the file was " +
                                                "opened, found others: it changed while it was read");
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    int error = Z_OK;
    const int system_error = errno;
    check_unchanged();  // the better explanation
    const char* reason = gzerror(file_, &error);
    const std::string why = error == Z_ERRNO       ? std::strerror(system_error)
                            : error == Z_BUF_ERROR ? "the gzip stream is cut short"
                                                   : std::string("gzip: ") + (reason && *reason ? reason : "damaged");
    throw Error(ErrorCode::cannot_read, path_ + ": " + what + ": " + why);
  }

  std::string path_;
  gzFile file_ = nullptr;
  int descriptor_ = -1;  // owned by file_
  bool gzipped_ = false;
  std::int64_t size_ = 0;
  struct timespec changed_ {};
  std::int64_t position_ = 0;  // in unpacked bytes
};

ImageReader::ImageReader(const std::string& path) : path_(path) {
  const ImageName name = parse_image_name(path);
  const bool pair = name.pair();
  if (name.kind == NameKind::none) {
    throw Error(ErrorCode::invalid_image,
                path + ": file name: expected the ending .nii, .nii.gz, .hdr or .img, found another");
  }
  const std::string header_path = name.kind == NameKind::data ? partner(path) : path;
  data_ = std::make_unique<ByteStream>(header_path);
  unsigned char bytes[kNifti2HeaderBytes + 4];  // four more say whether extensions follow
  const std::int64_t got = data_->read(0, bytes, sizeof bytes);
  header_ = parse_nifti_header(bytes, static_cast<std::size_t>(got), header_path);
  if (header_.separate_data != pair) {
    throw Error(ErrorCode::invalid_image,
                header_path + ": magic: expected that of " +
                    (pair ? "a header with a separate .img file, found that of a single .nii file"
                          : "a single .nii file, found that of a header with a separate .img file"));
  }
  if (pair) data_ = std::make_unique<ByteStream>(name.kind == NameKind::header ? partner(path) : path);

  const std::int64_t needed = header_.voxel_offset + header_.data_bytes();
  if (needed > data_->capacity()) {
    const Shape& s = header_.shape;
    throw Error(ErrorCode::cannot_read,
                data_->path() + ": voxel data: expected " + std::to_string(needed) + " bytes (" + std::to_string(s[2]) +
                    " x " + std::to_string(s[1]) + " x " + std::to_string(s[0]) + " voxels of " +
                    std::to_string(bytes_of(header_.type)) + " bytes after byte " +
                    std::to_string(header_.voxel_offset) + "), found " +
                    (data_->gzipped() ? "a gzip file that cannot hold as many"
                                      : std::to_string(data_->capacity()) + ": the file is cut short"));
  }
  geometry_ = header_.geometry();
}

ImageReader::~ImageReader() = default;

void ImageReader::read_bytes(std::int64_t first_voxel, std::int64_t voxels, unsigned char* out) {
  const std::int64_t voxel_bytes = static_cast<std::int64_t>(bytes_of(header_.type));
  const std::int64_t offset = header_.voxel_offset + first_voxel * voxel_bytes;
  const std::int64_t got = data_->read(offset, out, voxels * voxel_bytes);
  if (got < voxels * voxel_bytes) {
    throw Error(ErrorCode::cannot_read, data_->path() + ": voxel data: expected " +
                                            std::to_string(header_.voxel_offset + header_.data_bytes()) +
                                            " bytes, found " + std::to_string(offset + got) + ": " +
                                            data_->why_short());
  }
  if (header_.swapped) swap_bytes(header_.type, out, voxels);
}

void ImageReader::read(std::int64_t begin, std::int64_t end, float* out) {
  const std::int64_t voxel_bytes = static_cast<std::int64_t>(bytes_of(header_.type));
  const std::int64_t first = begin * slice_size(), last = end * slice_size();
  if (kept_.size() > 0) {
    unsigned char* kept = reinterpret_cast<unsigned char*>(kept_.data());
    if (kept_slices_ < end) {
      const std::int64_t known = kept_slices_ * slice_size();
      read_bytes(known, last - known, kept + known * voxel_bytes);
      kept_slices_ = end;
      if (end == shape()[0]) data_->check_end();
      data_->check_unchanged();
    }
    convert(header_, kept + first * voxel_bytes, last - first, out);
    return;
  }
  buffer_.resize(static_cast<std::size_t>(std::min(kBufferBytes, (last - first) * voxel_bytes)));
  for (std::int64_t voxel = first; voxel < last;) {
    const std::int64_t count = std::min(last - voxel, kBufferBytes / voxel_bytes);
    read_bytes(voxel, count, buffer_.data());
    convert(header_, buffer_.data(), count, out + (voxel - first));
    voxel += count;
  }
  if (end == shape()[0] && begin < end) data_->check_end();
  data_->check_unchanged();
}

void ImageReader::keep() {
  if (kept_.size() > 0) return;
  kept_ = AlignedBuffer(checked_size(path_.c_str(), header_.data_bytes()), path_.c_str());
  kept_slices_ = 0;
}

void ImageReader::forget() {
  kept_ = AlignedBuffer();
  kept_slices_ = 0;
}

// Labels that other programs saved with a scale factor come back as 0.99998 or 2.0003: still these labels.
constexpr float kLabelRounding = 0.01F;

LabelImage read_labels(const std::string& path) {
  ImageReader reader(path);
  LabelImage image;
  image.header = reader.header();
  image.geometry = reader.geometry();
  const std::int64_t size = reader.slice_size();
  AlignedBuffer buffer(static_cast<std::size_t>(size) * sizeof(float), path.c_str());
  float* slice = reinterpret_cast<float*>(buffer.data());
  for (std::int64_t d = 0; d < reader.shape()[0]; ++d) {
    reader.read(d, d + 1, slice);
    for (std::int64_t i = 0; i < size; ++i) {
      const float value = slice[i];
      const float whole = std::round(value);
      if (!(std::fabs(value - whole) <= kLabelRounding && whole >= 0 && whole <= 65535)) {
        throw Error(ErrorCode::invalid_image, path + ": voxel (" + std::to_string(i % reader.shape()[2]) + ", " +
                                                  std::to_string(i / reader.shape()[2]) + ", " + std::to_string(d) +
                                                  "): expected a label (a whole number from 0 to 65535), found " +
                                                  std::to_string(value));
      }
      image.labels.push_back(static_cast<std::uint16_t>(whole));
    }
  }
  return image;
}

}  // namespace e2enet::imaging
