// The program on DICOM series, as a user calls it: what it reads, writes, lists and refuses.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "cli/program_fixture.h"
#include "dicom/made_series.h"
#include "dicom/reading.h"
#include "support/paths.h"
#include "support/skip.h"

using namespace e2enet;
using namespace e2enet::test;

namespace {

// A network of 3 classes in the body's own axes, without resampling: what it sees does not depend on the order in which
// a file has its voxels.
void make_model(const Workshop& shop, int channels = 1) {
  std::string normalization;
  for (int c = 0; c < channels; ++c) normalization += std::string(c ? ", " : "") + R"({"scheme": "nonCT"})";
  write_file(shop.path("config.json"), R"({"input_channels": )" + std::to_string(channels) +
                                           R"(, "classes": 3, "base_features": 4, "patch_size": [8, 16, 16],
    "pool_strides": [[1, 2, 2], [2, 2, 2]], "density": 0.5, "labels": {"1": "left part", "2": "right part"},
    "algorithm_name": "tests of e2enet",
    "label_concepts": {"2": {"category": ["123037004", "SCT", "Anatomical Structure"],
                             "type": ["12738006", "SCT", "Brain"], "color": [255, 0, 0]}},
    "preprocessing": {"orientation": "RAS", "normalization": [)" +
                                           normalization + "]}}");
  const Result made = shop.run({"random", "-o", "model.safetensors", "--config", "config.json", "--seed", "5"});
  REQUIRE_MESSAGE(made.code == 0, made.errors);
}

MadeSeries scan() {
  MadeSeries s;
  s.columns = 18;
  s.rows = 20;
  s.slices = 11;
  s.spacing = {1.5, 1, 2};
  s.directions = turned({Vector{0, 1, 0}, Vector{0, 0, -1}, Vector{-1, 0, 0}}, 15);
  s.bits_stored = 12;
  s.high_bit = 11;
  s.stored = [](int i, int j, int k) { return (i * 7919 + j * 104729 + k * 1299709) % 4001; };
  return s;
}

void write(const Workshop& shop, const std::string& folder, const MadeSeries& series, const std::string& prefix = "x") {
  std::filesystem::create_directories(shop.path(folder));
  series.write(shop.path(folder), prefix);
}

using Place = std::array<long, 3>;
Place place_of(const Vector& p) { return {std::lround(p[0] * 100), std::lround(p[1] * 100), std::lround(p[2] * 100)}; }

// The labelled voxels by place; pydicom's.
std::map<Place, int> of_segmentation(const std::string& path) {
  std::map<Place, int> found;
  const std::string call =
      "/usr/bin/python3 '" + source_path("tests/dicom/read_segmentation.py") + "' '" + path + "' 2>&1";
  std::FILE* pipe = popen(call.c_str(), "r");
  REQUIRE(pipe);
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, pipe)) {
    if (std::string(buffer).compare(0, 7, "segment") == 0) continue;
    std::istringstream words{std::string(buffer)};
    int number = 0;
    Vector p{};
    words >> number >> p[0] >> p[1] >> p[2];
    REQUIRE_MESSAGE(!words.fail(), buffer);
    found[place_of(p)] = number;
  }
  REQUIRE(pclose(pipe) == 0);
  return found;
}

bool has_pydicom() { return std::system("/usr/bin/python3 -c 'import pydicom, numpy' >/dev/null 2>&1") == 0; }

std::map<Place, int> of_nifti(const std::string& path) {
  const imaging::LabelImage image = imaging::read_labels(path);
  std::map<Place, int> found;
  for (std::size_t v = 0; v < image.labels.size(); ++v) {
    if (image.labels[v]) found[place_of(at_voxel(image.geometry, v))] = image.labels[v];
  }
  return found;
}

// That many labelled voxels are there in both, and as good as all at the same place with the same label.
void check_same(const std::map<Place, int>& a, const std::map<Place, int>& b) {
  REQUIRE(a.size() > 100);
  CHECK(a.size() == b.size());
  std::size_t same = 0;
  for (const auto& [place, label] : a) {
    bool hit = false;
    for (int n = 0; n < 27 && !hit; ++n) {  // a hundredth of a millimetre of rounding
      const auto other = b.find({place[0] + n % 3 - 1, place[1] + n / 3 % 3 - 1, place[2] + n / 9 - 1});
      hit = other != b.end() && other->second == label;
    }
    same += hit;
  }
  CHECK(same == a.size());
}

Result segment(const Workshop& shop, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"segment", "-m", "model.safetensors"});
  return shop.run(arguments);
}

}  // namespace

TEST_CASE("a series in, a segmentation and a NIfTI image out: the same labels at the same places") {
  if (!has_pydicom()) E2ENET_SKIP("python3-pydicom is not installed");
  const Workshop shop;
  make_model(shop);
  write(shop, "scan", scan());
  const Result dicom = segment(shop, {"-i", "scan", "-o", "labels.dcm"});
  REQUIRE_MESSAGE(dicom.code == 0, dicom.errors);
  const Result again = segment(shop, {"-i", "scan/", "-o", "again.dcm", "--threads", "1"});
  REQUIRE_MESSAGE(again.code == 0, again.errors);
  CHECK(read_file(shop.path("labels.dcm")) == read_file(shop.path("again.dcm")));
  const Result nifti = segment(shop, {"-i", "scan", "-o", "labels.nii.gz"});
  REQUIRE_MESSAGE(nifti.code == 0, nifti.errors);
  check_same(of_segmentation(shop.path("labels.dcm")), of_nifti(shop.path("labels.nii.gz")));

  // What the model says of its labels is in it.
  DcmFileFormat file;
  REQUIRE(file.loadFile(shop.path("labels.dcm").c_str()).good());
  const char* name = nullptr;
  DcmItem *segment_item = nullptr, *type = nullptr;
  REQUIRE(file.getDataset()->findAndGetSequenceItem(DCM_SegmentSequence, segment_item, 1).good());
  REQUIRE(segment_item->findAndGetString(DCM_SegmentLabel, name).good());
  CHECK(std::string(name) == "right part");
  REQUIRE(segment_item->findAndGetString(DCM_SegmentAlgorithmName, name).good());
  CHECK(std::string(name) == "tests of e2enet");
  REQUIRE(segment_item->findAndGetSequenceItem(DCM_SegmentedPropertyTypeCodeSequence, type).good());
  REQUIRE(type->findAndGetString(DCM_CodeValue, name).good());
  CHECK(std::string(name) == "12738006");
  Uint16 lightness = 0;
  REQUIRE(segment_item->findAndGetUint16(DCM_RecommendedDisplayCIELabValue, lightness).good());
  CHECK(std::abs(lightness / 655.35 - 54.29) < 0.02);
  REQUIRE(file.getDataset()->findAndGetSequenceItem(DCM_SegmentSequence, segment_item, 0).good());
  REQUIRE(segment_item->findAndGetSequenceItem(DCM_SegmentedPropertyTypeCodeSequence, type).good());
  REQUIRE(type->findAndGetString(DCM_CodeValue, name).good());
  CHECK(std::string(name) == "113343008");
}

TEST_CASE("the same anatomy by dcm2niix gives the same labels, and by --dicom-reference the same segmentation") {
  if (!has_program("dcm2niix")) E2ENET_SKIP("dcm2niix is not installed");
  const Workshop shop;
  make_model(shop);
  int number = 0;
  for (const Directions& directions : axis_orders()) {
    if (number++ % 7 != 0) continue;  // seven of the 48
    MadeSeries made = scan();
    made.directions = turned(directions, number % 2 ? 15 : 0);
    write(shop, "scan", made);
    const std::string call = "cd '" + shop.path("") + "' && dcm2niix -b n -z n -f converted -o . scan >/dev/null 2>&1";
    REQUIRE(std::system(call.c_str()) == 0);
    for (const auto& [image, out] : {std::pair<std::string, std::string>{"scan", "a"}, {"converted.nii", "b"}}) {
      const Result result = segment(shop, {"-i", image, "-o", out + ".nii"});
      REQUIRE_MESSAGE(result.code == 0, result.errors);
    }
    check_same(of_nifti(shop.path("a.nii")), of_nifti(shop.path("b.nii")));
    Result result = segment(shop, {"-i", "scan", "-o", "a.dcm"});
    REQUIRE_MESSAGE(result.code == 0, result.errors);
    result = segment(shop, {"-i", "converted.nii", "-o", "b.dcm", "--dicom-reference", "scan"});
    REQUIRE_MESSAGE(result.code == 0, result.errors);
    CHECK(read_file(shop.path("a.dcm")) == read_file(shop.path("b.dcm")));
    for (const char* name : {"scan", "converted.nii"}) std::filesystem::remove_all(shop.path(name));
  }
}

TEST_CASE("several series: the table, and --series; two channels from one folder") {
  const Workshop shop;
  make_model(shop);
  MadeSeries a = scan(), b = scan();
  a.description = "first one";
  b.uid = "1.2.3.4.5";
  b.number = "12";
  write(shop, "scan", a, "a");
  write(shop, "scan", b, "b");
  Result result = segment(shop, {"-i", "scan", "-o", "out.dcm"});
  CHECK(result.code == 1);
  CHECK(contains(result.errors, "first one"));
  CHECK(contains(result.errors,
                 "error: scan: series: expected one that is a volume, or --series UID or NUMBER, found 2"));
  CHECK(shop.files().count("out.dcm") == 0);
  for (const char* series : {"12", "1.2.3.4"}) {
    result = segment(shop, {"-i", "scan", "--series", series, "-o", std::string(series) + ".dcm"});
    CHECK_MESSAGE(result.code == 0, result.errors);
  }
  result = segment(shop, {"-i", "scan", "--series", "13", "-o", "out.dcm"});
  CHECK(result.code == 1);
  CHECK(contains(result.errors, "expected one with the UID or number 13, found none"));

  make_model(shop, 2);
  result = segment(shop, {"-i", "scan", "--series", "12", "7", "-o", "two.nii.gz"});
  CHECK_MESSAGE(result.code == 0, result.errors);
  write(shop, "other", a);
  result = segment(shop, {"-i", "scan", "other", "--series", "12", "7", "-o", "folders.nii.gz"});
  CHECK_MESSAGE(result.code == 0, result.errors);
  CHECK(read_file(shop.path("two.nii.gz")) == read_file(shop.path("folders.nii.gz")));
  result = segment(shop, {"-i", "other", "-o", "out.nii.gz"});
  CHECK(result.code == 1);  // one channel, two wanted
}

TEST_CASE("a list of files, a multi-frame file and a folder are the same series") {
  const Workshop shop;
  make_model(shop);
  write(shop, "scan", scan());
  MadeSeries enhanced = scan();
  enhanced.enhanced = true;
  write(shop, "enhanced", enhanced);
  std::vector<std::string> list{"-i"};
  for (const auto& entry : std::filesystem::directory_iterator(shop.path("scan"))) list.push_back(entry.path());
  list.insert(list.end(), {"-o", "list.nii"});
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"-i", "scan", "-o", "folder.nii"},
                                                    list,
                                                    {"-i", "enhanced/xall", "-o", "frames.nii"}}) {
    const Result result = segment(shop, arguments);
    REQUIRE_MESSAGE(result.code == 0, result.errors);
  }
  CHECK(read_file(shop.path("folder.nii")) == read_file(shop.path("list.nii")));
  CHECK(read_file(shop.path("folder.nii")) == read_file(shop.path("frames.nii")));
}

TEST_CASE("tilted and uneven slices get their labels on the slices") {
  if (!has_pydicom()) E2ENET_SKIP("python3-pydicom is not installed");
  const Workshop shop;
  make_model(shop);
  MadeSeries tilted = scan();
  tilted.directions = {Vector{1, 0, 0}, Vector{0, 1, 0}, Vector{0, 0, 1}};
  tilted.place = [](int k) { return Vector{3, 0.7 * k, 2.0 * k}; };
  write(shop, "tilted", tilted);
  for (const char* out : {"tilted.dcm", "tilted.nii"}) {
    const Result result = segment(shop, {"-i", "tilted", "-o", out});
    REQUIRE_MESSAGE(result.code == 0, result.errors);
    CHECK(contains(result.errors, "the gantry was tilted by 19.29 degrees"));
  }
  check_same(of_segmentation(shop.path("tilted.dcm")), of_nifti(shop.path("tilted.nii")));

  MadeSeries uneven = scan();
  uneven.directions = tilted.directions;
  uneven.place = [](int k) { return Vector{3, 0, 2.0 * k + (k > 5 ? 3 : 0)}; };
  write(shop, "uneven", uneven);
  Result result = segment(shop, {"-i", "uneven", "-o", "uneven.dcm"});
  CHECK(result.code == 1);
  CHECK(contains(result.errors, "(to take uneven distances all the same: --regrid)"));
  result = segment(shop, {"-i", "uneven", "-o", "uneven.dcm", "--regrid"});
  REQUIRE_MESSAGE(result.code == 0, result.errors);
  const std::map<Place, int> labels = of_segmentation(shop.path("uneven.dcm"));
  CHECK(labels.size() > 100);
  for (const auto& [place, label] : labels) {
    const long z = place[2];
    CHECK((z <= 1000 ? z % 200 == 0 : (z - 300) % 200 == 0));  // on the slices that there are
  }
}

TEST_CASE("files that are not on the slices say so") {
  const Workshop shop;
  make_model(shop);
  MadeSeries uneven = scan();
  uneven.directions = {Vector{1, 0, 0}, Vector{0, 1, 0}, Vector{0, 0, 1}};
  uneven.place = [](int k) { return Vector{3, 0, 2.0 * k + (k > 5 ? 3 : 0)}; };
  write(shop, "uneven", uneven);
  const std::string remark = "not on the series' 11 slices, whose distances NIfTI cannot say";
  Result result = segment(shop, {"-i", "uneven", "-o", "uneven.nii.gz", "--regrid"});
  REQUIRE_MESSAGE(result.code == 0, result.errors);
  CHECK(contains(result.errors,
                 "warning: uneven, series 7 'made': uneven.nii.gz lies on the 13 even slices, 2 mm apart"));
  CHECK(contains(result.errors, remark));
  result = segment(shop, {"-i", "uneven", "-o", "uneven.dcm", "--regrid", "--probabilities", "p.nii.gz"});
  REQUIRE_MESSAGE(result.code == 0, result.errors);
  CHECK_FALSE(contains(result.errors, remark));
  CHECK(contains(result.errors, "p.nii.gz lies on the 13 even slices"));
  MadeSeries tilted = uneven;
  tilted.place = [](int k) { return Vector{3, 0.7 * k, 2.0 * k}; };
  write(shop, "tilted", tilted);
  result = segment(shop, {"-i", "tilted", "-o", "tilted.nii.gz", "--probabilities", "p.nii.gz"});
  REQUIRE_MESSAGE(result.code == 0, result.errors);
  CHECK_FALSE(contains(result.errors, "tilted.nii.gz lies on"));
  CHECK(contains(result.errors, "p.nii.gz lies on the 11 upright slices"));
}

TEST_CASE("a folder of folders: a case each, beside NIfTI cases") {
  const Workshop shop;
  make_model(shop);
  for (const char* name : {"in/one", "in/two/deeper", "in/bad"}) write(shop, name, scan());
  MadeSeries other = scan();
  other.uid = "1.2.3.4.5";
  other.number = "12";
  write(shop, "in/two/deeper", other, "b");
  write_file(shop.path("in/notes.txt"), "nothing");
  write_file(shop.path("in/bad/cut"),
             read_file(shop.path("in/one/") +
                       std::filesystem::directory_iterator(shop.path("in/one"))->path().filename().string())
                 .substr(0, 400));
  REQUIRE(segment(shop, {"-i", "in/one", "-o", "in/nifti.nii.gz"}).code == 0);  // any image
  Result result = segment(shop, {"-i", "in", "-o", "in/out", "--series", "7", "--json", "--dicom-labels"});
  CHECK(result.code == 1);
  CHECK(contains(result.errors, "case bad: in/bad/cut"));
  CHECK(contains(result.errors, "1 of 4 cases failed"));
  const nlohmann::json summary = nlohmann::json::parse(result.output);
  REQUIRE(summary["cases"].size() == 4);
  CHECK(summary["left_out"] == nlohmann::json::array({"in/notes.txt"}));
  for (const char* name : {"one.dcm", "two.dcm", "nifti.nii.gz", "summary.json"}) {
    CHECK_MESSAGE(std::filesystem::exists(shop.path("in/out/") + name), name);
  }
  CHECK_FALSE(std::filesystem::exists(shop.path("in/out/bad.dcm")));
  REQUIRE(segment(shop, {"-i", "in/one", "-o", "alone.dcm"}).code == 0);
  CHECK(read_file(shop.path("alone.dcm")) == read_file(shop.path("in/out/one.dcm")));
  // Another run passes over what is there, and its own segmentations are no case; NIfTI labels unless others are
  // wanted.
  std::filesystem::remove_all(shop.path("in/bad"));
  result = segment(shop, {"-i", "in", "-o", "in/out", "--series", "7", "--continue", "--dicom-labels"});
  CHECK_MESSAGE(result.code == 0, result.errors);
  CHECK(contains(result.errors, "3 finished before"));
  std::filesystem::remove_all(shop.path("in/out"));
  result = segment(shop, {"-i", "in", "-o", "labels", "--series", "7"});
  CHECK_MESSAGE(result.code == 0, result.errors);
  CHECK(std::filesystem::exists(shop.path("labels/two.nii.gz")));
  // Slices that lie in the folder itself are one series, and want a name for its labels.
  result = segment(shop, {"-i", "in/one", "-o", "out"});
  CHECK(result.code == 1);
  CHECK(contains(result.errors, "(one series: -o NAME.dcm or NAME.nii.gz)"));
}

TEST_CASE("preprocess takes a series as segment does") {
  const Workshop shop;
  make_model(shop);
  MadeSeries other = scan();
  other.uid = "1.2.3.4.5";
  other.number = "12";
  write(shop, "scan", scan(), "a");
  write(shop, "scan", other, "b");
  write(shop, "alone", scan());
  const auto preprocess = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"preprocess", "-m", "model.safetensors"});
    return shop.run(arguments);
  };
  Result result = preprocess({"-i", "scan", "-o", "a.npy"});
  CHECK(result.code == 1);
  CHECK(contains(result.errors, "or --series UID or NUMBER"));
  result = preprocess({"-i", "scan", "--series", "7", "-o", "a.npy"});
  CHECK_MESSAGE(result.code == 0, result.errors);
  result = preprocess({"-i", "alone", "-o", "b.npy"});
  CHECK_MESSAGE(result.code == 0, result.errors);
  CHECK(read_file(shop.path("a.npy")) == read_file(shop.path("b.npy")));
  Workshop::make_image(shop.path("image.nii"));
  result = preprocess({"-i", "image.nii", "--series", "7", "-o", "c.npy"});
  CHECK(result.code != 0);
  CHECK(contains(result.errors, "series: expected a DICOM series, found image.nii"));
}

TEST_CASE("e2enet dicom lists what a folder holds, for people and as JSON") {
  const Workshop shop;
  write(shop, "scan", scan());
  MadeSeries localizer = scan();
  localizer.uid = "1.2.3.5";
  localizer.number = "1";
  localizer.image_type = "ORIGINAL\\PRIMARY\\LOCALIZER";
  write(shop, "scan", localizer, "l");
  MadeSeries uneven = scan();
  uneven.uid = "1.2.3.6";
  uneven.number = "9";
  uneven.description = "B\xc3\xa4uche";
  uneven.character_set = "ISO_IR 192";
  uneven.place = [](int k) { return Vector{3, 0, 2.0 * k + (k > 5 ? 3 : 0)}; };
  write(shop, "scan", uneven, "u");
  write_file(shop.path("scan/README"), "nothing");
  Result result = shop.run({"dicom", "scan"});
  CHECK(result.code == 0);
  CHECK(contains(result.output, "no: localiser"));
  CHECK(contains(result.output, "no: not a plain stack"));
  CHECK(contains(result.output, "B\xc3\xa4uche"));
  CHECK(contains(result.output, "series 9: scan/"));
  CHECK(contains(result.output, "1 other files"));
  result = shop.run({"dicom", "scan", "--json"});
  REQUIRE(result.code == 0);
  const nlohmann::json json = nlohmann::json::parse(result.output);
  REQUIRE(json["series"].size() == 3);
  CHECK(json["series"][0]["problem"].get<std::string>() != "");
  CHECK(json["series"][0]["volume"] == false);
  CHECK(json["series"][1]["number"] == "7");
  CHECK(json["series"][1]["volume"] == true);
  CHECK(json["series"][1]["problem"] == "");
  CHECK(json["series"][1]["slices"] == 11);
  CHECK(json["series"][2]["volume"] == false);
  CHECK(json["other_files"] == 1);
  CHECK(shop.run({"dicom"}).code == 2);
  CHECK(shop.run({"dicom", "missing"}).code == 1);
}

TEST_CASE("calls that make no sense are refused before any work, and no slice is written over") {
  const Workshop shop;
  make_model(shop);
  write(shop, "scan", scan());
  Workshop::make_image(shop.path("other.nii"));
  Result result = segment(shop, {"-i", "other.nii", "-o", "out.dcm"});
  CHECK(result.code == 1);
  CHECK(contains(result.errors, "--dicom-reference"));
  result = segment(shop, {"-i", "other.nii", "-o", "out.dcm", "--dicom-reference", "scan"});
  CHECK(result.code == 1);
  CHECK(contains(result.errors, "expected a series on whose slices the image's voxels are"));
  result = segment(shop, {"-i", "other.nii", "-o", "out.nii", "--series", "3"});
  CHECK(result.code == 2);
  result = segment(shop, {"-i", "other.nii", "-o", "out.nii", "--dicom-reference", "scan"});
  CHECK(result.code == 2);
  const std::string slice =
      "scan/" + std::filesystem::directory_iterator(shop.path("scan"))->path().filename().string();
  std::filesystem::rename(shop.path(slice), shop.path("scan/one.dcm"));
  const std::string before = read_file(shop.path("scan/one.dcm"));
  Workshop::make_image(shop.path("image.nii"));
  result = segment(shop, {"-i", "image.nii", "-o", "scan/one.dcm", "--dicom-reference", "scan"});
  CHECK(result.code == 2);
  result = segment(shop, {"-i", "scan", "-o", "scan/one.dcm"});
  CHECK(result.code == 2);
  CHECK(contains(result.errors, "scan/one.dcm"));
  CHECK(read_file(shop.path("scan/one.dcm")) == before);
  CHECK(shop.files().count("out.dcm") == 0);
}
