// What tests of the DICOM reader share: all voxels of a series, and comparing two volumes by where their voxels lie.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "dicom/made_series.h"
#include "e2enet/error.h"
#include "e2enet/volume.h"
#include "image/formats/dicom/dicom_reader.h"
#include "image/slice_source.h"

namespace e2enet::test {

inline std::vector<float> all_voxels(imaging::SliceSource& source) {
  std::vector<float> voxels(static_cast<std::size_t>(source.shape()[0] * source.slice_size()));
  for (std::int64_t d = 0; d < source.shape()[0]; ++d) {
    source.read(d, d + 1, voxels.data() + d * source.slice_size());
  }
  return voxels;
}

inline Vector at(const Affine& m, double i, double j, double k) {
  Vector p;
  for (std::size_t r = 0; r < 3; ++r) p[r] = m[4 * r] * i + m[4 * r + 1] * j + m[4 * r + 2] * k + m[4 * r + 3];
  return p;
}

// The place of a voxel by its number in D,H,W order.
inline Vector at_voxel(const Geometry& geometry, std::size_t voxel) {
  const std::size_t width = static_cast<std::size_t>(geometry.shape[2]);
  const std::size_t height = static_cast<std::size_t>(geometry.shape[1]);
  return at(geometry.affine, double(voxel % width), double(voxel / width % height), double(voxel / width / height));
}

// The voxel indices (i, j, k) of a place.
inline Vector indices(const Affine& m, const Vector& place) {
  double a[3][4];
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) a[r][c] = m[4 * r + c];
    a[r][3] = place[r] - m[4 * r + 3];
  }
  for (std::size_t c = 0; c < 3; ++c) {  // Gauss and Jordan
    std::size_t pivot = c;
    for (std::size_t r = c; r < 3; ++r) {
      if (std::abs(a[r][c]) > std::abs(a[pivot][c])) pivot = r;
    }
    std::swap(a[c], a[pivot]);
    for (std::size_t r = 0; r < 3; ++r) {
      if (r == c) continue;
      const double factor = a[r][c] / a[c][c];
      for (std::size_t x = 0; x < 4; ++x) a[r][x] -= factor * a[c][x];
    }
  }
  return {a[0][3] / a[0][0], a[1][3] / a[1][1], a[2][3] / a[2][2]};
}

inline double distance(const Vector& a, const Vector& b) {
  return std::sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]) + (a[2] - b[2]) * (a[2] - b[2]));
}

// Every voxel of the made series is where it says, with the value that it says, to 1e-4 mm and to the bit.
inline void check_against_truth(imaging::dicom::DicomReader& reader, const MadeSeries& made,
                                const std::function<float(int i, int j, int k)>& value) {
  const Shape& shape = reader.shape();
  REQUIRE(shape[0] * shape[1] * shape[2] == std::int64_t{made.columns} * made.rows * made.slices);
  const std::vector<float> voxels = all_voxels(reader);
  double worst = 0;
  std::int64_t wrong = 0;
  for (int k = 0; k < made.slices; ++k) {
    for (int j = 0; j < made.rows; ++j) {
      for (int i = 0; i < made.columns; ++i) {
        const Vector place = made.millimetres(i, j, k);
        const Vector index = indices(reader.geometry().affine, place);
        const long w = std::lround(index[0]), h = std::lround(index[1]), d = std::lround(index[2]);
        REQUIRE(w >= 0);
        REQUIRE(w < shape[2]);
        REQUIRE(h >= 0);
        REQUIRE(h < shape[1]);
        REQUIRE(d >= 0);
        REQUIRE(d < shape[0]);
        worst = std::max(worst, distance(place, at(reader.geometry().affine, double(w), double(h), double(d))));
        wrong += voxels[static_cast<std::size_t>((d * shape[1] + h) * shape[2] + w)] != value(i, j, k);
      }
    }
  }
  CHECK(worst < 1e-4);
  CHECK(wrong == 0);
}

// Two volumes have the same voxels, to the bit, and the same matrix, to 1e-4 mm in each of its numbers once both have
// axes in the same order and direction. (Another distance between slices, of a rounded attribute, may then move the
// last slice by a little more.)
inline void check_same_volume(const Geometry& a, const std::vector<float>& voxels_a, const Geometry& b,
                              const std::vector<float>& voxels_b) {
  REQUIRE(a.voxels() == b.voxels());
  double worst = 0;
  std::int64_t wrong = 0, outside = 0;
  for (std::int64_t d = 0; d < a.shape[0]; ++d) {
    for (std::int64_t h = 0; h < a.shape[1]; ++h) {
      for (std::int64_t w = 0; w < a.shape[2]; ++w) {
        const Vector place = at(a.affine, double(w), double(h), double(d));
        const Vector index = indices(b.affine, place);
        const long i = std::lround(index[0]), j = std::lround(index[1]), k = std::lround(index[2]);
        if (i < 0 || j < 0 || k < 0 || i >= b.shape[2] || j >= b.shape[1] || k >= b.shape[0]) {
          ++outside;
          continue;
        }
        worst = std::max(worst, distance(place, at(b.affine, double(i), double(j), double(k))));
        wrong += voxels_a[static_cast<std::size_t>((d * a.shape[1] + h) * a.shape[2] + w)] !=
                 voxels_b[static_cast<std::size_t>((k * b.shape[1] + j) * b.shape[2] + i)];
      }
    }
  }
  CHECK(outside == 0);
  CHECK(worst < 1e-3);
  CHECK(wrong == 0);
  // Where voxel (0, 0, 0) of `a` and its neighbours lie in both.
  const auto in_both = [&](double i, double j, double k) {
    const Vector in_a = at(a.affine, i, j, k), index = indices(b.affine, in_a);
    return std::pair<Vector, Vector>(in_a,
                                     at(b.affine, std::round(index[0]), std::round(index[1]), std::round(index[2])));
  };
  const auto [origin_a, origin_b] = in_both(0, 0, 0);
  CHECK(distance(origin_a, origin_b) < 1e-4);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto [next_a, next_b] = in_both(axis == 0, axis == 1, axis == 2);
    for (std::size_t x = 0; x < 3; ++x) {
      CHECK(std::abs((next_a[x] - origin_a[x]) - (next_b[x] - origin_b[x])) < 1e-4);
    }
  }
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The message with which reading all of a series fails; empty where it does not.
inline std::string failure(const std::vector<std::string>& paths, const imaging::dicom::DicomOptions& options = {},
                           ErrorCode* code = nullptr) {
  try {
    imaging::dicom::DicomReader reader(paths, options);
    all_voxels(reader);
  } catch (const Error& error) {
    if (code) *code = error.code();
    return error.what();
  }
  return "";
}

inline bool has_program(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

}  // namespace e2enet::test
