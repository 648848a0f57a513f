#include "image/formats/dicom/dicom_format.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/checked_size.h"
#include "e2enet/error.h"
#include "e2enet/files.h"
#include "e2enet/version.h"
#include "image/formats/dicom/aligned_channel.h"
#include "image/formats/dicom/dicom_reader.h"
#include "image/formats/dicom/segmentation_writer.h"

namespace e2enet::imaging {
namespace {

using dicom::AlignedChannel;
using dicom::DicomReader;

std::unique_ptr<ChannelFile> open(const ChannelRequest& request) {
  dicom::DicomOptions options;
  options.series = request.series;
  options.allow_uneven = request.regrid;
  auto reader = std::make_unique<DicomReader>(request.paths, options);
  if (!reader->stack().tilted && !reader->stack().uneven) return reader;
  return std::make_unique<AlignedChannel>(std::move(reader));
}

class SegmentationFile : public LabelFile {
 public:
  explicit SegmentationFile(dicom::SegmentationWriter writer) : writer_(std::move(writer)) {}
  void append(const std::uint16_t* labels, std::int64_t count) override { writer_.append(labels, count); }
  void commit() override { writer_.commit(); }

 private:
  dicom::SegmentationWriter writer_;
};

// Where a series' voxels are in an image that was converted from it: along each of the series' axes D, H, W, how far
// the image's voxel moves in D, H, W order.
struct Rearrangement {
  std::int64_t origin = 0;
  std::array<std::int64_t, 3> stride{};
};

// Throws Error (invalid_image) unless the image's voxels are the series', in another order of axes or direction at
// most.
Rearrangement rearrangement(const Geometry& image, const DicomReader& series) {
  const Geometry& slices = series.geometry();
  const auto fail = [&](const std::string& found) {
    throw Error(ErrorCode::invalid_image,
                series.name() + ": expected a series on whose slices the image's voxels are, found " + found);
  };
  const auto place = [](const Affine& m, const std::array<double, 3>& ijk, std::size_t row) {
    return m[4 * row] * ijk[0] + m[4 * row + 1] * ijk[1] + m[4 * row + 2] * ijk[2] + m[4 * row + 3];
  };
  // Each axis of the series is an axis of the image, forwards or backwards, by the largest cosine.
  std::array<int, 3> axis_of{};  // image's i, j, k for the series' i, j, k
  std::array<bool, 3> backwards{};
  std::array<bool, 3> used{};
  for (std::size_t a = 0; a < 3; ++a) {
    double best = 0;
    for (std::size_t b = 0; b < 3; ++b) {
      double dot = 0, length_a = 0, length_b = 0;
      for (std::size_t row = 0; row < 3; ++row) {
        dot += slices.affine[4 * row + a] * image.affine[4 * row + b];
        length_a += slices.affine[4 * row + a] * slices.affine[4 * row + a];
        length_b += image.affine[4 * row + b] * image.affine[4 * row + b];
      }
      const double cosine = dot / std::sqrt(length_a * length_b);
      if (std::abs(cosine) <= std::abs(best)) continue;
      best = cosine;
      axis_of[a] = static_cast<int>(b);
      backwards[a] = cosine < 0;
    }
    if (used[static_cast<std::size_t>(axis_of[a])]) fail("axes that are not the image's");
    used[static_cast<std::size_t>(axis_of[a])] = true;
    if (image.shape[2 - static_cast<std::size_t>(axis_of[a])] != slices.shape[2 - a]) {
      fail(std::to_string(slices.shape[2]) + " x " + std::to_string(slices.shape[1]) + " x " +
           std::to_string(slices.shape[0]) + " pixels, which are not the image's");
    }
  }
  // At every corner the two must be at one place, to a tenth of the least spacing.
  const double tolerance = 0.1 * *std::min_element(slices.spacing.begin(), slices.spacing.end());
  for (int corner = 0; corner < 8; ++corner) {
    std::array<double, 3> in_series{}, in_image{};
    for (std::size_t a = 0; a < 3; ++a) {
      const double last = static_cast<double>(slices.shape[2 - a] - 1);
      const bool end = (corner >> a & 1) != 0;
      in_series[a] = end ? last : 0;
      in_image[static_cast<std::size_t>(axis_of[a])] = end != backwards[a] ? last : 0;
    }
    double apart = 0;
    for (std::size_t row = 0; row < 3; ++row) {
      apart += std::pow(place(slices.affine, in_series, row) - place(image.affine, in_image, row), 2);
    }
    if (!(std::sqrt(apart) <= tolerance)) fail("a corner " + std::to_string(std::sqrt(apart)) + " mm from the image's");
  }
  const std::array<std::int64_t, 3> image_stride{1, image.shape[2], image.shape[2] * image.shape[1]};  // of i, j, k
  Rearrangement result;
  for (std::size_t a = 0; a < 3; ++a) {
    const std::int64_t stride = image_stride[static_cast<std::size_t>(axis_of[a])];
    result.stride[2 - a] = backwards[a] ? -stride : stride;
    if (backwards[a]) result.origin += stride * (slices.shape[2 - a] - 1);
  }
  return result;
}

// Labels of an image that was converted from a series. Where its slices are the series', in their order, each is turned
// as it comes; else all are held until the last is there, since axes may have changed places.
class RearrangedLabels : public LabelFile {
 public:
  RearrangedLabels(std::unique_ptr<LabelFile> file, const Rearrangement& order, const Shape& slices)
      : file_(std::move(file)), order_(order), slices_(slices) {
    const std::int64_t together = slice_by_slice() ? 1 : slices[0];
    labels_.reserve(checked_count<std::uint16_t>("labels for a DICOM segmentation", together, slices[1], slices[2]));
  }
  void append(const std::uint16_t* labels, std::int64_t count) override {
    const std::int64_t slice = slices_[1] * slices_[2], together = slice_by_slice() ? 1 : slices_[0];
    while (count > 0) {
      const std::int64_t taken = std::min(count, together * slice - static_cast<std::int64_t>(labels_.size()));
      if (taken <= 0) throw Error(ErrorCode::internal, "labels for a DICOM segmentation: more than there are voxels");
      labels_.insert(labels_.end(), labels, labels + taken);
      labels += taken;
      count -= taken;
      if (!slice_by_slice() || static_cast<std::int64_t>(labels_.size()) < slice) continue;
      write_slice(0);
      labels_.clear();
    }
  }
  void commit() override {
    if (!slice_by_slice()) {
      if (static_cast<std::int64_t>(labels_.size()) != slices_[0] * slices_[1] * slices_[2]) {
        throw Error(ErrorCode::internal, "labels for a DICOM segmentation: expected all voxels, found fewer");
      }
      for (std::int64_t d = 0; d < slices_[0]; ++d) write_slice(d);
    }
    file_->commit();
  }

 private:
  bool slice_by_slice() const { return order_.stride[0] == slices_[1] * slices_[2]; }
  // Slice `d` of what is held.
  void write_slice(std::int64_t d) {
    slice_.resize(static_cast<std::size_t>(slices_[1] * slices_[2]));
    for (std::int64_t h = 0; h < slices_[1]; ++h) {
      for (std::int64_t w = 0; w < slices_[2]; ++w) {
        slice_[static_cast<std::size_t>(h * slices_[2] + w)] = labels_[static_cast<std::size_t>(
            order_.origin + d * order_.stride[0] + h * order_.stride[1] + w * order_.stride[2])];
      }
    }
    file_->append(slice_.data(), static_cast<std::int64_t>(slice_.size()));
  }

  std::unique_ptr<LabelFile> file_;
  Rearrangement order_;
  Shape slices_;
  std::vector<std::uint16_t> labels_, slice_;
};

double label_file_bytes(const Shape& image, std::size_t labels, bool of_reference) {
  constexpr std::size_t kMostWritten = 65535;
  double bytes = dicom::SegmentationWriter::memory_bytes(image, std::min(labels, kMostWritten));
  if (of_reference) bytes += double(image[0]) * double(image[1]) * double(image[2]) * sizeof(std::uint16_t);
  return bytes;
}

std::unique_ptr<LabelFile> create(const std::string& path, const LabelFileContents& contents,
                                  const DicomReader& reader) {
  for (const std::string& slice : reader.files()) {
    if (file_behind(slice) == file_behind(path)) {
      throw Error(ErrorCode::invalid_argument, path + ": expected a file that is no slice of the series, found one");
    }
  }
  dicom::SegmentationDetails details;
  details.software_version = E2ENET_VERSION;
  if (!contents.algorithm_name.empty()) details.algorithm_name = contents.algorithm_name;
  for (const auto& [label, name] : contents.names) {
    if (label == 0) continue;
    dicom::Segment segment;
    segment.label = label;
    segment.name = name;
    const auto meaning = contents.meanings.find(label);
    if (meaning != contents.meanings.end()) segment.meaning = meaning->second;
    details.segments.push_back(std::move(segment));
  }
  return std::make_unique<SegmentationFile>(
      dicom::SegmentationWriter(path, reader.series(), reader.stack(), std::move(details)));
}

std::unique_ptr<LabelFile> create_labels(const std::string& path, const LabelFileContents& contents) {
  if (const auto* reader = dynamic_cast<const DicomReader*>(contents.reference)) {
    if (!contents.dicom_reference.empty()) {
      throw Error(ErrorCode::invalid_argument,
                  "dicom_reference: expected none where the image is a DICOM series itself, found '" +
                      contents.dicom_reference + "'");
    }
    return create(path, contents, *reader);
  }
  if (contents.dicom_reference.empty()) {
    throw Error(ErrorCode::invalid_argument,
                path + ": expected a DICOM series as image, or the one that it was converted from as reference " +
                    "(--dicom-reference), since a segmentation refers to its slices; found neither");
  }
  dicom::DicomOptions options;
  options.series = contents.dicom_reference_series;
  const DicomReader reader({contents.dicom_reference}, options);
  const Rearrangement order = rearrangement(contents.like->geometry(), reader);
  return std::make_unique<RearrangedLabels>(create(path, contents, reader), order, reader.shape());
}

bool writes(const std::string& path) {
  constexpr char kEnding[] = ".dcm";
  if (path.size() < sizeof kEnding || path[path.size() - sizeof kEnding] == '/') return false;
  return std::equal(std::begin(kEnding), std::end(kEnding) - 1, path.end() - 4,
                    [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); });
}

}  // namespace

Format dicom_format() {
  Format format;
  format.name = "DICOM";
  format.recognises = [](const std::string& path) { return dicom::is_dicom(path); };
  format.open = open;
  format.writes = writes;
  format.endings = ".dcm";
  format.has_series = true;
  format.places_each_slice = true;
  format.create_labels = create_labels;
  format.label_file_bytes = label_file_bytes;
  return format;
}

}  // namespace e2enet::imaging
