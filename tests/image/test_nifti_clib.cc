// nifti_clib as a second opinion: its reader against ours, its matrices and orientation codes against our rules.
#include <doctest/doctest.h>
#include <nifti/nifti2_io.h>

#include <Eigen/Geometry>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "image/matrix.h"
#include "image/nifti_bytes.h"
#include "image/orientation.h"
#include "support/nifti_images.h"

using namespace e2enet;
using namespace e2enet::imaging;
using test::HeaderBytes;
using test::stored;
using test::TemporaryFolder;
using test::write_bytes;

namespace {

struct FreeImage {
  void operator()(nifti_image* image) const { nifti_image_free(image); }
};

std::unique_ptr<nifti_image, FreeImage> read_by_clib(const std::string& path) {
  nifti_set_debug_level(0);
  return std::unique_ptr<nifti_image, FreeImage>(nifti_image_read(path.c_str(), 1));
}

Affine affine_of(const nifti_dmat44& matrix) {
  Affine affine;
  std::copy_n(&matrix.m[0][0], 16, affine.begin());
  return affine;
}

nifti_dmat44 clib_matrix_of(const Affine& affine) {
  nifti_dmat44 matrix;
  std::copy_n(affine.begin(), 16, &matrix.m[0][0]);
  return matrix;
}

std::string clib_orientation(const Affine& affine) {
  int codes[3];
  nifti_dmat44_to_orientation(clib_matrix_of(affine), &codes[0], &codes[1], &codes[2]);
  std::string letters;
  for (const int code : codes) {
    switch (code) {  // the direction in which an axis runs, "left to right" is R
      case NIFTI_L2R:
        letters += 'R';
        break;
      case NIFTI_R2L:
        letters += 'L';
        break;
      case NIFTI_P2A:
        letters += 'A';
        break;
      case NIFTI_A2P:
        letters += 'P';
        break;
      case NIFTI_I2S:
        letters += 'S';
        break;
      case NIFTI_S2I:
        letters += 'I';
        break;
      default:
        letters += '?';
    }
  }
  return letters;
}

template <typename T>
void compare_values(int code, std::vector<T> values) {
  values.resize(24, T{7});
  TemporaryFolder folder;
  for (const int version : {1, 2}) {
    for (const bool swapped : {false, true}) {
      for (const bool scaled : {false, true}) {
        CAPTURE(code);
        CAPTURE(version);
        CAPTURE(swapped);
        HeaderBytes header(version, swapped);
        header.shape(2, 3, 4).type(code, static_cast<int>(8 * sizeof(T)));
        if (scaled) header.set("scl_slope", 0.25).set("scl_inter", -11);
        const std::string path = folder / "x.nii";
        write_bytes(path, header.file(stored(values, swapped)));
        const auto theirs = read_by_clib(path);
        REQUIRE(theirs);
        const Image ours = read_image(path);
        REQUIRE(theirs->nvox == 24);
        CHECK(Shape{theirs->nz, theirs->ny, theirs->nx} == ours.geometry.shape);
        CHECK(theirs->nbyper == static_cast<int>(bytes_of(ours.header.type)));
        CHECK((theirs->scl_slope == 0.25) == scaled);
        for (std::size_t i = 0; i < 24; ++i) {
          const T value = static_cast<const T*>(theirs->data)[i];
          const float expected =
              scaled ? static_cast<float>(static_cast<double>(value) * theirs->scl_slope + theirs->scl_inter)
                     : static_cast<float>(value);
          CHECK(ours.data()[i] == expected);
        }
      }
    }
  }
}

template <typename T>
std::vector<T> extremes() {
  return {T{0}, T{1}, T{2}, T{100}, std::numeric_limits<T>::max(), std::numeric_limits<T>::lowest()};
}

// A matrix whose axes are those of the world in the order `order`, some backwards, then turned as a whole.
Affine oriented(const std::array<int, 3>& order, unsigned backwards, const Spacing& spacing,
                const Eigen::Matrix3d& turn) {
  Axes axes = Axes::Zero();
  for (int axis = 0; axis < 3; ++axis) {
    axes(order[static_cast<std::size_t>(axis)], axis) =
        (backwards >> axis & 1U ? -1 : 1) * spacing[static_cast<std::size_t>(2 - axis)];
  }
  Affine affine{0, 0, 0, -90.5, 0, 0, 0, 12.25, 0, 0, 0, 7, 0, 0, 0, 1};
  matrix_of(affine).topLeftCorner<3, 3>() = turn * axes;
  return affine;
}

// Half a turn about z and x by what a head in a scanner is turned by, at most.
Eigen::Matrix3d turn_by(double degrees) {
  const double angle = degrees / 57.29577951308232;
  return (Eigen::AngleAxisd(angle, Eigen::Vector3d::UnitZ()) * Eigen::AngleAxisd(angle * 0.7, Eigen::Vector3d::UnitX()))
      .toRotationMatrix();
}

template <typename Function>
void for_all_orientations(const Function& function) {
  std::array<int, 3> order{0, 1, 2};
  do {
    for (unsigned backwards = 0; backwards < 8; ++backwards) function(order, backwards);
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace

TEST_CASE("nifti_clib reads the same values of every type, in either byte order, NIfTI-1 and NIfTI-2") {
  compare_values(DT_UINT8, extremes<std::uint8_t>());
  compare_values(DT_INT16, extremes<std::int16_t>());
  compare_values(DT_INT32, extremes<std::int32_t>());
  compare_values<float>(DT_FLOAT32, {0.0F, -1.5F, 3.25e10F, 1e-30F});
  compare_values<double>(DT_FLOAT64, {0.0, -1.5, 3.25e10, 1e-30, 1.0 / 3});
  compare_values(DT_INT8, extremes<std::int8_t>());
  compare_values(DT_UINT16, extremes<std::uint16_t>());
  compare_values(DT_UINT32, extremes<std::uint32_t>());
  compare_values(DT_INT64, extremes<std::int64_t>());
  compare_values(DT_UINT64, extremes<std::uint64_t>());
}

TEST_CASE("nifti_clib has the same matrix and the same letters in all 48 orientations, by sform and by qform") {
  TemporaryFolder folder;
  const Spacing spacing{3, 0.75, 1.5};
  const std::string data = stored(std::vector<std::int16_t>(24));
  for (const double degrees : {0.0, 11.0, 30.0}) {
    for_all_orientations([&](const std::array<int, 3>& order, unsigned backwards) {
      const Affine affine = oriented(order, backwards, spacing, turn_by(degrees));
      CAPTURE(orientation_code(affine));
      double b, c, d, x, y, z, dx, dy, dz, qfac;
      nifti_dmat44_to_quatern(clib_matrix_of(affine), &b, &c, &d, &x, &y, &z, &dx, &dy, &dz, &qfac);
      for (const int version : {1, 2}) {
        for (const bool swapped : {false, true}) {
          for (const bool by_sform : {true, false}) {
            CAPTURE(version);
            CAPTURE(by_sform);
            HeaderBytes header(version, swapped);
            header.shape(2, 3, 4).type(DT_INT16, 16);
            for (int axis = 1; axis <= 3; ++axis) {
              header.set("pixdim", spacing[static_cast<std::size_t>(3 - axis)], axis);
            }
            header.set("pixdim", qfac, 0).set("xyzt_units", NIFTI_UNITS_MM);
            header.set(by_sform ? "sform_code" : "qform_code", 1);
            for (int i = 0; i < 4; ++i) {
              header.set("srow_x", affine[static_cast<std::size_t>(i)], i);
              header.set("srow_y", affine[static_cast<std::size_t>(4 + i)], i);
              header.set("srow_z", affine[static_cast<std::size_t>(8 + i)], i);
            }
            header.set("quatern_b", b).set("quatern_c", c).set("quatern_d", d);
            header.set("qoffset_x", x).set("qoffset_y", y).set("qoffset_z", z);
            const std::string path = folder / "x.nii";
            write_bytes(path, header.file(data));
            const auto theirs = read_by_clib(path);
            REQUIRE(theirs);
            const Geometry ours = ImageReader(path).geometry();
            CHECK(ours.affine == affine_of(by_sform ? theirs->sto_xyz : theirs->qto_xyz));
            CHECK(ours.spacing == Spacing{theirs->dz, theirs->dy, theirs->dx});
            // A quaternion's real part comes from a difference: of NIfTI-1's floats little is left near a half turn.
            const double tolerance = by_sform || version == 2 ? 1e-5 : 1e-3;
            for (std::size_t i = 0; i < 16; ++i) CHECK(std::abs(ours.affine[i] - affine[i]) < tolerance);
            CHECK(orientation_code(ours.affine) == clib_orientation(ours.affine));
            CHECK(orientation_code(ours.affine) == orientation_code(affine));
          }
        }
      }
    });
  }
}

TEST_CASE("the letters of axes at right angles are nifti_clib's, wherever they point") {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  int at_right_angles = 0, sheared = 0;
  constexpr int kTries = 20000;
  for (int i = 0; i < kTries; ++i) {
    const Eigen::Quaterniond any(normal(random), normal(random), normal(random), normal(random));
    const Affine affine = oriented({0, 1, 2}, static_cast<unsigned>(i % 8), {2, 0.5, 1}, any.normalized().matrix());
    at_right_angles += orientation_code(affine) != clib_orientation(affine);
    // The tilt of a gantry: k leans towards j by 20 degrees.
    Affine tilted = affine;
    matrix_of(tilted).col(2) += 0.364 * 2 / 0.5 * matrix_of(affine).col(1);
    sheared += orientation_code(tilted) != clib_orientation(tilted);
  }
  CHECK(at_right_angles == 0);
  // It straightens the second and third axis first, which for tilted ones moves letters near 45 degrees: ours go by the
  // axes as they are (docs/volumes.md).
  MESSAGE("tilted by 20 degrees: ", sheared, " of ", kTries, " with other letters");
  CHECK(sheared > 0);
}

TEST_CASE("nifti_clib's matrix of a quaternion is the definition's, to a double's last digits") {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  double largest = 0;
  for (int i = 0; i < 20000; ++i) {
    // Nearer to a half turn the library rounds to one.
    Eigen::Quaterniond q(i % 4 == 0 ? 0 : 0.01 + std::abs(normal(random)), normal(random), normal(random),
                         normal(random));
    q.normalize();
    const double sign = i % 2 == 0 ? 1 : -1;
    const Axes expected = q.matrix() * Eigen::Vector3d(0.7, 1.3, sign * 4).asDiagonal();
    const Affine found = affine_of(nifti_quatern_to_dmat44(q.x(), q.y(), q.z(), 1, 2, 3, 0.7, 1.3, 4, sign));
    CHECK(origin_of(found) == Vector(1, 2, 3));
    largest = std::max(largest, (axes_of(found) - expected).cwiseAbs().maxCoeff());
  }
  CHECK(largest < 1e-12);
}

TEST_CASE("the bytes of a value are swapped whatever its type") {
  for (const StoredType type :
       {StoredType::uint8, StoredType::int16, StoredType::int32, StoredType::float32, StoredType::float64,
        StoredType::int8, StoredType::uint16, StoredType::uint32, StoredType::int64, StoredType::uint64}) {
    std::vector<std::uint8_t> bytes(bytes_of(type));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i + 1);
    std::vector<std::uint8_t> expected(bytes.rbegin(), bytes.rend());
    swap_bytes(type, bytes.data(), 1);
    CHECK(bytes == expected);
  }
}
