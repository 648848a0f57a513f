// DICOM series that tests make themselves, with a truth of their own: each voxel's value and place are said by
// formulas, not by the code that reads them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

class DcmDataset;
class DcmItem;

namespace e2enet::test {

using Vector = std::array<double, 3>;
// Directions of i, j and k (columns, rows, slices), each of length 1, in DICOM's space.
using Directions = std::array<Vector, 3>;

enum class Coding {
  implicit,
  explicit_little,
  big_endian,
  deflated,
  rle,
  jpeg_baseline,
  jpeg_extended,
  jpeg_lossless,
  jpeg_lossless_first_order,
  jpeg_ls,
  jpeg_ls_near,
  jpeg2000_lossless,
  jpeg2000,
};
const char* name(Coding coding);

struct MadeSeries {
  int columns = 7, rows = 5, slices = 4;
  Vector spacing{1.5, 2, 3};  // along i, j, k
  Directions directions{Vector{1, 0, 0}, Vector{0, 1, 0}, Vector{0, 0, 1}};
  Vector origin{-10, -20, -30};  // of voxel (0, 0, 0)
  // Stored number of a voxel; unique in a small series.
  std::function<long(int i, int j, int k)> stored = [this](int i, int j, int k) {
    return i + columns * (j + rows * k);
  };
  Coding coding = Coding::explicit_little;
  int bits_allocated = 16, bits_stored = 16, high_bit = 15;
  bool is_signed = false;
  bool monochrome1 = false;
  std::string modality = "MR", description = "made", uid = "1.2.3.4", number = "7", frame_of_reference = "1.2.3.9";
  std::string patient = "Test^Patient", character_set;
  std::string image_type = "ORIGINAL\\PRIMARY\\M";
  bool enhanced = false;   // one multi-frame file
  std::vector<int> order;  // in which slices are written (and numbered); empty: as they are
  // Changes a file's attributes before it is written, `slice` -1 for the enhanced file.
  std::function<void(DcmDataset&, int slice)> change;
  // The place of a slice's first voxel where it is not origin + k * spacing * direction.
  std::function<Vector(int k)> place;

  Vector place_of(int k) const;
  // Of a voxel, in NIfTI's space.
  Vector millimetres(int i, int j, int k) const;
  // Writes slice k to folder/prefix + number + suffix (files have names that say nothing of their order). Returns the
  // paths by slice.
  std::vector<std::string> write(const std::string& folder, const std::string& prefix = "x") const;
};

// The 48 ways in which axes can lie along a body's: every order and every direction.
std::vector<Directions> axis_orders();
// Turned about an oblique axis.
Directions turned(const Directions& directions, double degrees);

// An Image IOD's attributes but its place and pixels. `instance` numbers it from 1.
void fill_attributes(DcmDataset& data_set, const MadeSeries& series, int instance);
void write_data_set(DcmDataset& data_set, Coding coding, const std::string& path);

}  // namespace e2enet::test
