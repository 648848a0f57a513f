#include "image/formats/nifti/nifti_writer.h"

#include <algorithm>
#include <optional>

#include "base/atomic_file.h"
#include "e2enet/error.h"
#include "e2enet/files.h"
#include "image/formats/gzip_writer.h"

namespace e2enet::imaging {
namespace {

constexpr std::int64_t kVoxelsAtOnce = std::int64_t{1} << 18;

}  // namespace

struct ImageWriter::Output {
  Output(const std::string& path, bool zipped, int threads) : file(path) {
    if (zipped) gzip.emplace(file, threads);
  }
  void write(const void* bytes, std::size_t count) {
    if (gzip) {
      gzip->write(bytes, count);
    } else {
      file.write(bytes, count);
    }
  }
  void commit() {
    if (gzip) gzip->finish();
    file.commit();
  }

  AtomicFile file;
  std::optional<GzipWriter> gzip;
  std::unique_ptr<Output> header;  // of a pair: complete, waits for the voxels' commit
};

ImageWriter::ImageWriter(const std::string& path, const NiftiHeader& like, StoredType type, std::int64_t volumes,
                         int threads)
    : type_(type), missing_(like.shape[0] * like.shape[1] * like.shape[2] * volumes) {
  const ImageName name = parse_image_name(path);
  if (name.kind == NameKind::none) {
    throw Error(ErrorCode::cannot_write,
                path + ": file name: expected the ending .nii, .nii.gz, .hdr or .img, found another");
  }
  NiftiHeader header = like;
  header.separate_data = name.pair();
  const std::vector<unsigned char> bytes = serialise_nifti_header(header, type, volumes);
  const std::vector<std::string> files = written_files(path);
  output_ = std::make_unique<Output>(files[0], name.zipped, threads);
  if (!name.pair()) {
    output_->write(bytes.data(), bytes.size());
    return;
  }
  output_->header = std::make_unique<Output>(files[1], name.zipped, threads);
  output_->header->write(bytes.data(), bytes.size());
}

ImageWriter::~ImageWriter() = default;
ImageWriter::ImageWriter(ImageWriter&&) noexcept = default;

void ImageWriter::append(const std::uint16_t* labels, std::int64_t count) {
  if (type_ != StoredType::uint8 && type_ != StoredType::int16) {
    throw Error(ErrorCode::internal, "labels appended to an image of real numbers");
  }
  const std::uint16_t largest = type_ == StoredType::uint8 ? 255 : 32767;
  for (std::int64_t at = 0; at < count; at += kVoxelsAtOnce) {
    const std::int64_t part = std::min(kVoxelsAtOnce, count - at);
    const std::uint16_t* from = labels + at;
    if (*std::max_element(from, from + part) > largest) {
      throw Error(ErrorCode::internal, output_->file.path() + ": a label above " + std::to_string(largest));
    }
    if (type_ == StoredType::uint8) {
      buffer_.resize(static_cast<std::size_t>(part));
      std::transform(from, from + part, buffer_.begin(), [](std::uint16_t v) { return static_cast<unsigned char>(v); });
      append_bytes(buffer_.data(), part);
    } else {
      append_bytes(from, part);  // values up to 32767 are the same bits in int16
    }
  }
}

void ImageWriter::append(const std::uint8_t* labels, std::int64_t count) {
  if (type_ == StoredType::uint8) return append_bytes(labels, count);
  std::vector<std::uint16_t> wide(static_cast<std::size_t>(std::min(count, kVoxelsAtOnce)));
  for (std::int64_t at = 0; at < count; at += kVoxelsAtOnce) {
    const std::int64_t part = std::min(kVoxelsAtOnce, count - at);
    std::copy(labels + at, labels + at + part, wide.begin());
    append(wide.data(), part);
  }
}

void ImageWriter::append(const float* values, std::int64_t count) {
  if (type_ != StoredType::float32) throw Error(ErrorCode::internal, "real numbers appended to an image of labels");
  append_bytes(values, count);
}

void ImageWriter::append_bytes(const void* bytes, std::int64_t count) {
  if (count > missing_) throw Error(ErrorCode::internal, output_->file.path() + ": more voxels than the image has");
  missing_ -= count;
  output_->write(bytes, static_cast<std::size_t>(count) * bytes_of(type_));
}

void ImageWriter::commit() {
  if (missing_ != 0) {
    throw Error(ErrorCode::internal, output_->file.path() + ": " + std::to_string(missing_) + " voxels are missing");
  }
  output_->commit();
  if (output_->header) output_->header->commit();
}

StoredType label_type(int largest) { return largest > 255 ? StoredType::int16 : StoredType::uint8; }

}  // namespace e2enet::imaging
