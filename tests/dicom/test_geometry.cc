// Where the voxels of a series lie, however its slices are ordered, directed or turned; compared with formulas and with
// dcm2niix.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "dicom/made_series.h"
#include "dicom/reading.h"
#include "image/formats/nifti/nifti_reader.h"
#include "support/paths.h"
#include "support/skip.h"
#include "support/temporary_folder.h"

using namespace e2enet;
using namespace e2enet::test;
using imaging::dicom::DicomReader;

namespace {

float unique_value(const MadeSeries& s, int i, int j, int k) {
  return static_cast<float>(i + s.columns * (j + s.rows * k));
}

void check_geometry(const MadeSeries& made) {
  TemporaryFolder folder;
  made.write(folder.path());
  DicomReader reader({folder.path()});
  check_against_truth(reader, made, [&](int i, int j, int k) { return unique_value(made, i, j, k); });
}

// Converts a folder with dcm2niix and compares. Values as the standard's own rescale gives them (-p n), not Philips's.
void check_against_dcm2niix(const std::string& folder) {
  CAPTURE(folder);
  TemporaryFolder out;
  const std::string call =
      "dcm2niix -b n -z n -p n -f out -o '" + out.path() + "' '" + folder + "' >'" + out.file("log") + "' 2>&1";
  REQUIRE(std::system(call.c_str()) == 0);
  std::vector<std::string> images;
  for (const auto& entry : std::filesystem::directory_iterator(out.path())) {
    if (entry.path().extension() == ".nii") images.push_back(entry.path().string());
  }
  REQUIRE(images.size() == 1);
  imaging::ImageReader converted(images[0]);
  DicomReader reader({folder});
  check_same_volume(converted.geometry(), all_voxels(converted), reader.geometry(), all_voxels(reader));
}

}  // namespace

TEST_CASE("every voxel is at its place in all 48 axis orders and flips, straight and oblique") {
  for (const Directions& directions : axis_orders()) {
    for (const double degrees : {0.0, 25.0}) {
      CAPTURE(degrees);
      MadeSeries made;
      made.directions = turned(directions, degrees);
      for (const auto& d : made.directions) CAPTURE(d);
      made.order = {2, 0, 3, 1};
      check_geometry(made);
    }
  }
}

TEST_CASE("an enhanced multi-frame file gives the same places by its functional groups") {
  for (const Directions& directions : axis_orders()) {
    MadeSeries made;
    made.enhanced = true;
    made.directions = turned(directions, 10);
    made.order = {3, 1, 0, 2};
    check_geometry(made);
  }
}

TEST_CASE("two slices are a volume") {
  MadeSeries made;
  made.slices = 2;
  check_geometry(made);
}

TEST_CASE("a made series reads as dcm2niix converts it, in all 48 axis orders and flips, straight and oblique") {
  if (!has_program("dcm2niix")) E2ENET_SKIP("dcm2niix is not installed");
  for (const Directions& directions : axis_orders()) {
    for (const double degrees : {0.0, 25.0}) {
      MadeSeries made;
      made.columns = 9;
      made.rows = 8;
      made.slices = 5;
      made.directions = turned(directions, degrees);
      made.order = {4, 2, 0, 3, 1};
      TemporaryFolder folder;
      made.write(folder.path());
      check_against_dcm2niix(folder.path());
    }
  }
}

TEST_CASE("the shared series read as dcm2niix converts them" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("data/dicom/dicom2nifti");
  if (!has_program("dcm2niix")) E2ENET_SKIP("dcm2niix is not installed");
  for (const char* series :
       {"generic_anatomical", "generic_anatomical_001_implicit", "generic_anatomical_002_non_isotropic",
        "generic_compressed", "generic_compressed_j2k", "generic_compressed_jpeg", "generic_compressed_rle",
        "ge_anatomical", "hitachi_anatomical", "hyperfine_anatomical", "philips_anatomical",
        "philips_enhanced_anatomical", "siemens_anatomical", "siemens_multiframe_anatomical", "failing_slicecount"}) {
    check_against_dcm2niix(shared_path(std::string("data/dicom/dicom2nifti/") + series));
  }
}

// Debian's dcm2niix reads no JPEG-LS.
TEST_CASE("the shared series in five compressions have equal voxels" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("data/dicom/dicom2nifti");
  const auto path = [](const char* name) { return shared_path(std::string("data/dicom/dicom2nifti/") + name); };
  DicomReader expected({path("generic_compressed_rle")});
  const std::vector<float> voxels = all_voxels(expected);
  for (const char* series :
       {"generic_compressed", "generic_compressed_j2k", "generic_compressed_jpeg", "generic_compressed_jpegls"}) {
    CAPTURE(series);
    DicomReader reader({path(series)});
    CHECK(reader.geometry().affine == expected.geometry().affine);
    CHECK(all_voxels(reader) == voxels);
  }
}
