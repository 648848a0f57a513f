#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "e2enet/error.h"
#include "image/nifti_bytes.h"
#include "image/orientation.h"
#include "support/nifti_images.h"

using namespace e2enet;
using namespace e2enet::imaging;
using test::gzipped;
using test::HeaderBytes;
using test::stored;
using test::TemporaryFolder;
using test::write_bytes;

namespace {

std::vector<float> voxels_of(const std::string& path) {
  const Image image = read_image(path);
  return {image.data(), image.data() + image.geometry.voxels()};
}

// The message with which opening and reading the file fails; empty where it does not.
std::string failure(const std::string& path, ErrorCode* code = nullptr) {
  try {
    read_image(path);
  } catch (const Error& error) {
    if (code) *code = error.code();
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

template <typename T>
void check_type(int code, const std::vector<T>& values) {
  TemporaryFolder folder;
  std::vector<float> expected;
  for (const T value : values) expected.push_back(static_cast<float>(value));
  for (const int version : {1, 2}) {
    for (const bool swapped : {false, true}) {
      for (const bool zipped : {false, true}) {
        CAPTURE(code);
        CAPTURE(version);
        CAPTURE(swapped);
        CAPTURE(zipped);
        HeaderBytes header(version, swapped);
        header.shape(static_cast<int>(values.size()), 1, 1).type(code, static_cast<int>(8 * sizeof(T)));
        const std::string bytes = header.file(stored(values, swapped));
        const std::string path = folder / (zipped ? "x.nii.gz" : "x.nii");
        write_bytes(path, zipped ? gzipped(bytes) : bytes);
        CHECK(voxels_of(path) == expected);

        header.set("scl_slope", 0.5).set("scl_inter", -3);
        write_bytes(path,
                    zipped ? gzipped(header.file(stored(values, swapped))) : header.file(stored(values, swapped)));
        const std::vector<float> scaled = voxels_of(path);
        for (std::size_t i = 0; i < values.size(); ++i) {
          CHECK(scaled[i] == static_cast<float>(static_cast<double>(values[i]) * 0.5 - 3));
        }
      }
    }
  }
}

template <typename T>
std::vector<T> extremes() {
  return {T{0}, T{1}, T{2}, T{100}, std::numeric_limits<T>::max(), std::numeric_limits<T>::lowest()};
}

// 3 x 2 x 2 voxels of int16 with a pattern that shows the axis order.
HeaderBytes small_header(int version = 1) { return HeaderBytes(version, false).shape(3, 2, 2).type(4, 16); }
std::string small_data() {
  return stored(std::vector<std::int16_t>{0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112});
}

}  // namespace

TEST_CASE("all integer and float types are read, in either byte order, scaled or not, NIfTI-1 and NIfTI-2") {
  check_type<std::uint8_t>(2, extremes<std::uint8_t>());
  check_type<std::int16_t>(4, extremes<std::int16_t>());
  check_type<std::int32_t>(8, extremes<std::int32_t>());
  check_type<float>(16, {0.0f, -1.5f, 3.25e10f, 1e-30f});
  check_type<double>(64, {0.0, -1.5, 3.25e10, 1e-30, 1.0 / 3});
  check_type<std::int8_t>(256, extremes<std::int8_t>());
  check_type<std::uint16_t>(512, extremes<std::uint16_t>());
  check_type<std::uint32_t>(768, extremes<std::uint32_t>());
  check_type<std::int64_t>(1024, extremes<std::int64_t>());
  check_type<std::uint64_t>(1280, extremes<std::uint64_t>());
}

TEST_CASE("a slope of zero or NaN means that values are not scaled") {
  TemporaryFolder folder;
  for (const double slope : {0.0, std::nan("")}) {
    write_bytes(folder / "x.nii", small_header().set("scl_slope", slope).set("scl_inter", 7).file(small_data()));
    CHECK(voxels_of(folder / "x.nii")[3] == 10);
  }
}

TEST_CASE("shape is depth, height, width: the file's axes from last to first") {
  TemporaryFolder folder;
  write_bytes(folder / "x.nii",
              small_header().set("pixdim", 0.5, 1).set("pixdim", 2, 2).set("pixdim", 5, 3).file(small_data()));
  ImageReader reader(folder / "x.nii");
  CHECK(reader.shape() == Shape{2, 2, 3});
  CHECK(reader.geometry().spacing == Spacing{5, 2, 0.5});
  float slice[6];
  reader.read(1, 2, slice);
  CHECK(slice[0] == 100);
  CHECK(slice[4] == 111);
}

TEST_CASE("a 4D image of one volume is a volume") {
  TemporaryFolder folder;
  write_bytes(folder / "x.nii", small_header().set("dim", 4, 0).set("dim", 1, 4).file(small_data()));
  CHECK(voxels_of(folder / "x.nii").size() == 12);
  write_bytes(folder / "x.nii", small_header().set("dim", 5, 0).file(small_data()));
  CHECK(voxels_of(folder / "x.nii").size() == 12);
}

TEST_CASE("a pair of header and image file is found by either name, gzipped or not") {
  TemporaryFolder folder;
  for (const int version : {1, 2}) {
    HeaderBytes header = small_header(version);
    header.set_magic(version == 1 ? std::string("ni1\0", 4) : std::string("ni2\0\r\n\032\n", 8)).set("vox_offset", 0);
    for (const std::string ending : {"", ".gz"}) {
      CAPTURE(version);
      CAPTURE(ending);
      write_bytes(folder / ("p.hdr" + ending), ending.empty() ? header.bytes() : gzipped(header.bytes()));
      write_bytes(folder / ("p.img" + ending), ending.empty() ? small_data() : gzipped(small_data()));
      CHECK(voxels_of(folder / ("p.hdr" + ending))[3] == 10);
      CHECK(voxels_of(folder / ("p.img" + ending))[3] == 10);
      std::filesystem::remove(folder / ("p.img" + ending));
      CHECK(contains(failure(folder / ("p.hdr" + ending)), "p.img"));
      std::filesystem::remove(folder / ("p.hdr" + ending));
    }
    // A plain header with a gzipped image.
    write_bytes(folder / "m.hdr", header.bytes());
    write_bytes(folder / "m.img.gz", gzipped(small_data()));
    CHECK(voxels_of(folder / "m.hdr")[11] == 112);
    CHECK(voxels_of(folder / "m.img.gz")[11] == 112);
    header.set("vox_offset", 8);
    write_bytes(folder / "o.hdr", header.bytes());
    write_bytes(folder / "o.img", std::string(8, 'x') + small_data());
    CHECK(voxels_of(folder / "o.img")[3] == 10);
  }
}

TEST_CASE("slices can be read in any order and again") {
  TemporaryFolder folder;
  std::vector<std::int16_t> values;
  for (int i = 0; i < 5 * 7 * 9; ++i) values.push_back(static_cast<std::int16_t>(i * 37 % 1000));
  const std::string bytes = HeaderBytes(1, false).shape(5, 7, 9).type(4, 16).file(stored(values));
  write_bytes(folder / "x.nii", bytes);
  write_bytes(folder / "x.nii.gz", gzipped(bytes));
  for (const std::string name : {"x.nii", "x.nii.gz"}) {
    ImageReader reader(folder / name);
    for (const auto& [begin, end] : {std::pair{3, 5}, {0, 9}, {8, 9}, {0, 1}, {4, 4}, {2, 8}}) {
      std::vector<float> slices(static_cast<std::size_t>((end - begin) * 35));
      reader.read(begin, end, slices.data());
      for (std::size_t i = 0; i < slices.size(); ++i) {
        REQUIRE(slices[i] == values[static_cast<std::size_t>(begin * 35) + i]);
      }
    }
  }
}

TEST_CASE("the affine comes from the sform, else the qform, else the spacing") {
  TemporaryFolder folder;
  HeaderBytes header = small_header();
  header.set("pixdim", 2, 1).set("pixdim", 3, 2).set("pixdim", 4, 3);
  write_bytes(folder / "x.nii", header.file(small_data()));
  CHECK(ImageReader(folder / "x.nii").geometry().affine == Affine{2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 1});

  // A quarter turn about z: i runs along y, j against x. b = c = 0, d = sqrt(1/2).
  header.set("qform_code", 1).set("quatern_d", std::sqrt(0.5)).set("qoffset_x", 10).set("qoffset_z", -5);
  for (const double qfac : {1.0, -1.0, 0.0}) {
    header.set("pixdim", qfac, 0);
    write_bytes(folder / "x.nii", header.file(small_data()));
    const Affine affine = ImageReader(folder / "x.nii").geometry().affine;
    const Affine expected{0, -3, 0, 10, 2, 0, 0, 0, 0, 0, qfac < 0 ? -4.0 : 4.0, -5, 0, 0, 0, 1};
    for (std::size_t i = 0; i < 16; ++i) CHECK(affine[i] == doctest::Approx(expected[i]).epsilon(1e-6));
  }
  // A half turn about x, given with the rounding of floats: b = 1.
  header.set("pixdim", 1, 0).set("quatern_d", 0).set("quatern_b", 1.0000001);
  write_bytes(folder / "x.nii", header.file(small_data()));
  const Affine turned = ImageReader(folder / "x.nii").geometry().affine;
  CHECK(turned[0] == doctest::Approx(2));
  CHECK(turned[5] == doctest::Approx(-3));
  CHECK(turned[10] == doctest::Approx(-4));

  header.set("sform_code", 2).set("srow_x", -2, 0).set("srow_y", 3, 1).set("srow_z", 4, 2).set("srow_z", 7, 3);
  write_bytes(folder / "x.nii", header.file(small_data()));
  CHECK(ImageReader(folder / "x.nii").geometry().affine == Affine{-2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 7, 0, 0, 0, 1});
}

TEST_CASE("metres and micrometres become millimetres") {
  TemporaryFolder folder;
  write_bytes(folder / "x.nii", small_header().set("xyzt_units", 1).set("pixdim", 0.002, 1).file(small_data()));
  CHECK(ImageReader(folder / "x.nii").geometry().spacing[2] == doctest::Approx(2));
  write_bytes(folder / "x.nii", small_header().set("xyzt_units", 3 | 8).set("pixdim", 500, 1).file(small_data()));
  CHECK(ImageReader(folder / "x.nii").geometry().spacing[2] == doctest::Approx(0.5));
}

TEST_CASE("gzip is told by content, not by name; bytes after the voxels do no harm") {
  TemporaryFolder folder;
  const std::string bytes = small_header().file(small_data());
  write_bytes(folder / "z.nii", gzipped(bytes + "trailing"));
  write_bytes(folder / "p.nii.gz", bytes + "trailing");
  write_bytes(folder / "t.nii.gz", gzipped(bytes) + "garbage after the stream");
  for (const std::string name : {"z.nii", "p.nii.gz", "t.nii.gz"}) {
    CAPTURE(name);
    CHECK(voxels_of(folder / name)[11] == 112);
  }
}

TEST_CASE("a lie in any field is refused with the file, the field and what was found") {
  TemporaryFolder folder;
  const double nan = std::nan(""), infinity = HUGE_VAL;
  struct Lie {
    const char* field;
    double value;
    int element;
    const char* message;
  };
  const Lie lies[] = {
      {"sizeof_hdr", 0, 0, "sizeof_hdr"},
      {"sizeof_hdr", 347, 0, "sizeof_hdr"},
      {"dim", 0, 0, "dim[0]"},
      {"dim", -1, 0, "dim[0]"},
      {"dim", 8, 0, "dim[0]"},
      {"dim", 2, 0, "an image of 2"},
      {"dim", 1, 0, "an image of 1"},
      {"dim", 0, 1, "dim[1]"},
      {"dim", -3, 2, "dim[2]"},
      {"dim", 32767, 3, "cut short"},
      {"datatype", 0, 0, "UNKNOWN"},
      {"datatype", 1, 0, "found 1"},
      {"datatype", 128, 0, "(RGB24)"},
      {"datatype", 32, 0, "COMPLEX64"},
      {"datatype", 1536, 0, "FLOAT128"},
      {"datatype", 2304, 0, "(RGBA32)"},
      {"datatype", 3, 0, "datatype"},
      {"datatype", -4, 0, "datatype"},
      {"vox_offset", -352, 0, "vox_offset"},
      {"vox_offset", 348, 0, "vox_offset"},
      {"dim", -1, 4, "dim[4]"},
      {"sform_code", 6, 0, "sform_code"},
      {"qform_code", 1000, 0, "qform_code"},
      {"pixdim", -0.5, 0, "pixdim[0]"},
      {"vox_offset", 1e9, 0, "cut short"},
      {"pixdim", 0, 1, "pixdim[1]"},
      {"pixdim", nan, 3, "pixdim[3]"},
      {"pixdim", infinity, 3, "pixdim[3]"},
      {"scl_slope", infinity, 0, "scl_slope"},
      {"scl_inter", nan, 0, "scl_inter"},
      {"scl_inter", -infinity, 0, "scl_inter"},
      {"quatern_b", nan, 0, "quatern_b"},
      {"quatern_c", 1e20, 0, "quatern_c"},
      {"quatern_d", infinity, 0, "quatern_d"},
      {"qoffset_x", nan, 0, "qoffset_x"},
      {"qoffset_y", infinity, 0, "qoffset_y"},
      {"srow_x", nan, 1, "srow_x[1]"},
      {"srow_y", infinity, 3, "srow_y[3]"},
      {"srow_z", 0, 2, "determinant"},
      {"srow_x", 0, 0, "determinant"},
  };
  for (const int version : {1, 2}) {
    for (const Lie& lie : lies) {
      CAPTURE(version);
      CAPTURE(lie.field);
      CAPTURE(lie.value);
      CAPTURE(lie.element);
      HeaderBytes header = small_header(version);
      // Only the matrix that is lied about is there: another good one would be taken.
      const bool of_sform = contains(lie.field, "srow") || contains(lie.field, "sform");
      header.set("scl_slope", 2).set(of_sform ? "sform_code" : "qform_code", 1);
      header.set("srow_x", 1, 0).set("srow_y", 1, 1).set("srow_z", 1, 2).set("dim", 4, 0);
      write_bytes(folder / "good.nii", header.file(small_data()));
      REQUIRE(failure(folder / "good.nii") == "");
      header.set(lie.field, lie.value, lie.element);
      for (const bool zipped : {false, true}) {
        const std::string name = zipped ? "liar.nii.gz" : "liar.nii";
        write_bytes(folder / name, zipped ? gzipped(header.file(small_data())) : header.file(small_data()));
        const std::string message = failure(folder / name);
        CAPTURE(message);
        CHECK(contains(message, folder / name));
        const bool too_much_in_gzip = zipped && contains(lie.message, "cut short");
        CHECK((contains(message, lie.message) || (too_much_in_gzip && contains(message, "cannot hold"))));
        CHECK(contains(message, "found"));
      }
    }
  }
}

namespace {

// All remarks of an image, warnings marked, one a line.
std::string remarks_of(const std::string& path) {
  std::string lines;
  const ImageReader reader(path);
  for (const Remark& remark : reader.header().remarks) {
    lines += (remark.weight == Remark::Weight::warning ? "warning: " : "") + remark.text + "\n";
  }
  return lines;
}

// small_header() with an sform of `matrix` (row-major 3 x 3) and spacings that fit it.
HeaderBytes with_sform(const std::array<double, 9>& matrix, int version = 1) {
  HeaderBytes header = small_header(version);
  header.set("sform_code", 1);
  for (int column = 0; column < 3; ++column) {
    const auto at = static_cast<std::size_t>(column);
    header.set("srow_x", matrix[at], column)
        .set("srow_y", matrix[3 + at], column)
        .set("srow_z", matrix[6 + at], column);
    header.set("pixdim", std::hypot(matrix[at], matrix[3 + at], matrix[6 + at]), column + 1);
  }
  return header;
}

}  // namespace

TEST_CASE("headers with one meaning are read, and a remark says how") {
  TemporaryFolder folder;
  const std::string path = folder / "x.nii", zipped = folder / "x.nii.gz";
  for (const int version : {1, 2}) {
    CAPTURE(version);
    const HeaderBytes good = with_sform({-2, 0, 0, 0, 3, 0, 0, 0, 4}, version);
    write_bytes(path, good.file(small_data()));
    CHECK(remarks_of(path) == "");
    const std::vector<float> voxels = voxels_of(path);
    const Affine affine = ImageReader(path).geometry().affine;
    struct Peculiarity {
      const char* field;
      double value;
      int element;
      const char* remark;
    };
    const Peculiarity peculiarities[] = {
        {"bitpix", 8, 0, "bitpix is 8"},      {"bitpix", -16, 0, "bitpix is -16"},
        {"bitpix", 0, 0, "bitpix is 0"},      {"vox_offset", 0, 0, "vox_offset is 0"},
        {"pixdim", -2, 1, "pixdim[1] is -2"}, {"pixdim", -4, 3, "pixdim[3] is -4"},
        {"dim", 0, 4, "dim[4] is 0"},         {"dim", 0, 7, "dim[7] is 0"},
    };
    for (const Peculiarity& one : peculiarities) {
      CAPTURE(one.remark);
      HeaderBytes header = good;
      header.set("dim", 7, 0).set(one.field, one.value, one.element);
      write_bytes(path, header.file(small_data()));
      write_bytes(zipped, gzipped(header.file(small_data())));
      for (const std::string& file : {path, zipped}) {
        CHECK(voxels_of(file) == voxels);
        CHECK(ImageReader(file).geometry().affine == affine);
        CHECK(ImageReader(file).geometry().spacing == Spacing{4, 3, 2});
        CHECK(ImageReader(file).shape() == Shape{2, 2, 3});
        CHECK(contains(remarks_of(file), one.remark));
      }
    }
    // Two places for the voxels: after the header, or after the extensions.
    HeaderBytes header = good;
    std::string bytes = header.set("vox_offset", 0).file(small_data());
    bytes[version == 1 ? 348 : 540] = 1;
    write_bytes(path, bytes);
    CHECK(contains(failure(path), "vox_offset"));
    // A file whose voxels follow the header at once is too short to be read otherwise.
    write_bytes(path, header.bytes() + small_data());
    CHECK(contains(failure(path), "cut short"));
  }
}

TEST_CASE("the matrix in use: a usable sform, else a usable qform, else none where none is claimed") {
  TemporaryFolder folder;
  const std::string path = folder / "x.nii";
  const double nan = std::nan("");
  const auto source = [&](const HeaderBytes& header) {
    write_bytes(path, header.file(small_data()));
    const ImageReader reader(path);
    return matrix_name(reader.header().matrix_source()) + std::string(" ") + orientation_code(reader.geometry().affine);
  };
  // sform LAS; qform, a half turn about x, RPI.
  HeaderBytes both = with_sform({-1, 0, 0, 0, 1, 0, 0, 0, 1});
  both.set("qform_code", 1).set("quatern_b", 1);
  CHECK(source(both) == "sform LAS");
  CHECK(contains(remarks_of(path), "sform and qform differ (LAS and RPI): the sform is used"));
  HeaderBytes qform = both;
  CHECK(source(qform.set("sform_code", 0)) == "qform RPI");
  CHECK(remarks_of(path) == "");
  HeaderBytes none = both;
  CHECK(source(none.set("sform_code", 0).set("qform_code", 0)) == "spacing RAS");
  CHECK(contains(remarks_of(path), "does not tell how it lies"));

  for (const double bad : {0.0, nan, HUGE_VAL}) {
    CAPTURE(bad);
    HeaderBytes header = both;
    for (int column = 0; column < 4; ++column) header.set("srow_x", bad, column);
    CHECK(source(header) == "qform RPI");
    CHECK(contains(remarks_of(path), "its sform cannot be used"));
    header.set("qform_code", 0);
    write_bytes(path, header.file(small_data()));
    CHECK(contains(failure(path), "sform: expected a usable matrix"));
    header.set("qform_code", 1).set("quatern_b", nan);
    write_bytes(path, header.file(small_data()));
    CHECK(contains(failure(path), "sform and qform: expected a usable matrix"));
  }
  for (const double bad : {nan, 1.1, HUGE_VAL}) {
    CAPTURE(bad);
    HeaderBytes header = both;
    CHECK(source(header.set("quatern_b", bad)) == "sform LAS");
    CHECK(contains(remarks_of(path), "its qform cannot be used"));
    header.set("sform_code", 0);
    write_bytes(path, header.file(small_data()));
    CHECK(contains(failure(path), "qform: expected a usable matrix"));
  }
  HeaderBytes unused = both;  // a sign of the qform that means two things does not matter where the sform is used
  CHECK(source(unused.set("pixdim", -2, 0)) == "sform LAS");
}

TEST_CASE("a matrix that contradicts the spacing, or is sheared, is said; volumes are the matrix's") {
  TemporaryFolder folder;
  const std::string path = folder / "x.nii";
  HeaderBytes longer = with_sform({1, 0, 0, 0, 1, 0, 0, 0, 2});
  write_bytes(path, longer.set("pixdim", 1, 3).file(small_data()));
  CHECK(ImageReader(path).geometry().voxel_ml() == doctest::Approx(0.002));
  CHECK(contains(remarks_of(path), "warning: a voxel has 2 mm3 and sides of 1 x 1 x 2 mm by the sform, 1 mm3"));
  // Rounding is no contradiction, whatever the angles.
  write_bytes(path, with_sform({0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1.2}).set("pixdim", 1.201, 3).file(small_data()));
  CHECK(remarks_of(path) == "");
  CHECK(ImageReader(path).geometry().voxel_ml() == doctest::Approx(0.0012));
  // A gantry that is tilted by 30 degrees: the columns have the spacings' lengths, the voxels a smaller volume.
  write_bytes(path,
              with_sform({1, 0, 0, 0, 1, std::sin(0.5235987756), 0, 0, std::cos(0.5235987756)}).file(small_data()));
  CHECK(ImageReader(path).geometry().voxel_ml() == doctest::Approx(0.001 * std::cos(0.5235987756)));
  CHECK(contains(remarks_of(path), "warning: a voxel has 0.866025 mm3"));
  CHECK(contains(remarks_of(path), "warning: the axes j and k are at 60 degrees"));
  // The same lengths on other axes.
  HeaderBytes exchanged = with_sform({1, 0, 0, 0, 2, 0, 0, 0, 3});
  write_bytes(path, exchanged.set("pixdim", 3, 1).set("pixdim", 1, 3).file(small_data()));
  CHECK(contains(remarks_of(path),
                 "warning: a voxel has 6 mm3 and sides of 1 x 2 x 3 mm by the sform, 6 mm3 and 3 x 2 x 1"));
}

TEST_CASE("dimensions that no memory holds are refused before any is asked for") {
  TemporaryFolder folder;
  for (const double size : {1e6, 1e9, 9e18}) {
    CAPTURE(size);
    HeaderBytes header = small_header(2);
    for (int axis = 1; axis <= 3; ++axis) header.set("dim", size, axis);
    write_bytes(folder / "x.nii", header.file(small_data()));
    CHECK(contains(failure(folder / "x.nii"), "dim"));
    write_bytes(folder / "x.nii.gz", gzipped(header.file(small_data())));
    CHECK(contains(failure(folder / "x.nii.gz"), "dim"));
  }
  HeaderBytes header = small_header(2);
  header.set("dim", 1 << 20, 1).set("dim", 1 << 20, 2).set("dim", 100, 3);
  write_bytes(folder / "x.nii.gz", gzipped(header.file(small_data())));
  CHECK(contains(failure(folder / "x.nii.gz"), "cannot hold"));
}

TEST_CASE("several volumes are refused by number") {
  TemporaryFolder folder;
  write_bytes(folder / "x.nii", small_header().set("dim", 4, 0).set("dim", 6, 4).file(small_data()));
  CHECK(contains(failure(folder / "x.nii"), "6 volumes"));
}

TEST_CASE("a wrong magic is refused") {
  TemporaryFolder folder;
  write_bytes(folder / "x.nii", small_header().set_magic(std::string("\0\0\0\0", 4)).file(small_data()));
  CHECK(contains(failure(folder / "x.nii"), "magic"));
  write_bytes(folder / "x.nii", small_header().set_magic("abc").file(small_data()));
  CHECK(contains(failure(folder / "x.nii"), "'abc'"));
  write_bytes(folder / "x.nii", small_header().set_magic("ni1").file(small_data()));
  CHECK(contains(failure(folder / "x.nii"), "separate .img"));
  write_bytes(folder / "x.nii", small_header(2).set_magic(std::string("n+2\0\n\n\032\n", 8)).file(small_data()));
  CHECK(contains(failure(folder / "x.nii"), "magic"));
}

TEST_CASE("what is no NIfTI file is refused") {
  TemporaryFolder folder;
  ErrorCode code = ErrorCode::internal;
  CHECK(contains(failure(folder / "missing.nii", &code), "missing.nii"));
  CHECK(code == ErrorCode::cannot_read);
  std::filesystem::create_directory(folder / "folder.nii");
  CHECK(contains(failure(folder / "folder.nii", &code), "folder"));
  write_bytes(folder / "empty.nii", "");
  CHECK(contains(failure(folder / "empty.nii", &code), "0 bytes"));
  CHECK(code == ErrorCode::invalid_image);
  write_bytes(folder / "empty.nii.gz", "");
  CHECK(failure(folder / "empty.nii.gz", &code) != "");
  write_bytes(folder / "text.nii", std::string(1000, 'x'));
  CHECK(contains(failure(folder / "text.nii", &code), "sizeof_hdr"));
  write_bytes(folder / "image.png", small_header().file(small_data()));
  CHECK(contains(failure(folder / "image.png", &code), "file name"));
}

TEST_CASE("a file cut short at any byte is refused, and says so") {
  TemporaryFolder folder;
  for (const int version : {1, 2}) {
    const std::string bytes = small_header(version).file(small_data());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      CAPTURE(version);
      CAPTURE(size);
      write_bytes(folder / "x.nii", bytes.substr(0, size));
      const std::string message = failure(folder / "x.nii");
      CHECK(contains(message, "x.nii"));
      CHECK(contains(message, "found"));
    }
  }
}

TEST_CASE("a gzip stream cut short at any byte is refused") {
  TemporaryFolder folder;
  std::vector<std::int16_t> values;
  for (int i = 0; i < 1000; ++i) values.push_back(static_cast<std::int16_t>(i * 7919 % 30011));
  const std::string bytes = gzipped(HeaderBytes(1, false).shape(10, 10, 10).type(4, 16).file(stored(values)));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    write_bytes(folder / "x.nii.gz", bytes.substr(0, size));
    const std::string message = failure(folder / "x.nii.gz");
    CHECK(contains(message, "x.nii.gz"));
  }
}

TEST_CASE("a damaged gzip stream is never taken for a good one") {
  TemporaryFolder folder;
  std::vector<std::int16_t> values;
  for (int i = 0; i < 1000; ++i) values.push_back(static_cast<std::int16_t>(i * 7919 % 30011));
  const std::string bytes = gzipped(HeaderBytes(1, false).shape(10, 10, 10).type(4, 16).file(stored(values)));
  write_bytes(folder / "good.nii.gz", bytes);
  const std::vector<float> expected = voxels_of(folder / "good.nii.gz");
  int refused = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    CAPTURE(at);
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    write_bytes(folder / "x.nii.gz", damaged);
    std::vector<float> found;
    try {
      found = voxels_of(folder / "x.nii.gz");
    } catch (const Error&) {
      ++refused;
      continue;
    }
    // The few bytes of a gzip header that mean nothing (time, system) may change.
    CHECK(at < 10);
    CHECK(found == expected);
  }
  CHECK(refused > static_cast<int>(bytes.size()) - 10);
}

TEST_CASE("no value of any header byte crashes the reader") {
  TemporaryFolder folder;
  for (const int version : {1, 2}) {
    HeaderBytes header = small_header(version);
    header.set("qform_code", 1).set("sform_code", 1).set("srow_x", 1, 0).set("srow_y", 1, 1).set("srow_z", 1, 2);
    const std::string bytes = header.file(small_data());
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      for (const unsigned char value : {0x00, 0x01, 0x03, 0x7f, 0x80, 0xff}) {
        std::string changed = bytes;
        changed[at] = static_cast<char>(value);
        write_bytes(folder / "x.nii", changed);
        try {
          const Image image = read_image(folder / "x.nii");
          CHECK(image.geometry.voxels() <= 12);
        } catch (const Error& error) {
          CHECK(contains(error.what(), "x.nii"));
        }
      }
    }
  }
}

TEST_CASE("a file that changes while it is read is noticed") {
  TemporaryFolder folder;
  const std::string bytes = small_header().file(small_data());
  write_bytes(folder / "x.nii", bytes);
  ImageReader reader(folder / "x.nii");
  float slice[6];
  reader.read(0, 1, slice);
  write_bytes(folder / "x.nii", bytes + "more");
  CHECK_THROWS_AS(reader.read(1, 2, slice), Error);
}

TEST_CASE("channels on different grids are refused by both names") {
  TemporaryFolder folder;
  write_bytes(folder / "a.nii", small_header().file(small_data()));
  write_bytes(folder / "same.nii", small_header().set("pixdim", 1.0001, 1).file(small_data()));
  write_bytes(folder / "shape.nii", small_header().shape(2, 3, 2).file(small_data()));
  write_bytes(folder / "spacing.nii", small_header().set("pixdim", 1.1, 1).file(small_data()));
  HeaderBytes moved = small_header();
  moved.set("qform_code", 1).set("qoffset_x", 5);
  write_bytes(folder / "moved.nii", moved.file(small_data()));
  ImageReader first(folder / "a.nii");
  CHECK_NOTHROW(require_same_grid(first, ImageReader(folder / "same.nii")));
  for (const std::string name : {"shape.nii", "spacing.nii", "moved.nii"}) {
    CAPTURE(name);
    try {
      require_same_grid(first, ImageReader(folder / name));
      CHECK(false);
    } catch (const Error& error) {
      CHECK(contains(error.what(), name));
      CHECK(contains(error.what(), "a.nii"));
    }
  }
}

TEST_CASE("labels must be whole numbers") {
  TemporaryFolder folder;
  const auto file = [&](const std::vector<float>& values) {
    write_bytes(folder / "x.nii", HeaderBytes(1, false).shape(2, 1, 1).type(16, 32).file(stored(values)));
    return folder / "x.nii";
  };
  CHECK(read_labels(file({0, 300})).labels == std::vector<std::uint16_t>{0, 300});
  CHECK(read_labels(file({0.99998f, 299.991f})).labels == std::vector<std::uint16_t>{1, 300});
  CHECK(read_labels(file({-0.004f, 65535.004f})).labels == std::vector<std::uint16_t>{0, 65535});
  CHECK_THROWS_AS(read_labels(file({0, 0.5f})), Error);
  CHECK_THROWS_AS(read_labels(file({0, 1.02f})), Error);
  CHECK_THROWS_AS(read_labels(file({0, -0.02f})), Error);
  CHECK_THROWS_AS(read_labels(file({0, 65536})), Error);
  CHECK_THROWS_AS(read_labels(file({-1, 0})), Error);
  CHECK_THROWS_AS(read_labels(file({0, std::nanf("")})), Error);
  CHECK_THROWS_AS(read_labels(file({0, 70000})), Error);
  try {
    read_labels(file({1, 1.98f}));
    FAIL("accepted");
  } catch (const Error& error) {
    CAPTURE(error.what());
    CHECK(contains(error.what(), "x.nii"));
    CHECK(contains(error.what(), "voxel (1, 0, 0)"));
  }
}

TEST_CASE("labels stored with a scale factor are the nearest whole numbers") {
  TemporaryFolder folder;
  // As nibabel stores 0, 1, 7 given as floats: 7 becomes 32767, and 1 comes back as 0.99998.
  write_bytes(folder / "x.nii", HeaderBytes(1, false)
                                    .shape(3, 1, 1)
                                    .type(4, 16)
                                    .set("scl_slope", 7.0 / 32767)
                                    .file(stored(std::vector<std::int16_t>{0, 4681, 32767})));
  CHECK(read_labels(folder / "x.nii").labels == std::vector<std::uint16_t>{0, 1, 7});
}

TEST_CASE("an image that is kept is read from its file once") {
  TemporaryFolder folder;
  const std::string bytes = small_header().file(small_data());
  for (const bool zipped : {false, true}) {
    CAPTURE(zipped);
    const std::string path = folder / (zipped ? "x.nii.gz" : "x.nii");
    write_bytes(path, zipped ? gzipped(bytes) : bytes);
    ImageReader reader(path);
    const std::int64_t slices = reader.shape()[0];
    const std::size_t voxels = std::size_t(reader.geometry().voxels());
    std::vector<float> expected(voxels), kept(voxels, -1.0f);
    reader.read(0, slices, expected.data());
    reader.keep();
    // In pieces, and not from the start.
    reader.read(1, slices, kept.data() + reader.slice_size());
    reader.read(0, 1, kept.data());
    CHECK(kept == expected);
    write_bytes(path, "another file");
    std::fill(kept.begin(), kept.end(), -1.0f);
    reader.read(0, slices, kept.data());
    CHECK(kept == expected);
    reader.forget();
    CHECK_THROWS_AS(reader.read(0, slices, kept.data()), Error);
  }
}

TEST_CASE("a file that changes is noticed by the call that reads it, wherever that is, kept or not") {
  TemporaryFolder folder;
  const std::string bytes = small_header().file(small_data());
  std::vector<float> slice(6);
  for (const bool kept : {false, true}) {
    for (const bool same_size : {false, true}) {
      for (const bool zipped : {false, true}) {
        CAPTURE(kept);
        CAPTURE(same_size);
        CAPTURE(zipped);
        const std::string path = folder / "y.nii.gz";
        const std::string before = zipped ? gzipped(bytes) : bytes;
        write_bytes(path, before);
        ImageReader reader(path);
        if (kept) reader.keep();
        reader.read(0, 1, slice.data());
        // Inside a pass: the next slices are in the reader's buffer already.
        write_bytes(path, same_size ? before : before + "more");
        std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(2));
        try {
          reader.read(1, 2, slice.data());
          FAIL_CHECK("was read");
        } catch (const Error& error) {
          CHECK(error.code() == ErrorCode::invalid_image);
          CHECK(contains(error.what(), path));
          CHECK(contains(error.what(), "changed"));
        }
      }
    }
  }
}
