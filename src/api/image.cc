#include "api/image.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "api/errors.h"
#include "base/platform/processor.h"
#include "e2enet/dicom.h"
#include "image/array_source.h"
#include "image/formats/formats.h"
#include "image/orientation.h"

namespace e2enet {
namespace {

const Error kNoMemory(ErrorCode::out_of_memory, "no memory to open an image");

void check_geometry(const std::string& name, const Geometry& geometry) {
  constexpr std::int64_t kMostVoxelsOnAxis = 32767;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::string field = name + ": geometry, axis " + "DHW"[axis];
    if (geometry.shape[axis] < 1 || geometry.shape[axis] > kMostVoxelsOnAxis) {
      throw Error(ErrorCode::invalid_image, field + ": expected 1 to " + std::to_string(kMostVoxelsOnAxis) +
                                                " voxels, found " + std::to_string(geometry.shape[axis]));
    }
    if (!(geometry.spacing[axis] > 0) || !std::isfinite(geometry.spacing[axis])) {
      throw Error(ErrorCode::invalid_image,
                  field + ": expected a spacing in mm above 0, found " + std::to_string(geometry.spacing[axis]));
    }
  }
  for (const double value : geometry.affine) {
    if (!std::isfinite(value)) {
      throw Error(ErrorCode::invalid_image, name + ": geometry, affine: expected finite numbers, found another");
    }
  }
  if (!imaging::usable(geometry.affine)) {
    throw Error(ErrorCode::invalid_argument,
                name +
                    ": geometry, affine: expected a matrix from voxels to mm with three independent columns, found a "
                    "determinant of " +
                    std::to_string(geometry.voxel_ml() * 1000));
  }
}

std::shared_ptr<Image::Implementation> of_geometry(const Geometry& geometry, const std::string& name) {
  check_geometry(name, geometry);
  auto image = std::make_shared<Image::Implementation>();
  image->name = name;
  image->geometry = geometry;
  image->matrix = "affine";
  image->nifti_header = imaging::NiftiHeader::from_geometry(geometry);
  for (const imaging::Remark& remark : imaging::contradictions(geometry, "affine", "spacing")) {
    image->remarks.push_back(public_remark(remark, name));
  }
  return image;
}

// Which paths are which channel (image.h says how).
std::vector<imaging::ChannelRequest> channel_requests(const std::vector<std::string>& paths,
                                                      const OpenOptions& options) {
  const auto is_folder = [](const std::string& path) {
    std::error_code error;
    return std::filesystem::is_directory(path, error);
  };
  const bool folders = std::any_of(paths.begin(), paths.end(), is_folder);
  const bool one_list = folders ? paths.size() == 1 : std::all_of(paths.begin(), paths.end(), is_dicom);
  const std::size_t channels = one_list ? std::max<std::size_t>(1, options.series.size()) : paths.size();
  if (options.series.size() > 1 && options.series.size() != channels) {
    throw Error(ErrorCode::invalid_argument, "series: expected one, or one for each of " + std::to_string(channels) +
                                                 " channels, found " + std::to_string(options.series.size()));
  }
  std::vector<imaging::ChannelRequest> requests(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    requests[c].paths = one_list ? paths : std::vector<std::string>{paths[c]};
    if (!options.series.empty()) requests[c].series = options.series[options.series.size() > 1 ? c : 0];
    requests[c].regrid = options.regrid;
  }
  return requests;
}

// A caller's reader, whose exceptions are kept as they are.
SliceReader watched(SliceReader reader, Image::Implementation* image) {
  return [reader = std::move(reader), image](int channel, std::int64_t first, std::int64_t count, float* values) {
    try {
      reader(channel, first, count, values);
    } catch (...) {
      image->of_reader = std::current_exception();
      throw;
    }
  };
}

}  // namespace

std::vector<imaging::SliceSource*> Image::Implementation::sources() const {
  std::vector<imaging::SliceSource*> sources;
  for (const auto& channel : channels) sources.push_back(channel.get());
  return sources;
}

Image::Image(std::shared_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}

Image Image::open(const std::string& path) { return open(std::vector<std::string>{path}); }

Image Image::open(const std::vector<std::string>& channels, const OpenOptions& options) {
  return with_errors(kNoMemory, [&] {
    if (channels.empty()) throw Error(ErrorCode::invalid_argument, "channels: expected a file or more, found none");
    auto image = std::make_shared<Implementation>();
    for (const imaging::ChannelRequest& request : channel_requests(channels, options)) {
      std::unique_ptr<imaging::ChannelFile> file = imaging::open_channel(request);
      for (const std::string& read : file->files()) image->files.push_back(read);
      if (image->file) {
        imaging::require_same_grid(*image->file, *file);
      } else {
        image->file = file.get();
        image->name = file->name();
        image->geometry = file->geometry();
        image->matrix = file->matrix();
        image->nifti_header = file->nifti_header();
      }
      for (const imaging::Remark& remark : file->remarks()) {
        image->remarks.push_back(public_remark(remark, file->name()));
      }
      image->stored_bytes += file->stored_bytes();
      image->open_bytes += file->open_bytes();
      image->channels.push_back(std::move(file));
    }
    image->may_read_ahead = platform::kAnyThreadReadsFiles;
    return Image(std::move(image));
  });
}

Image Image::from_arrays(const Geometry& geometry, const std::vector<ArrayView>& channels, const std::string& name) {
  return with_errors(kNoMemory, [&] {
    if (channels.empty()) {
      throw Error(ErrorCode::invalid_argument, name + ": channels: expected an array or more, found none");
    }
    const std::shared_ptr<Implementation> image = of_geometry(geometry, name);
    for (const ArrayView& array : channels) {
      if (!array.data) {
        throw Error(ErrorCode::invalid_argument, name + ": channels: expected voxels, found a null pointer");
      }
      if (bytes_of(array.type) == 0) {
        throw Error(ErrorCode::invalid_argument, name + ": channels: expected a scalar type, found the number " +
                                                     std::to_string(static_cast<int>(array.type)));
      }
      image->channels.push_back(std::make_unique<imaging::ArraySource>(array, geometry.shape, name));
    }
    return Image(image);
  });
}

Image Image::from_slices(const Geometry& geometry, int channels, SliceReader reader, const std::string& name) {
  return with_errors(kNoMemory, [&] {
    constexpr int kMostChannels = 1 << 20;
    if (channels < 1 || channels > kMostChannels) {
      throw Error(ErrorCode::invalid_argument,
                  name + ": channels: expected one or more, found " + std::to_string(channels));
    }
    if (!reader) throw Error(ErrorCode::invalid_argument, name + ": reader: expected a function, found none");
    const std::shared_ptr<Implementation> image = of_geometry(geometry, name);
    const SliceReader with_exceptions = watched(std::move(reader), image.get());
    for (int channel = 0; channel < channels; ++channel) {
      image->channels.push_back(
          std::make_unique<imaging::CallbackSource>(with_exceptions, channel, geometry.shape, name));
    }
    return Image(image);
  });
}

const Geometry& Image::geometry() const { return implementation_->geometry; }
int Image::channels() const { return static_cast<int>(implementation_->channels.size()); }
const std::string& Image::name() const { return implementation_->name; }
std::string Image::matrix() const { return implementation_->matrix; }
std::string Image::orientation() const {
  return with_errors(kNoMemory, [&] { return imaging::orientation_code(implementation_->geometry.affine); });
}
std::vector<Remark> Image::remarks() const {
  return with_errors(kNoMemory, [&] { return implementation_->remarks; });
}

void Image::read(int channel, std::int64_t first, std::int64_t count, float* values) const {
  with_errors(kNoMemory, [&] {
    const std::int64_t slices = geometry().shape[0];
    if (channel < 0 || channel >= channels()) {
      throw Error(ErrorCode::invalid_argument, name() + ": channel: expected 0 to " + std::to_string(channels() - 1) +
                                                   ", found " + std::to_string(channel));
    }
    if (first < 0 || count < 0 || first > slices || count > slices - first) {
      throw Error(ErrorCode::invalid_argument, name() + ": slices: expected some of the " + std::to_string(slices) +
                                                   ", found " + std::to_string(count) + " from " +
                                                   std::to_string(first));
    }
    if (count > 0) implementation_->channels[static_cast<std::size_t>(channel)]->read(first, first + count, values);
  });
}

}  // namespace e2enet
