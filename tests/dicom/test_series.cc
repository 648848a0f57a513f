// What a folder holds, which of it is meant, and what is refused.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "dicom/made_series.h"
#include "dicom/reading.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

using namespace e2enet;
using namespace e2enet::test;
using imaging::dicom::DicomOptions;
using imaging::dicom::DicomReader;
using imaging::dicom::Scan;
using imaging::dicom::scan;

namespace {

void put(DcmDataset& data_set, const DcmTagKey& tag, const std::string& value) {
  REQUIRE(data_set.putAndInsertString(tag, value.c_str()).good());
}

// The message where slices were changed so that they are no stack.
std::string failure_of(const std::function<void(MadeSeries&)>& change, bool allow_uneven = false) {
  MadeSeries made;
  change(made);
  TemporaryFolder folder;
  made.write(folder.path());
  DicomOptions options;
  options.allow_uneven = allow_uneven;
  ErrorCode code = ErrorCode::internal;
  const std::string message = failure({folder.path()}, options, &code);
  if (!message.empty()) {
    CHECK(code == ErrorCode::invalid_image);
    CHECK(contains(message, folder.path() + "/x"));  // names a file
    CHECK(message.find('\n') == std::string::npos);
  }
  return message;
}

void write_text(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A DICOM object without pixels.
void write_object(const std::string& path, const char* sop_class) {
  DcmDataset data_set;
  data_set.putAndInsertString(DCM_SOPClassUID, sop_class);
  data_set.putAndInsertString(DCM_SOPInstanceUID, "1.2.3.77");
  data_set.putAndInsertString(DCM_SeriesInstanceUID, "1.2.3.78");
  DcmFileFormat file(&data_set);
  REQUIRE(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
}

}  // namespace

TEST_CASE("what else is in a folder does not disturb: texts, DICOMDIR, reports, localisers, colour, single pictures") {
  TemporaryFolder folder;
  MadeSeries made;
  std::filesystem::create_directories(folder.file("a/b"));
  made.write(folder.file("a/b"));
  write_text(folder.file("README"), "nothing");
  write_text(folder.file("a/short"), "x");
  write_text(folder.file("empty"), "");
  write_object(folder.file("DICOMDIR"), UID_MediaStorageDirectoryStorage);
  write_object(folder.file("report"), UID_BasicTextSRStorage);
  MadeSeries localizer;
  localizer.uid = "1.2.3.5";
  localizer.number = "1";
  localizer.image_type = "ORIGINAL\\PRIMARY\\LOCALIZER";
  localizer.write(folder.path(), "localizer");
  MadeSeries single;
  single.uid = "1.2.3.6";
  single.slices = 1;
  single.write(folder.path(), "single");
  MadeSeries colour;
  colour.uid = "1.2.3.8";
  colour.bits_allocated = colour.bits_stored = 8;
  colour.high_bit = 7;
  colour.change = [](DcmDataset& data_set, int) {
    put(data_set, DCM_PhotometricInterpretation, "RGB");
    data_set.putAndInsertUint16(DCM_SamplesPerPixel, 3);
  };
  colour.write(folder.path(), "colour");
  MadeSeries segmentation;
  segmentation.uid = "1.2.3.10";
  segmentation.modality = "SEG";
  segmentation.change = [](DcmDataset& data_set, int) { put(data_set, DCM_SOPClassUID, UID_SegmentationStorage); };
  segmentation.write(folder.path(), "segmentation");

  const Scan all = scan({folder.path()});
  CHECK(all.other_files == 3);
  CHECK(all.objects == 2);
  REQUIRE(all.series.size() == 5);
  DicomReader reader({folder.path()});
  CHECK(reader.series().uid == made.uid);
  CHECK(reader.name() == folder.path() + ", series 7 'made'");
  check_against_truth(reader, made, [&](int i, int j, int k) { return static_cast<float>(made.stored(i, j, k)); });

  // As a list of files, with one named twice.
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder.file("a/b"))) files.push_back(entry.path());
  files.push_back(files[0]);
  DicomReader by_files(files);
  CHECK(by_files.shape()[0] == 4);
}

TEST_CASE("several series: a table, and the choice by UID or number") {
  TemporaryFolder folder;
  MadeSeries a, b;
  a.description = "first one";
  b.uid = "1.2.3.4.5";
  b.number = "12";
  b.modality = "CT";
  a.write(folder.path(), "a");
  b.write(folder.path(), "b");
  const std::string message = failure({folder.path()});
  CHECK(
      contains(message, folder.path() + ": series: expected one that is a volume, or --series UID or NUMBER, found 2"));
  CHECK(contains(message, "found 2: 7 'first one' (MR, 4 slices, 1.2.3.4); 12 'made' (CT, 4 slices, 1.2.3.4.5)"));
  DicomOptions options;
  for (const auto& [wanted, uid] : {std::pair<std::string, std::string>{"12", b.uid}, {"7", a.uid}, {a.uid, a.uid}}) {
    options.series = wanted;
    DicomReader reader({folder.path()}, options);
    CHECK(reader.series().uid == uid);
  }
  options.series = "13";
  CHECK(contains(failure({folder.path()}, options), "expected one with the UID or number 13, found none: 7 '"));
  MadeSeries c;
  c.uid = "1.2.3.4.6";
  c.write(folder.path(), "c");
  options.series = "7";
  CHECK(contains(failure({folder.path()}, options), "expected one with the UID or number 7, found 2: 7 '"));
}

TEST_CASE("localisers among the slices of a series are set aside, with a remark") {
  MadeSeries made;
  made.slices = 5;
  made.change = [](DcmDataset& data_set, int slice) {
    if (slice != 4) return;
    put(data_set, DCM_ImageType, "ORIGINAL\\PRIMARY\\LOCALIZER");
    put(data_set, DCM_ImageOrientationPatient, "0\\1\\0\\0\\0\\-1");
  };
  TemporaryFolder folder;
  made.write(folder.path());
  DicomReader reader({folder.path()});
  CHECK(reader.shape()[0] == 4);
  REQUIRE(reader.remarks().size() == 1);
  CHECK(contains(reader.remarks()[0].text, "1 localisers, (0008,0008) Image Type"));
}

TEST_CASE("nothing to read is said") {
  TemporaryFolder folder;
  write_text(folder.file("README"), "nothing");
  CHECK(contains(failure({folder.path()}), "series: expected one that is a volume, found no DICOM image"));
  CHECK(contains(failure({folder.file("README")}), "README: beginning: expected that of a DICOM file"));
  CHECK(contains(failure({folder.file("missing")}), "missing: cannot open"));
  CHECK(contains(failure({}), "found no DICOM image"));
  write_object(folder.file("report"), UID_BasicTextSRStorage);
  CHECK(contains(failure({folder.file("report")}), "(7FE0,0010) Pixel Data: expected an image, found none"));
}

TEST_CASE("missing slices are refused by the files around them") {
  const std::string message = failure_of([](MadeSeries& s) {
    s.slices = 6;
    s.place = [](int k) { return Vector{0, 0, 3.0 * (k < 4 ? k : k + 2)}; };
  });
  CHECK(contains(message, "(0020,0032) Image Position Patient: expected 3 mm from"));
  CHECK(contains(message,
                 "found 9 mm: 2 slices are missing between them (to take uneven distances all the same: "
                 "--regrid)"));
}

TEST_CASE("uneven distances are refused, or taken where that is allowed") {
  const auto uneven = [](double beyond) {
    return [beyond](MadeSeries& s) {
      s.slices = 6;
      s.place = [beyond](int k) { return Vector{0, 0, 3.0 * k + (k == 3 ? beyond : 0)}; };
    };
  };
  CHECK(failure_of(uneven(0.029)).empty());  // a hundredth of the distance
  const std::string message = failure_of(uneven(0.5));
  CHECK(contains(message, "expected 3 mm from"));
  CHECK(contains(message, "(and 1 more uneven distances)"));
  CHECK(failure_of(uneven(0.5), true).empty());
}

TEST_CASE("copies, time points and echoes are refused with what tells them apart") {
  // Another instance at the same place.
  std::string message = failure_of([](MadeSeries& s) {
    s.place = [](int k) { return Vector{0, 0, 3.0 * (k / 2)}; };
    s.change = [](DcmDataset& data_set, int k) { put(data_set, DCM_EchoTime, k % 2 ? "90" : "30"); };
  });
  CHECK(contains(message, "several time points, echoes or copies in one series; (0018,0081) Echo Time is '"));
  // The same instance again.
  TemporaryFolder folder;
  MadeSeries made;
  const std::string first = made.write(folder.path())[0];
  std::filesystem::copy_file(first, folder.file("copy"));
  CHECK(contains(failure({folder.path()}), "(0008,0018) SOP Instance UID: expected each instance once"));
  // Beside each other in one plane.
  message = failure_of([](MadeSeries& s) { s.place = [](int k) { return Vector{50.0 * (k % 2), 0, 3.0 * (k / 2)}; }; });
  CHECK(contains(message, "found the plane of"));
}

TEST_CASE("slices that are not alike are refused") {
  CHECK(contains(failure_of([](MadeSeries& s) {
                   s.change = [](DcmDataset& data_set, int k) {
                     if (k == 2) put(data_set, DCM_ImageOrientationPatient, "1\\0\\0\\0\\0.999\\0.0447");
                   };
                 }),
                 "(0020,0037) Image Orientation Patient: expected one orientation of all slices, 1\\0\\0\\0\\1\\0, as "
                 "in"));
  CHECK(contains(failure_of([](MadeSeries& s) {
                   s.change = [](DcmDataset& data_set, int k) {
                     if (k == 2) data_set.putAndInsertUint16(DCM_Rows, 4);
                   };
                 }),
                 "(0028,0010) Rows: expected 5 as in"));
  CHECK(contains(failure_of([](MadeSeries& s) {
                   s.change = [](DcmDataset& data_set, int k) {
                     if (k == 2) put(data_set, DCM_PixelSpacing, "2\\1.6");
                   };
                 }),
                 "(0028,0030) Pixel Spacing: expected 2 x 1.5 mm as in"));
  CHECK(contains(failure_of([](MadeSeries& s) {
                   s.change = [](DcmDataset& data_set, int k) {
                     if (k == 2) put(data_set, DCM_FrameOfReferenceUID, "1.2.99");
                   };
                 }),
                 "(0020,0052) Frame Of Reference UID: expected '1.2.3.9' as in"));
  CHECK(contains(failure_of([](MadeSeries& s) {
                   s.slices = 6;
                   s.place = [](int k) { return Vector{k == 3 ? 5.0 : 0, 0, 3.0 * k}; };
                 }),
                 "found one 5 mm beside it"));
}

TEST_CASE("a slice without what says where it lies or what its numbers mean is refused with the tag") {
  struct Case {
    std::function<void(DcmDataset&)> change;
    const char* message;
  };
  const auto remove = [](const DcmTagKey& tag) { return [tag](DcmDataset& d) { d.findAndDeleteElement(tag); }; };
  const auto set = [](const DcmTagKey& tag, const std::string& value) {
    return [tag, value](DcmDataset& d) { put(d, tag, value); };
  };
  const auto number = [](const DcmTagKey& tag, int value) {
    return [tag, value](DcmDataset& d) { d.putAndInsertUint16(tag, static_cast<Uint16>(value)); };
  };
  const Case cases[] = {
      {remove(DCM_ImagePositionPatient), "(0020,0032) Image Position Patient: expected 3 numbers, found none"},
      {set(DCM_ImagePositionPatient, "1\\2"), "(0020,0032) Image Position Patient: expected 3 numbers, found '1\\2'"},
      {set(DCM_ImagePositionPatient, "1\\2\\x"), "(0020,0032) Image Position Patient: expected 3 numbers"},
      {set(DCM_ImagePositionPatient, "1\\2\\nan"), "(0020,0032) Image Position Patient: expected 3 numbers"},
      {set(DCM_ImagePositionPatient, "1\\2\\1e30"), "(0020,0032) Image Position Patient: expected a place within"},
      {remove(DCM_ImageOrientationPatient), "(0020,0037) Image Orientation Patient: expected 6 numbers, found none"},
      {set(DCM_ImageOrientationPatient, "0\\0\\0\\0\\0\\0"), "(0020,0037) Image Orientation Patient: expected two"},
      {set(DCM_ImageOrientationPatient, "1\\0\\0\\1\\0\\0"), "(0020,0037) Image Orientation Patient: expected two"},
      {remove(DCM_PixelSpacing), "(0028,0030) Pixel Spacing: expected 2 numbers, found none"},
      {set(DCM_PixelSpacing, "1,5\\2"), "(0028,0030) Pixel Spacing: expected 2 numbers, found '1,5\\2'"},
      {set(DCM_PixelSpacing, "1.5mm\\2"), "(0028,0030) Pixel Spacing: expected 2 numbers, found '1.5mm\\2'"},
      {set(DCM_PixelSpacing, "0\\1"), "(0028,0030) Pixel Spacing: expected positive distances"},
      {set(DCM_PixelSpacing, "-1\\1"), "(0028,0030) Pixel Spacing: expected positive distances"},
      {set(DCM_RescaleSlope, "0"), "(0028,1053) Rescale Slope: expected a number that is not 0, found '0'"},
      {set(DCM_RescaleSlope, "x"), "(0028,1053) Rescale Slope: expected a number that is not 0, found 'x'"},
      {set(DCM_RescaleIntercept, "1e99"), "(0028,1052) Rescale Intercept: expected a number, found '1e99'"},
      {number(DCM_BitsAllocated, 12), "(0028,0100) Bits Allocated: expected 8, 16 or 32, found 12"},
      {number(DCM_BitsStored, 17), "(0028,0101) Bits Stored: expected 1 to 16, found 17"},
      {number(DCM_HighBit, 3), "(0028,0102) High Bit: expected 15 to 15, found 3"},
      {number(DCM_PixelRepresentation, 2), "(0028,0103) Pixel Representation: expected 0 or 1, found 2"},
      {number(DCM_Rows, 6), "(7FE0,0010) Pixel Data: expected 84 bytes (7 x 6 pixels, 1 frames), found 70"},
      {number(DCM_Columns, 0), "(0028,0011) Columns: expected 1 to 32767, found 0"},
      {set(DCM_NumberOfFrames, "2"), "(7FE0,0010) Pixel Data: expected 140 bytes"},
      {set(DCM_ImageType, "ORIGINAL\\PRIMARY\\M\\MOSAIC"), "(0008,0008) Image Type: expected one slice a frame"},
      {set(DCM_PhotometricInterpretation, "PALETTE COLOR"),
       "(0028,0004) Photometric Interpretation: expected MONOCHROME1 or MONOCHROME2, found 'PALETTE COLOR'"},
      {[](DcmDataset& d) {
         DcmItem* item = nullptr;
         d.findOrCreateSequenceItem(DCM_ModalityLUTSequence, item, -2);
       },
       "(0028,3000) Modality LUT Sequence: expected a rescale slope and intercept"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.message);
    const std::string message = failure_of([&](MadeSeries& s) {
      s.change = [&](DcmDataset& data_set, int k) {
        if (k == 1) c.change(data_set);
      };
    });
    CHECK_MESSAGE(contains(message, c.message), message);
  }
}

TEST_CASE("a single slice is refused") {
  CHECK(contains(failure_of([](MadeSeries& s) { s.slices = 1; }), "expected at least 2 slices in the series"));
}

TEST_CASE("a localiser alone is refused") {
  CHECK(contains(failure_of([](MadeSeries& s) { s.image_type = "ORIGINAL\\PRIMARY\\LOCALIZER"; }),
                 "(0008,0008) Image Type: expected slices of a volume, found a localiser"));
}

TEST_CASE("a transfer syntax that is not read is refused by its UID") {
  TemporaryFolder folder;
  MadeSeries made;
  const std::vector<std::string> paths = made.write(folder.path());
  for (const std::string& path : paths) {
    DcmFileFormat file;
    REQUIRE(file.loadFile(path.c_str()).good());
    std::string bytes = read_bytes(path);
    const std::string uid = "1.2.840.10008.1.2.1";
    const std::size_t at = bytes.find(uid);
    REQUIRE(at != std::string::npos);
    bytes.replace(at, uid.size(), "1.2.840.10008.9.9.9");
    std::ofstream(path, std::ios::binary) << bytes;
  }
  CHECK(contains(failure({folder.path()}),
                 "(0002,0010) Transfer Syntax UID: expected one that is read "
                 "(docs/dicom.md), found 1.2.840.10008.9.9.9"));
}

TEST_CASE("a file cut short anywhere is refused, never read as another") {
  for (const Coding coding : {Coding::explicit_little, Coding::implicit, Coding::deflated, Coding::jpeg_lossless,
                              Coding::jpeg_ls, Coding::rle, Coding::jpeg2000_lossless}) {
    INFO(std::string(name(coding)));
    TemporaryFolder folder;
    MadeSeries made;
    made.coding = coding;
    made.slices = 2;
    const std::string path = made.write(folder.path())[0];
    const std::string bytes = read_bytes(path);
    for (std::size_t length = 0; length < bytes.size(); length += length < 400 || coding == Coding::deflated ? 1 : 7) {
      CAPTURE(length);
      std::ofstream(path, std::ios::binary) << bytes.substr(0, length);
      const std::string message = failure({folder.path()});
      if (message.empty()) FAIL_CHECK("read");
    }
  }
}

TEST_CASE("nesting without end is refused before DCMTK sees it") {
  for (const bool implicit : {false, true}) {
    for (const bool defined : {false, true}) {
      CAPTURE(implicit);
      CAPTURE(defined);
      const int depth = 5000;
      std::string head(128, '\0');
      head += "DICM";
      const std::string uid =
          implicit ? std::string("1.2.840.10008.1.2\0", 18) : std::string("1.2.840.10008.1.2.1\0", 20);
      head += std::string("\x02\x00\x10\x00UI", 6) + static_cast<char>(uid.size()) + '\0' + uid;
      // Referenced Image Sequence in Referenced Image Sequence ...
      std::string body;
      const auto length = [](std::size_t n) {
        std::string four;
        for (int b = 0; b < 4; ++b) four += static_cast<char>(n >> (8 * b));
        return four;
      };
      for (int d = 0; d < depth; ++d) {
        const std::string item = std::string("\xfe\xff\x00\xe0", 4) +
                                 (defined ? length(body.size()) : std::string("\xff\xff\xff\xff", 4)) + body +
                                 (defined ? "" : std::string("\xfe\xff\x0d\xe0\0\0\0\0", 8));
        body = std::string("\x08\x00\x40\x11", 4) + (implicit ? "" : std::string("SQ\0\0", 4)) +
               (defined ? length(item.size()) : std::string("\xff\xff\xff\xff", 4)) + item +
               (defined ? "" : std::string("\xfe\xff\xdd\xe0\0\0\0\0", 8));
      }
      TemporaryFolder folder;
      const std::string path = folder.file("deep");
      std::ofstream(path, std::ios::binary) << head << body;
      CHECK(contains(failure({path}), "deep: (0008,1140): expected at most 32 nested sequences, found more"));
    }
  }
}

TEST_CASE("the shared series that are no plain stack are refused with file and tag" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("data/dicom/dicom2nifti");
  const auto message = [](const std::string& name) { return failure({shared_path("data/dicom/" + name)}); };
  CHECK(contains(message("dicom2nifti/failing_sliceincrement"), "a slice is missing between them"));
  CHECK(contains(message("dicom2nifti/failing_sliceincrement_002"), "a slice is missing between them"));
  CHECK(contains(message("dicom2nifti/failing_notavolume"), "several time points, echoes or copies in one series"));
  CHECK(contains(message("dicom2nifti/philips_fmri"), "several time points, echoes or copies in one series"));
  CHECK(contains(message("dicom2nifti/generic_rgb"),
                 "IM-0001-0001-0001.dcm: (0028,0002) Samples Per Pixel: expected 1 (grey values), found 3 (colour)"));
  CHECK(contains(message("dcm_qa_ct/ge_gantry_tilt"),
                 "17.dcm: (0020,0032) Image Position Patient: expected 4.00193 mm from"));
  // Two slices, of one orientation whatever the folder's name says.
  CHECK(message("dicom2nifti/failing_sliceorientation").empty());
  CHECK(message("dicom2nifti/failing_slicecount").empty());
}
