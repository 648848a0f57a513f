// What reading a series and writing a segmentation take in memory: a bounded amount, whatever the number of slices, and
// no more than the forecast says.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/program_fixture.h"
#include "dicom/made_series.h"
#include "dicom/reading.h"
#include "image/formats/dicom/segmentation_writer.h"
#include "support/skip.h"

using namespace e2enet;
using namespace e2enet::test;
namespace dicom = imaging::dicom;

namespace {

constexpr std::int64_t kMiB = 1 << 20;

// The largest resident memory of a process of its own in which `work` is done, above what it begins with.
std::int64_t peak_of(const std::function<void()>& work) {
  int pipes[2];
  REQUIRE(pipe(pipes) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    rusage before{}, after{};
    getrusage(RUSAGE_SELF, &before);
    int status = 0;
    try {
      work();
    } catch (const std::exception&) {
      status = 1;
    }
    getrusage(RUSAGE_SELF, &after);
    const std::int64_t bytes = (std::int64_t{after.ru_maxrss} - before.ru_maxrss) * 1024;
    if (write(pipes[1], &bytes, sizeof bytes) != static_cast<ssize_t>(sizeof bytes)) status = 1;
    _exit(status);
  }
  std::int64_t bytes = -1;
  CHECK(read(pipes[0], &bytes, sizeof bytes) == static_cast<ssize_t>(sizeof bytes));
  close(pipes[0]);
  close(pipes[1]);
  int status = -1;
  waitpid(child, &status, 0);
  REQUIRE(status == 0);
  return bytes;
}

MadeSeries large(int slices) {
  MadeSeries made;
  made.columns = 256;
  made.rows = 192;
  made.slices = slices;
  made.spacing = {1, 1, 1};
  made.stored = [](int i, int j, int k) { return (i * 7 + j * 13 + k * 29) % 4096; };
  return made;
}

void read_all(const std::string& folder) {
  dicom::DicomReader reader({folder});
  std::vector<float> slice(static_cast<std::size_t>(reader.slice_size()));
  for (std::int64_t d = 0; d < reader.shape()[0]; ++d) reader.read(d, d + 1, slice.data());
}

// A segmentation of noise in which every label is in every slice: nothing compresses less.
void write_noise(const std::string& folder, int labels, const std::string& path) {
  const dicom::DicomReader reader({folder});
  dicom::SegmentationDetails details;
  for (int label = 1; label <= labels; ++label) details.segments.push_back({label, "part", {}});
  dicom::SegmentationWriter writer(path, reader.series(), reader.stack(), details);
  std::vector<std::uint16_t> slice(static_cast<std::size_t>(reader.slice_size()));
  std::uint32_t random = 1;
  for (std::int64_t d = 0; d < reader.shape()[0]; ++d) {
    for (std::uint16_t& label : slice) {
      random = random * 1664525 + 1013904223;
      label = static_cast<std::uint16_t>((random >> 16) % static_cast<std::uint32_t>(labels + 1));
    }
    writer.append(slice.data(), static_cast<std::int64_t>(slice.size()));
  }
  writer.commit();
}

}  // namespace

TEST_CASE("memory does not grow with the slices, neither of what is read nor of what is written") {
  if (!kMemoryIsMeasured) E2ENET_SKIP("a sanitizer takes memory of its own");
  const Workshop shop;
  constexpr int kFew = 40, kMany = 400, kLabels = 12;
  for (const int slices : {kFew, kMany}) {
    const std::string folder = shop.path(std::to_string(slices));
    std::filesystem::create_directories(folder);
    large(slices).write(folder);
  }
  const std::string few = shop.path("40"), many = shop.path("400");

  // The slices are 37.5 MiB, as float32 75 MiB; of each a few kilobytes of attributes stay.
  const std::int64_t reading_few = peak_of([&] { read_all(few); }), reading_many = peak_of([&] { read_all(many); });
  INFO("reading 40 slices takes ", reading_few, " bytes, 400 slices ", reading_many);
  CHECK(reading_many < 12 * kMiB);
  CHECK(reading_many - reading_few < (kMany - kFew) * 8192 + 2 * kMiB);

  // 4,800 frames: 28 MiB of bits, and several kilobytes of attributes for each.
  const std::int64_t writing_few = peak_of([&] { write_noise(few, kLabels, shop.path("few.dcm")); });
  const std::int64_t writing_many = peak_of([&] { write_noise(many, kLabels, shop.path("many.dcm")); });
  INFO("writing 40 slices takes ", writing_few, " bytes, 400 slices ", writing_many);
  CHECK(std::filesystem::file_size(shop.path("many.dcm")) > 28 * kMiB);
  CHECK(double(writing_many - reading_many) < dicom::SegmentationWriter::memory_bytes({kMany, 192, 256}, kLabels));
  CHECK(writing_many - writing_few < (kMany - kFew) * 8192 + 2 * kMiB);
  CHECK(shop.files().size() == kFew + kMany + 2);  // the file beside has no name
}

TEST_CASE("the forecast counts a segmentation that is written, and labels that wait for it") {
  if (!kMemoryIsMeasured) E2ENET_SKIP("a sanitizer takes memory of its own");
  const Workshop shop;
  write_file(shop.path("config.json"), R"({"input_channels": 1, "classes": 3, "base_features": 4,
      "patch_size": [8, 16, 16], "pool_strides": [[1, 2, 2], [2, 2, 2]], "density": 0.5})");
  REQUIRE(shop.run({"random", "-o", "model.safetensors", "--config", "config.json", "--seed", "5"}).code == 0);
  std::filesystem::create_directories(shop.path("scan"));
  MadeSeries made = large(40);
  made.columns = 128;
  made.rows = 96;
  made.write(shop.path("scan"));
  const auto exporting = [&](const std::string& image, const std::string& out, const std::string& reference) {
    std::vector<std::string> call{"segment", "-m", "model.safetensors", "-i", image, "-o", out, "--dry-run", "--json"};
    if (!reference.empty()) call.insert(call.end(), {"--dicom-reference", reference});
    const Result result = shop.run(call);
    REQUIRE_MESSAGE(result.code == 0, result.errors);
    return nlohmann::json::parse(result.output)["memory"]["exporting"].get<double>();
  };
  const Shape shape{40, 96, 128};
  const double nifti = exporting("scan", "labels.nii.gz", "");
  const double segmentation = exporting("scan", "labels.dcm", "");
  CHECK(segmentation - nifti == doctest::Approx(dicom::SegmentationWriter::memory_bytes(shape, 3)).epsilon(0.01));
  REQUIRE(shop.run({"segment", "-m", "model.safetensors", "-i", "scan", "-o", "image.nii"}).code ==
          0);  // on its voxels
  const double referring = exporting("image.nii", "labels.dcm", "scan");
  CHECK(referring - segmentation == doctest::Approx(40 * 96 * 128 * 2.0).epsilon(0.01));

  // And it is kept to.
  const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", "scan", "-o", "labels.dcm", "--json"});
  REQUIRE_MESSAGE(result.code == 0, result.errors);
  const auto planned = nlohmann::json::parse(result.output)["planned_peak_bytes"].get<std::int64_t>();
  INFO("planned ", planned, ", found ", result.peak_bytes);
  CHECK(result.peak_bytes <= planned);
}
