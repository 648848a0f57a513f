// DICOM segmentations: what is written, read back bit by bit, with pydicom, and checked with dciodvfy.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "dicom/made_series.h"
#include "dicom/reading.h"
#include "image/formats/dicom/derived_uid.h"
#include "image/formats/dicom/segmentation_writer.h"
#include "support/paths.h"
#include "support/skip.h"
#include "support/temporary_folder.h"

using namespace e2enet;
using namespace e2enet::test;
namespace dicom = imaging::dicom;

namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

dicom::SegmentationDetails details_of(int labels) {
  dicom::SegmentationDetails details;
  details.software_version = "0.1";
  for (int label = 1; label <= labels; ++label) {
    dicom::Segment segment;
    segment.label = label;
    segment.name = "part " + std::to_string(label);
    segment.meaning.color = {static_cast<std::uint8_t>(label * 9), 200, static_cast<std::uint8_t>(255 - label)};
    details.segments.push_back(segment);
  }
  return details;
}

// Blobs of all labels, and whole slices without any.
std::vector<std::uint16_t> labels_of(const Shape& shape, int labels) {
  std::vector<std::uint16_t> all;
  for (std::int64_t d = 0; d < shape[0]; ++d) {
    for (std::int64_t h = 0; h < shape[1]; ++h) {
      for (std::int64_t w = 0; w < shape[2]; ++w) {
        const std::int64_t mixed = (w / 2 + 3 * (h / 2) + 5 * d) % (2 * labels + 1);
        all.push_back(static_cast<std::uint16_t>(d % 3 == 1 || mixed > labels ? 0 : mixed));
      }
    }
  }
  return all;
}

void write(const std::string& path, const dicom::DicomReader& reader, const dicom::SegmentationDetails& details,
           const std::vector<std::uint16_t>& labels) {
  dicom::SegmentationWriter writer(path, reader.series(), reader.stack(), details);
  // In pieces that fit no slice.
  for (std::size_t begin = 0; begin < labels.size(); begin += 1001) {
    writer.append(labels.data() + begin, static_cast<std::int64_t>(std::min<std::size_t>(1001, labels.size() - begin)));
  }
  writer.commit();
}

struct Source {
  const char* name;
  std::function<void(MadeSeries&)> change;
};

const std::vector<Source>& sources() {
  static const auto direct = [](int order, double degrees) {
    return [=](MadeSeries& s) { s.directions = turned(axis_orders()[static_cast<std::size_t>(order)], degrees); };
  };
  static const std::vector<Source> all = {
      {"axial", direct(0, 0)},
      {"flipped", direct(7, 0)},
      {"coronal", direct(8, 0)},
      {"sagittal", direct(25, 0)},
      {"oblique", direct(0, 33)},
      {"one pixel more than bytes", [](MadeSeries& s) { s.columns = 9, s.rows = 1; }},
      {"181 x 217", [](MadeSeries& s) { s.columns = 181, s.rows = 217, s.slices = 3; }},
      {"enhanced", [](MadeSeries& s) { s.enhanced = true; }},
      {"CT", [](MadeSeries& s) { s.modality = "CT"; }},
      {"tilted", [](MadeSeries& s) { s.place = [](int k) {
                                       return Vector{0, 0.8 * k, 3.0 * k};
                                     }; }},
      {"without a frame of reference", [](MadeSeries& s) { s.frame_of_reference = ""; }},
  };
  return all;
}

// The command's lines on standard output.
std::vector<std::string> lines_of(const std::string& command, int* status) {
  std::vector<std::string> lines;
  std::FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe);
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, pipe)) {
    lines.emplace_back(buffer);
    if (!lines.back().empty() && lines.back().back() == '\n') lines.back().pop_back();
  }
  *status = pclose(pipe);
  return lines;
}

// A Python that has pydicom; empty where there is none.
std::string python() {
  for (const char* program : {"/usr/bin/python3", "python3"}) {
    const std::string call = std::string(program) + " -c 'import pydicom, numpy' >/dev/null 2>&1";
    if (std::system(call.c_str()) == 0) return program;
  }
  return "";
}

}  // namespace

TEST_CASE("dciodvfy finds no error in any kind of segmentation") {
  if (!has_program("dciodvfy")) E2ENET_SKIP("dciodvfy is not installed");
  for (const Source& source : sources()) {
    for (const int labels : {1, 29}) {
      for (const bool empty : {false, true}) {
        CAPTURE(std::string(source.name));
        CAPTURE(labels);
        CAPTURE(empty);
        MadeSeries made;
        source.change(made);
        TemporaryFolder folder;
        std::filesystem::create_directory(folder.file("series"));
        made.write(folder.file("series"));
        const dicom::DicomReader reader({folder.file("series")});
        std::vector<std::uint16_t> voxels = labels_of(reader.shape(), labels);
        if (empty) voxels.assign(voxels.size(), 0);
        write(folder.file("out.dcm"), reader, details_of(labels), voxels);
        int status = 0;
        const std::vector<std::string> lines = lines_of("dciodvfy '" + folder.file("out.dcm") + "' 2>&1", &status);
        CHECK(status == 0);
        CHECK(!lines.empty());
        for (const std::string& line : lines) CHECK_MESSAGE(!contains(line, "Error"), line);
      }
    }
  }
}

TEST_CASE("what breaks the standard in the source does not break the segmentation") {
  if (!has_program("dciodvfy")) E2ENET_SKIP("dciodvfy is not installed");
  MadeSeries made;
  made.change = [](DcmDataset& data_set, int) {
    data_set.putAndInsertString(DCM_StudyDescription, std::string(3000, 'y').c_str());  // 64 at most
    data_set.putAndInsertString(DCM_PatientComments, "a\\b");                           // one value
    data_set.putAndInsertString(DCM_StudyDate, "2024-01-02");
    data_set.putAndInsertString(DCM_StudyTime, "10:11:12.5");
    data_set.putAndInsertString(DCM_ContentDate, "2024.01.03");
    data_set.putAndInsertString(DCM_ContentTime, "noon");
  };
  TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("series"));
  made.write(folder.file("series"));
  const dicom::DicomReader reader({folder.file("series")});
  write(folder.file("out.dcm"), reader, details_of(2), labels_of(reader.shape(), 2));
  int status = 0;
  for (const std::string& line : lines_of("dciodvfy '" + folder.file("out.dcm") + "' 2>&1", &status)) {
    CHECK_MESSAGE(!contains(line, "Error"), line);
  }
  DcmFileFormat file;
  REQUIRE(file.loadFile(folder.file("out.dcm").c_str()).good());
  const auto text = [&](const DcmTagKey& tag) {
    OFString value;
    file.getDataset()->findAndGetOFString(tag, value);
    return std::string(value.c_str());
  };
  CHECK(text(DCM_StudyDate) == "20240102");
  CHECK(text(DCM_StudyTime) == "101112.5");
  CHECK(text(DCM_ContentDate) == "20240103");
  CHECK(text(DCM_ContentTime) == "101114");  // the acquisition's
  CHECK(text(DCM_StudyDescription).empty());
}

TEST_CASE("dcmjs, which viewers in browsers use, finds what pydicom finds") {
  const std::string program = python(), dcmjs = PROJECT_NPM "/node_modules/dcmjs";
  if (program.empty()) E2ENET_SKIP("python3-pydicom is not installed");
  if (!has_program("node") || !std::filesystem::exists(dcmjs)) {
    E2ENET_SKIP("Node.js or " + dcmjs + " is not there (npm install --ignore-scripts --prefix " PROJECT_NPM " dcmjs)");
  }
  for (const Source& source : sources()) {
    CAPTURE(std::string(source.name));
    MadeSeries made;
    source.change(made);
    TemporaryFolder folder;
    std::filesystem::create_directory(folder.file("series"));
    made.write(folder.file("series"));
    const dicom::DicomReader reader({folder.file("series")});
    write(folder.file("out.dcm"), reader, details_of(3), labels_of(reader.shape(), 3));
    int status = 0;
    const std::vector<std::string> by_dcmjs = lines_of("node '" + source_path("tests/dicom/read_segmentation.cjs") +
                                                           "' '" + dcmjs + "' '" + folder.file("out.dcm") + "'",
                                                       &status);
    REQUIRE(status == 0);
    const std::vector<std::string> by_pydicom = lines_of(
        program + " '" + source_path("tests/dicom/read_segmentation.py") + "' '" + folder.file("out.dcm") + "'",
        &status);
    REQUIRE(status == 0);
    REQUIRE(by_dcmjs.size() > 3);
    REQUIRE(by_dcmjs.size() == by_pydicom.size());
    std::size_t different = 0;
    for (std::size_t l = 0; l < by_dcmjs.size(); ++l) {
      if (by_dcmjs[l] == by_pydicom[l]) continue;
      // The last of six decimals may be rounded otherwise, and -0 may be 0.
      std::istringstream a(by_dcmjs[l]), b(by_pydicom[l]);
      double x = 0, y = 0;
      bool same = true;
      for (int word = 0; word < 4; ++word) same = same && a >> x && b >> y && std::abs(x - y) < 1.5e-6;
      different += !same;
    }
    CHECK(different == 0);
  }
}

TEST_CASE("pydicom finds every labelled voxel where the series has it, and none else") {
  const std::string program = python();
  if (program.empty()) E2ENET_SKIP("python3-pydicom is not installed");
  for (const Source& source : sources()) {
    CAPTURE(std::string(source.name));
    MadeSeries made;
    source.change(made);
    TemporaryFolder folder;
    std::filesystem::create_directory(folder.file("series"));
    made.write(folder.file("series"));
    const dicom::DicomReader reader({folder.file("series")});
    const std::vector<std::uint16_t> voxels = labels_of(reader.shape(), 3);
    write(folder.file("out.dcm"), reader, details_of(3), voxels);
    int status = 0;
    const std::vector<std::string> lines = lines_of(
        program + " '" + source_path("tests/dicom/read_segmentation.py") + "' '" + folder.file("out.dcm") + "'",
        &status);
    REQUIRE(status == 0);
    // By place, in hundredths of a millimetre: voxels are far more than that apart.
    const auto key = [](const Vector& p) {
      return std::array<long, 3>{std::lround(p[0] * 100), std::lround(p[1] * 100), std::lround(p[2] * 100)};
    };
    std::map<std::array<long, 3>, int> found;
    double worst = 0;
    std::size_t segments = 0;
    for (const std::string& line : lines) {
      if (line.compare(0, 7, "segment") == 0) {
        ++segments;
        CHECK(line == "segment " + std::to_string(segments) + " part " + std::to_string(segments));
        continue;
      }
      std::istringstream words(line);
      int number = 0;
      Vector p{};
      words >> number >> p[0] >> p[1] >> p[2];
      REQUIRE(words);
      CHECK(found.emplace(key(p), number).second);
    }
    CHECK(segments == 3);
    // The truth is the generator's: the reader's voxel d, h, w is the generator's slice by its stored number.
    dicom::DicomReader again({folder.file("series")});
    const std::vector<float> stored = all_voxels(again);
    std::size_t labelled = 0, right = 0;
    for (int k = 0; k < made.slices; ++k) {
      for (int j = 0; j < made.rows; ++j) {
        for (int i = 0; i < made.columns; ++i) {
          const float value = static_cast<float>(made.stored(i, j, k) & 0xffff);
          const Vector p = made.millimetres(i, j, k);
          const Vector index = indices(reader.geometry().affine, p);
          const std::size_t at = static_cast<std::size_t>(
              (std::lround(index[2]) * made.rows + std::lround(index[1])) * made.columns + std::lround(index[0]));
          REQUIRE(at < voxels.size());
          CHECK(stored[at] == value);
          worst = std::max(worst, distance(p, at_voxel(reader.geometry(), at)));
          if (voxels[at] == 0) continue;
          ++labelled;
          const auto hit = found.find(key(p));
          right += hit != found.end() && hit->second == voxels[at];
        }
      }
    }
    CHECK(worst < 1e-4);
    CHECK(right == labelled);
    CHECK(found.size() == labelled);
  }
}

TEST_CASE("frames are packed without a gap, whatever rows times columns is, and only where a label is") {
  for (const auto& size : {std::pair<int, int>{181, 217}, {7, 5}, {1, 1}, {16, 2}, {3, 3}}) {
    const int columns = size.first, rows = size.second;
    CAPTURE(columns);
    MadeSeries made;
    made.columns = columns;
    made.rows = rows;
    made.slices = 6;
    TemporaryFolder folder;
    std::filesystem::create_directory(folder.file("series"));
    made.write(folder.file("series"));
    const dicom::DicomReader reader({folder.file("series")});
    const std::vector<std::uint16_t> voxels = labels_of(reader.shape(), 4);
    write(folder.file("out.dcm"), reader, details_of(4), voxels);
    DcmFileFormat file;
    REQUIRE(file.loadFile(folder.file("out.dcm").c_str()).good());
    DcmDataset& data = *file.getDataset();
    const Uint8* bits = nullptr;
    unsigned long bytes = 0;
    REQUIRE(data.findAndGetUint8Array(DCM_PixelData, bits, &bytes).good());
    std::size_t frame = 0;
    const std::size_t pixels = static_cast<std::size_t>(columns * rows);
    for (int label = 1; label <= 4; ++label) {
      for (std::size_t d = 0; d < 6; ++d) {
        const auto begin = voxels.begin() + static_cast<std::ptrdiff_t>(d * pixels);
        if (std::count(begin, begin + static_cast<std::ptrdiff_t>(pixels), label) == 0) continue;
        DcmItem *item = nullptr, *segment = nullptr;
        REQUIRE(data.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, item, long(frame)).good());
        REQUIRE(item->findAndGetSequenceItem(DCM_SegmentIdentificationSequence, segment).good());
        Uint16 number = 0;
        REQUIRE(segment->findAndGetUint16(DCM_ReferencedSegmentNumber, number).good());
        CHECK(number == label);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < pixels; ++i) {
          const std::size_t bit = frame * pixels + i;
          REQUIRE(bit / 8 < bytes);
          wrong += (bits[bit / 8] >> (bit % 8) & 1) != (begin[static_cast<std::ptrdiff_t>(i)] == label);
        }
        CHECK(wrong == 0);
        ++frame;
      }
    }
    if (frame == 0) frame = 1;  // one empty one
    OFString frames;
    REQUIRE(data.findAndGetOFString(DCM_NumberOfFrames, frames).good());
    CHECK(std::string(frames.c_str()) == std::to_string(frame));
    const std::size_t expected = (frame * pixels + 7) / 8;
    CHECK(bytes == expected + expected % 2);
  }
}

TEST_CASE("the same call gives the same bytes, another label another instance of the same series") {
  MadeSeries made;
  TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("series"));
  made.write(folder.file("series"));
  const dicom::DicomReader reader({folder.file("series")});
  std::vector<std::uint16_t> voxels = labels_of(reader.shape(), 3);
  write(folder.file("a"), reader, details_of(3), voxels);
  write(folder.file("b"), reader, details_of(3), voxels);
  CHECK(bytes_of(folder.file("a")) == bytes_of(folder.file("b")));
  voxels[0] = voxels[0] == 1 ? 2 : 1;
  write(folder.file("c"), reader, details_of(3), voxels);
  dicom::SegmentationDetails other = details_of(3);
  other.algorithm_name = "another";
  write(folder.file("d"), reader, other, voxels);
  std::map<std::string, std::pair<std::string, std::string>> uids;
  for (const char* name : {"a", "c", "d"}) {
    DcmFileFormat file;
    REQUIRE(file.loadFile(folder.file(name).c_str()).good());
    OFString series, instance, study, reference, patient;
    REQUIRE(file.getDataset()->findAndGetOFString(DCM_SeriesInstanceUID, series).good());
    REQUIRE(file.getDataset()->findAndGetOFString(DCM_SOPInstanceUID, instance).good());
    REQUIRE(file.getDataset()->findAndGetOFString(DCM_StudyInstanceUID, study).good());
    REQUIRE(file.getDataset()->findAndGetOFString(DCM_FrameOfReferenceUID, reference).good());
    REQUIRE(file.getDataset()->findAndGetOFString(DCM_PatientName, patient).good());
    CHECK(study == "1.2.3.1");
    CHECK(reference == "1.2.3.9");
    CHECK(patient == "Test^Patient");
    uids[name] = {series.c_str(), instance.c_str()};
  }
  CHECK(uids["a"].first == uids["c"].first);
  CHECK(uids["a"].second != uids["c"].second);
  CHECK(uids["c"].first != uids["d"].first);
  for (const auto& [name, pair] : uids) {
    for (const std::string& uid : {pair.first, pair.second}) {
      CHECK(uid.size() <= 64);
      CHECK(uid.compare(0, 5, "2.25.") == 0);
    }
  }
}

TEST_CASE("names beyond ASCII make the file UTF-8, with the source's texts converted") {
  MadeSeries made;
  made.character_set = "ISO_IR 100";
  made.patient = "M\xfcller^Zo\xeb";
  TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("series"));
  made.write(folder.file("series"));
  const dicom::DicomReader reader({folder.file("series")});
  const std::vector<std::uint16_t> voxels = labels_of(reader.shape(), 1);
  for (const bool ascii : {true, false}) {
    dicom::SegmentationDetails details = details_of(1);
    if (!ascii) details.segments[0].name = "Gro\xc3\x9fhirn";
    write(folder.file("out"), reader, details, voxels);
    DcmFileFormat file;
    REQUIRE(file.loadFile(folder.file("out").c_str()).good());
    OFString character_set, patient;
    REQUIRE(file.getDataset()->findAndGetOFString(DCM_SpecificCharacterSet, character_set).good());
    REQUIRE(file.getDataset()->findAndGetOFString(DCM_PatientName, patient).good());
    CHECK(std::string(character_set.c_str()) == (ascii ? "ISO_IR 100" : "ISO_IR 192"));
    CHECK(std::string(patient.c_str()) == (ascii ? made.patient : "M\xc3\xbcller^Zo\xc3\xab"));
  }
}

TEST_CASE("what cannot be written is refused, and nothing is left behind") {
  MadeSeries made;
  TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("series"));
  made.write(folder.file("series"));
  const dicom::DicomReader reader({folder.file("series")});
  const auto refused = [&](const dicom::SegmentationDetails& details, const std::vector<std::uint16_t>& labels) {
    try {
      write(folder.file("out"), reader, details, labels);
    } catch (const Error& error) {
      CHECK(!std::filesystem::exists(folder.file("out")));
      return std::string(error.what());
    }
    return std::string();
  };
  const std::vector<std::uint16_t> voxels = labels_of(reader.shape(), 3);
  CHECK(contains(refused(details_of(2), voxels), "label 3 is no segment"));
  CHECK(contains(refused(details_of(3), {1, 2, 3}), "fewer labels than the series has pixels"));
  std::vector<std::uint16_t> many = voxels;
  many.push_back(0);
  CHECK(contains(refused(details_of(3), many), "more labels than the series has pixels"));
  CHECK(contains(refused({}, voxels), "segments: expected 1 to 65535, found 0"));
  for (const std::string& name : {std::string(), std::string(65, 'x'), std::string("a\\b"), std::string("a\nb")}) {
    dicom::SegmentationDetails details = details_of(3);
    details.segments[1].name = name;
    CHECK(contains(refused(details, voxels), "label 2: name: expected 1 to 64 letters without a backslash"));
  }
  dicom::SegmentationDetails twice = details_of(3);
  twice.segments[1].label = 1;
  CHECK(contains(refused(twice, voxels), "label 1: expected one segment of this value, found two"));
  CHECK(refused(details_of(3), voxels).empty());
}

TEST_CASE("colours are CIELab of the D50 white") {
  CHECK(dicom::cielab({255, 255, 255}) == std::array<std::uint16_t, 3>{65535, 32896, 32896});
  CHECK(dicom::cielab({0, 0, 0}) == std::array<std::uint16_t, 3>{0, 32896, 32896});
  // Lindbloom's calculator: L 54.29, a 80.81, b 69.89.
  const std::array<std::uint16_t, 3> red = dicom::cielab({255, 0, 0});
  CHECK(std::abs(red[0] / 655.35 - 54.29) < 0.02);
  CHECK(std::abs(red[1] / 257.0 - 128 - 80.81) < 0.02);
  CHECK(std::abs(red[2] / 257.0 - 128 - 69.89) < 0.02);
}
