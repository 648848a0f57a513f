#include "image/formats/dicom/aligned_channel.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/checked_size.h"
#include "image/formats/label_file.h"

namespace e2enet::imaging::dicom {
namespace {

constexpr double kMostSlices = 4;  // of a grid, times as many as there are
constexpr double kRounding = 1e-6;

// Labels on the grid become those on the slices: each takes what is nearest, which is one shift for a whole slice.
class LabelsOnSlices : public LabelFile {
 public:
  LabelsOnSlices(std::unique_ptr<LabelFile> file, const Alignment& alignment, const Shape& slices)
      : file_(std::move(file)), alignment_(alignment), slices_(slices) {}

  void append(const std::uint16_t* labels, std::int64_t count) override {
    const Shape& grid = alignment_.grid.shape;
    const std::int64_t size = grid[1] * grid[2];
    while (count > 0) {
      const std::int64_t taken = std::min(count, size - static_cast<std::int64_t>(pending_.size()));
      pending_.insert(pending_.end(), labels, labels + taken);
      labels += taken;
      count -= taken;
      if (static_cast<std::int64_t>(pending_.size()) < size) continue;
      while (next_slice_ < alignment_.nearest.size() && alignment_.nearest[next_slice_] == next_grid_) write_slice();
      pending_.clear();
      ++next_grid_;
    }
  }
  void commit() override { file_->commit(); }

 private:
  void write_slice() {
    const auto& at = alignment_.at[next_slice_];
    std::vector<std::uint16_t> out;
    out.reserve(static_cast<std::size_t>(slices_[1] * slices_[2]));
    for (std::int64_t h = 0; h < slices_[1]; ++h) {
      const auto row = pending_.begin() + ((h + at[1]) * alignment_.grid.shape[2] + at[0]);
      out.insert(out.end(), row, row + slices_[2]);
    }
    file_->append(out.data(), static_cast<std::int64_t>(out.size()));
    ++next_slice_;
  }

  std::unique_ptr<LabelFile> file_;
  const Alignment alignment_;
  const Shape slices_;
  std::vector<std::uint16_t> pending_;  // labels that have come of the next grid slice
  std::int64_t next_grid_ = 0;
  std::size_t next_slice_ = 0;
};

}  // namespace

Alignment align(const Series& series, const Stack& stack) {
  Alignment a;
  const std::size_t slices = stack.order.size();
  const Frame& first = series.frames[stack.order[0]];
  a.step = stack.geometry.spacing[0];
  std::int64_t count = stack.geometry.shape[0];
  if (stack.uneven) {
    for (std::size_t s = 0; s + 1 < slices; ++s) a.step = std::min(a.step, stack.along[s + 1] - stack.along[s]);
    a.step = std::max(a.step, stack.along.back() / (kMostSlices * static_cast<double>(slices) - 1));
    const double steps = std::ceil(stack.along.back() / a.step - kRounding);
    count = static_cast<std::int64_t>(steps) + 1;
  }
  std::array<std::int64_t, 2> extent{first.columns, first.rows};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    double least = 0, most = 0;
    for (const auto& shift : stack.shift) {
      least = std::min(least, shift[axis]);
      most = std::max(most, shift[axis]);
    }
    a.first_pixel[axis] = static_cast<std::int64_t>(std::floor(least + kRounding));
    extent[axis] += static_cast<std::int64_t>(std::ceil(most - kRounding)) - a.first_pixel[axis];
  }
  for (std::size_t s = 0; s < slices; ++s) {
    a.nearest.push_back(std::min<std::int64_t>(std::lround(stack.along[s] / a.step), count - 1));
    a.at.push_back({std::lround(stack.shift[s][0] - static_cast<double>(a.first_pixel[0])),
                    std::lround(stack.shift[s][1] - static_cast<double>(a.first_pixel[1]))});
  }

  a.grid = stack.geometry;
  a.grid.shape = {count, extent[1], extent[0]};
  a.grid.spacing[0] = a.step;
  Affine& m = a.grid.affine;
  // The third column across the first two, on the side to which the slices ascend.
  std::array<double, 3> normal{m[4] * m[9] - m[8] * m[5], m[8] * m[1] - m[0] * m[9], m[0] * m[5] - m[4] * m[1]};
  const double length = std::hypot(normal[0], normal[1], normal[2]);
  const double side = normal[0] * m[2] + normal[1] * m[6] + normal[2] * m[10] < 0 ? -1 : 1;
  for (std::size_t row = 0; row < 3; ++row) {
    m[4 * row + 3] +=
        static_cast<double>(a.first_pixel[0]) * m[4 * row] + static_cast<double>(a.first_pixel[1]) * m[4 * row + 1];
    m[4 * row + 2] = side * normal[row] / length * a.step + 0.0;
  }
  return a;
}

AlignedChannel::AlignedChannel(std::unique_ptr<DicomReader> slices)
    : slices_(std::move(slices)), alignment_(align(slices_->series(), slices_->stack())) {
  nifti_header_ = NiftiHeader::from_geometry(alignment_.grid);
  slice_.resize(checked_count<float>("a slice", slices_->slice_size()));
}

// A slice where it lies on the grid, its values between the grid's pixels interpolated.
const std::vector<float>& AlignedChannel::moved(std::size_t slice) {
  Moved& held = held_[slice % 2];
  if (held.slice == slice) return held.values;
  held.slice = static_cast<std::size_t>(-1);
  const std::int64_t number = static_cast<std::int64_t>(slice);
  slices_->read(number, number + 1, slice_.data());
  const float least = *std::min_element(slice_.begin(), slice_.end());
  const std::int64_t width = slices_->shape()[2], height = slices_->shape()[1];
  const auto& shift = slices_->stack().shift[slice];
  // Grid pixel x is pixel x + offset of the slice: between `whole` and the next one, by `fraction`.
  struct Axis {
    std::int64_t whole;
    float fraction;
  };
  const auto axis = [&](std::size_t which) {
    const double offset = static_cast<double>(alignment_.first_pixel[which]) - shift[which];
    double whole = std::floor(offset), fraction = offset - whole;
    if (fraction < kRounding) fraction = 0;
    if (fraction > 1 - kRounding) {
      fraction = 0;
      ++whole;
    }
    return Axis{static_cast<std::int64_t>(whole), static_cast<float>(fraction)};
  };
  const Axis i = axis(0), j = axis(1);
  const std::int64_t grid_width = shape()[2], grid_height = shape()[1];
  held.values.assign(static_cast<std::size_t>(grid_width * grid_height), least);
  for (std::int64_t y = 0; y < grid_height; ++y) {
    const std::int64_t row = y + j.whole;
    const float center_row = static_cast<float>(row) + j.fraction;
    if (center_row < -0.5F || center_row > static_cast<float>(height) - 0.5F) continue;
    const float* above = slice_.data() + std::clamp<std::int64_t>(row, 0, height - 1) * width;
    const float* below = slice_.data() + std::clamp<std::int64_t>(row + 1, 0, height - 1) * width;
    float* out = held.values.data() + y * grid_width;
    for (std::int64_t x = 0; x < grid_width; ++x) {
      const std::int64_t column = x + i.whole;
      const float center = static_cast<float>(column) + i.fraction;
      if (center < -0.5F || center > static_cast<float>(width) - 0.5F) continue;
      const std::int64_t left = std::clamp<std::int64_t>(column, 0, width - 1);
      const std::int64_t right = std::clamp<std::int64_t>(column + 1, 0, width - 1);
      // Where nothing is between pixels, the pixel as it is.
      const auto along = [&](const float* line) {
        return i.fraction == 0 ? line[left] : line[left] + i.fraction * (line[right] - line[left]);
      };
      const float upper = along(above);
      out[x] = j.fraction == 0 ? upper : upper + j.fraction * (along(below) - upper);
    }
  }
  held.slice = slice;
  return held.values;
}

void AlignedChannel::read(std::int64_t begin, std::int64_t end, float* out) {
  const std::vector<double>& along = slices_->stack().along;
  for (std::int64_t d = begin; d < end; ++d, out += slice_size()) {
    std::size_t below = static_cast<std::size_t>(d);
    double weight = 0;
    if (slices_->stack().uneven) {
      const double z = static_cast<double>(d) * alignment_.step;
      const auto next = std::upper_bound(along.begin(), along.end(), z + kRounding * alignment_.step);
      below = static_cast<std::size_t>(next - along.begin()) - 1;
      weight = below + 1 < along.size() ? (z - along[below]) / (along[below + 1] - along[below]) : 0;
      if (weight < kRounding) weight = 0;
    }
    const std::vector<float>& lower = moved(below);
    if (weight == 0) {
      std::copy(lower.begin(), lower.end(), out);
      continue;
    }
    const std::vector<float>& upper = moved(below + 1);
    const float w = static_cast<float>(weight);
    for (std::size_t p = 0; p < lower.size(); ++p) out[p] = lower[p] + w * (upper[p] - lower[p]);
  }
}

std::unique_ptr<LabelFile> AlignedChannel::on_label_grid(std::unique_ptr<LabelFile> file) const {
  return std::make_unique<LabelsOnSlices>(std::move(file), alignment_, slices_->shape());
}

}  // namespace e2enet::imaging::dicom
