// Slices of a tilted gantry, or at uneven distances, as the volume on an even, upright grid that a network knows; and
// labels of that grid back on the slices.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "image/formats/channel_file.h"
#include "image/formats/dicom/dicom_reader.h"

namespace e2enet::imaging::dicom {

// Where the grid and the slices lie in each other.
struct Alignment {
  Geometry grid;    // upright: it has room for every slice, moved in its plane; distances are the least of the slices',
                    // if need be more: at most four times as many slices
  double step = 0;  // of the grid, across the slices
  std::array<std::int64_t, 2> first_pixel{};    // of the grid, along i and j, in pixels of the first slice
  std::vector<std::int64_t> nearest;            // grid slice of each slice; ascending
  std::vector<std::array<std::int64_t, 2>> at;  // where in that grid slice its first pixel is, along i and j
};

Alignment align(const Series& series, const Stack& stack);

// Values between pixels and between slices are linear in their neighbours'; beyond a slice's edges its least value
// stands. An upright, even stack of slices comes out as it is.
class AlignedChannel : public ChannelFile {
 public:
  explicit AlignedChannel(std::unique_ptr<DicomReader> slices);

  const Geometry& geometry() const override { return alignment_.grid; }
  std::string matrix() const override { return slices_->matrix(); }
  const std::vector<Remark>& remarks() const override { return slices_->remarks(); }
  std::int64_t stored_bytes() const override { return slices_->stored_bytes(); }
  std::int64_t open_bytes() const override {
    return slices_->open_bytes() + 3 * slice_size() * static_cast<std::int64_t>(sizeof(float));
  }
  const NiftiHeader& nifti_header() const override { return nifti_header_; }
  const Shape& shape() const override { return alignment_.grid.shape; }
  std::string name() const override { return slices_->name(); }
  const float* view(std::int64_t, std::int64_t) override { return nullptr; }
  void read(std::int64_t begin, std::int64_t end, float* out) override;
  void keep() override { slices_->keep(); }
  void forget() override { slices_->forget(); }

  std::vector<std::string> files() const override { return slices_->files(); }
  const ChannelFile* label_grid() const override { return slices_.get(); }
  std::unique_ptr<LabelFile> on_label_grid(std::unique_ptr<LabelFile> file) const override;

 private:
  const std::vector<float>& moved(std::size_t slice);

  std::unique_ptr<DicomReader> slices_;
  Alignment alignment_;
  NiftiHeader nifti_header_;
  std::vector<float> slice_;  // as it is read
  struct Moved {
    std::size_t slice = static_cast<std::size_t>(-1);
    std::vector<float> values;
  };
  Moved held_[2];  // the last two, by number modulo 2: neighbours
};

}  // namespace e2enet::imaging::dicom
