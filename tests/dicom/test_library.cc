// DICOM through the library: in C++ and in C.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "dicom/made_series.h"
#include "dicom/reading.h"
#include "e2enet/dicom.h"
#include "e2enet/e2enet_c.h"
#include "e2enet/image.h"
#include "e2enet/segmenter.h"
#include "model/random_model.h"
#include "support/temporary_folder.h"

using namespace e2enet;
using namespace e2enet::test;

namespace {

// Two series in one folder.
void write_two(const TemporaryFolder& folder) {
  MadeSeries a, b;
  b.uid = "1.2.3.4.5";
  b.number = "12";
  b.place = [](int k) { return Vector{0, 0, 3.0 * k + (k > 1 ? 2 : 0)}; };
  a.write(folder.path(), "a");
  b.write(folder.path(), "b");
}

}  // namespace

TEST_CASE("an image of a series has its geometry and voxels") {
  CHECK(dicom_is_available());
  TemporaryFolder folder;
  MadeSeries made;
  made.write(folder.path());
  CHECK(is_dicom(folder.path()));
  CHECK(!is_dicom(folder.path() + "/missing"));
  const Image image = Image::open(folder.path());
  CHECK(image.geometry().shape == Shape{4, 5, 7});
  CHECK(image.matrix() == "Image Position and Orientation (Patient)");
  std::vector<float> voxels(4 * 5 * 7);
  image.read(0, 0, 4, voxels.data());
  for (std::size_t v = 0; v < voxels.size(); ++v) {
    const Vector index = {double(v % 7), double(v / 7 % 5), double(v / 35)};
    CHECK(voxels[v] == static_cast<float>(v));
    CHECK(distance(at_voxel(image.geometry(), v), made.millimetres(int(index[0]), int(index[1]), int(index[2]))) <
          1e-4);
  }
}

TEST_CASE("a folder is listed, and a series or several chosen") {
  TemporaryFolder folder;
  write_two(folder);
  const DicomFolder listed = list_dicom({folder.path()});
  REQUIRE(listed.series.size() == 2);
  CHECK(listed.series[0].number == "7");
  CHECK(listed.series[0].slices == 4);
  CHECK(listed.series[0].volume);
  CHECK(listed.series[0].problem.empty());
  CHECK(contains(listed.series[1].problem, "(0020,0032)"));
  CHECK_THROWS_WITH_AS(Image::open(folder.path()), doctest::Contains("series: expected one that is a volume"), Error);
  OpenOptions options;
  options.series = {"7"};
  CHECK(Image::open({folder.path()}, options).channels() == 1);
  options.series = {"7", "1.2.3.4"};
  CHECK(Image::open({folder.path()}, options).channels() == 2);
  options.series = {"12"};
  CHECK_THROWS_WITH_AS(Image::open({folder.path()}, options), doctest::Contains("--regrid"), Error);
  options.regrid = true;
  CHECK(Image::open({folder.path()}, options).geometry().shape == Shape{5, 5, 7});
  options.series = {"7", "12", "7"};
  CHECK_THROWS_WITH_AS(Image::open({folder.path(), folder.path()}, options), doctest::Contains("series: expected one"),
                       Error);
}

TEST_CASE("the C functions open a series and write a segmentation") {
  TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("scan"));
  MadeSeries made;
  made.columns = 18;
  made.rows = 20;
  made.slices = 11;
  made.write(folder.file("scan"));
  model::write_random_model(
      R"({"input_channels": 1, "classes": 3, "base_features": 4, "patch_size": [8, 16, 16],
          "pool_strides": [[1, 2, 2], [2, 2, 2]], "density": 0.5})",
      "small", 5, folder.file("model.safetensors"));
  const std::string scan = folder.file("scan"), labels = folder.file("labels.dcm");
  const char* const paths[] = {scan.c_str()};
  const char* const series[] = {"7"};
  e2enet_image* image = nullptr;
  REQUIRE(e2enet_image_open_dicom(paths, 1, series, 1, 0, &image) == E2ENET_OK);
  std::int64_t shape[3];
  e2enet_image_geometry(image, shape, nullptr, nullptr);
  CHECK(shape[0] == 11);
  e2enet_model* loaded = nullptr;
  e2enet_segmenter* segmenter = nullptr;
  e2enet_request* request = nullptr;
  REQUIRE(e2enet_model_load(folder.file("model.safetensors").c_str(), &loaded) == E2ENET_OK);
  REQUIRE(e2enet_segmenter_create(loaded, nullptr, &segmenter) == E2ENET_OK);
  REQUIRE(e2enet_request_create(&request) == E2ENET_OK);
  REQUIRE(e2enet_request_set_labels_file(request, labels.c_str()) == E2ENET_OK);
  CHECK_MESSAGE(e2enet_segment(segmenter, image, request, nullptr) == E2ENET_OK, e2enet_last_error());
  CHECK(is_dicom(labels));
  // No slice is written over.
  const std::string slice = folder.file("scan/one.dcm");
  std::filesystem::rename(std::filesystem::directory_iterator(scan)->path(), slice);
  e2enet_image* again = nullptr;
  REQUIRE(e2enet_image_open_dicom(paths, 1, nullptr, 0, 0, &again) == E2ENET_OK);
  REQUIRE(e2enet_request_set_labels_file(request, slice.c_str()) == E2ENET_OK);
  CHECK(e2enet_segment(segmenter, again, request, nullptr) == E2ENET_INVALID_ARGUMENT);
  e2enet_image_free(again);
  REQUIRE(e2enet_request_set_labels_file(request, labels.c_str()) == E2ENET_OK);
  // A reference makes no sense where the image is a series itself.
  REQUIRE(e2enet_request_set_dicom_reference(request, scan.c_str(), nullptr) == E2ENET_OK);
  CHECK(e2enet_segment(segmenter, image, request, nullptr) == E2ENET_INVALID_ARGUMENT);
  CHECK(contains(e2enet_last_error(), "dicom_reference"));
  e2enet_request_free(request);
  e2enet_segmenter_free(segmenter);
  e2enet_model_free(loaded);
  e2enet_image_free(image);

  const char* const wrong[] = {"13"};
  CHECK(e2enet_image_open_dicom(paths, 1, wrong, 1, 0, &image) == E2ENET_INVALID_IMAGE);
  CHECK(image == nullptr);
  CHECK(contains(e2enet_last_error(), "number 13"));
  CHECK(e2enet_image_open_dicom(nullptr, 1, nullptr, 0, 0, &image) == E2ENET_INVALID_ARGUMENT);
}
