// Stored numbers and what becomes of them: every transfer syntax, every size of a number, rescales.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dctk.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "dicom/made_series.h"
#include "dicom/reading.h"
#include "support/temporary_folder.h"

using namespace e2enet;
using namespace e2enet::test;
using imaging::dicom::DicomReader;

namespace {

constexpr Coding kLossless[] = {
    Coding::implicit,      Coding::explicit_little,           Coding::big_endian, Coding::deflated,         Coding::rle,
    Coding::jpeg_lossless, Coding::jpeg_lossless_first_order, Coding::jpeg_ls,    Coding::jpeg2000_lossless};

// Reads what is made and compares every value.
void check_values(const MadeSeries& made, const std::function<float(int, int, int)>& value) {
  TemporaryFolder folder;
  made.write(folder.path());
  DicomReader reader({folder.path()});
  check_against_truth(reader, made, value);
}

// Spread over all that `bits` can hold.
long pattern(int i, int j, int k, int bits, bool is_signed) {
  const std::uint64_t mixed = static_cast<std::uint64_t>(i * 7919 + j * 104729 + k * 1299709 + 12345) * 2654435761ULL;
  const long value = static_cast<long>((mixed >> 5) & ((std::uint64_t{1} << bits) - 1));
  return is_signed && value >> (bits - 1) ? value - (1L << bits) : value;
}

}  // namespace

TEST_CASE("every lossless transfer syntax gives the stored numbers, signed and not, of 8, 12 and 16 bits") {
  for (const Coding coding : kLossless) {
    for (const int bits : {8, 12, 16}) {
      for (const bool is_signed : {false, true}) {
        for (const bool enhanced : {false, true}) {
          INFO(std::string(name(coding)));
          CAPTURE(bits);
          CAPTURE(is_signed);
          CAPTURE(enhanced);
          MadeSeries made;
          made.coding = coding;
          made.columns = 16;
          made.rows = 13;
          made.bits_allocated = bits == 8 ? 8 : 16;
          made.bits_stored = bits;
          made.high_bit = bits - 1;
          made.is_signed = is_signed;
          made.enhanced = enhanced;
          made.stored = [&](int i, int j, int k) { return pattern(i, j, k, bits, is_signed); };
          check_values(made, [&](int i, int j, int k) { return static_cast<float>(made.stored(i, j, k)); });
        }
      }
    }
  }
}

TEST_CASE("pixels of a byte in words of big endian, also where frames begin within a word") {
  for (const bool is_signed : {false, true}) {
    for (const bool enhanced : {false, true}) {
      MadeSeries made;
      made.coding = Coding::big_endian;
      made.bits_allocated = made.bits_stored = 8;
      made.high_bit = 7;
      made.is_signed = is_signed;
      made.enhanced = enhanced;  // 7 x 5 pixels a frame
      made.stored = [&](int i, int j, int k) { return pattern(i, j, k, 8, is_signed); };
      TemporaryFolder folder;
      made.write(folder.path());
      // DCMTK writes such pixels as bytes (OB): as words (OW), each two are the other way round.
      for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
        std::ifstream in(entry.path(), std::ios::binary);
        std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
        const std::size_t at = bytes.rfind(std::string("\x7f\xe0\x00\x10OB", 6));
        REQUIRE(at != std::string::npos);
        bytes[at + 5] = 'W';
        for (std::size_t i = at + 12; i + 1 < bytes.size(); i += 2) std::swap(bytes[i], bytes[i + 1]);
        std::ofstream(entry.path(), std::ios::binary) << bytes;
      }
      DicomReader reader({folder.path()});
      check_against_truth(reader, made, [&](int i, int j, int k) { return static_cast<float>(made.stored(i, j, k)); });
    }
  }
}

TEST_CASE("fill bytes between the markers of a JPEG are legal; a marker without a length before its header is not") {
  for (const Coding coding : {Coding::jpeg_lossless_first_order, Coding::jpeg_ls}) {
    for (const bool legal : {true, false}) {
      MadeSeries made;
      made.coding = coding;
      made.columns = 16;
      made.rows = 16;
      made.bits_stored = 12;
      made.high_bit = 11;
      TemporaryFolder folder;
      made.write(folder.path());
      for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
        std::ifstream in(entry.path(), std::ios::binary);
        std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
        const std::size_t at = bytes.rfind(std::string("\xff\xd8\xff", 3));
        REQUIRE(at != std::string::npos);
        bytes.insert(at + 2, legal ? std::string("\xff\xff", 2) : std::string("\xff\x01", 2));
        // The fragment's length stands before it.
        const std::size_t length =
            static_cast<unsigned char>(bytes[at - 4]) + 256U * static_cast<unsigned char>(bytes[at - 3]) + 2;
        bytes[at - 4] = static_cast<char>(length % 256);
        bytes[at - 3] = static_cast<char>(length / 256);
        std::ofstream(entry.path(), std::ios::binary) << bytes;
      }
      INFO(std::string(name(coding)), legal ? ", legal" : ", not");
      if (legal) {
        DicomReader reader({folder.path()});
        check_against_truth(reader, made,
                            [&](int i, int j, int k) { return static_cast<float>(made.stored(i, j, k)); });
      } else {
        CHECK(
            contains(failure({folder.path()}), "expected a JPEG image of 16 x 16 grey pixels of 9 to 16 bits, found"));
      }
    }
  }
}

TEST_CASE("numbers of 32 bits, native and run-length coded") {
  for (const Coding coding : {Coding::implicit, Coding::explicit_little, Coding::deflated, Coding::rle}) {
    for (const bool is_signed : {false, true}) {
      INFO(std::string(name(coding)));
      MadeSeries made;
      made.coding = coding;
      made.bits_allocated = made.bits_stored = 32;
      made.high_bit = 31;
      made.is_signed = is_signed;
      made.stored = [&](int i, int j, int k) { return pattern(i, j, k, 32, is_signed); };
      check_values(made, [&](int i, int j, int k) { return static_cast<float>(made.stored(i, j, k)); });
    }
  }
}

TEST_CASE("lossy transfer syntaxes give numbers close to the stored ones") {
  struct Case {
    Coding coding;
    int bits;
    double most;
  };
  for (const Case& c : {Case{Coding::jpeg_baseline, 8, 3}, Case{Coding::jpeg_extended, 12, 6},
                        Case{Coding::jpeg_ls_near, 12, 2}, Case{Coding::jpeg2000, 12, 40}}) {
    INFO(std::string(name(c.coding)));
    MadeSeries made;
    made.coding = c.coding;
    made.columns = 32;
    made.rows = 24;
    made.bits_allocated = c.bits == 8 ? 8 : 16;
    made.bits_stored = c.bits;
    made.high_bit = c.bits - 1;
    const double top = (1 << c.bits) - 1;
    // From the least to the largest number, since DCMTK's encoder stretches what it is given over all of them.
    made.stored = [&](int i, int, int) { return std::lround(top * 0.5 * (1 - std::cos(3.14159265358979 * i / 31))); };
    TemporaryFolder folder;
    made.write(folder.path());
    DicomReader reader({folder.path()});
    const std::vector<float> voxels = all_voxels(reader);
    double worst = 0;
    for (int k = 0; k < made.slices; ++k) {
      for (int j = 0; j < made.rows; ++j) {
        for (int i = 0; i < made.columns; ++i) {
          const std::size_t at = static_cast<std::size_t>((k * made.rows + j) * made.columns + i);
          worst = std::max(worst, std::abs(double(voxels[at]) - double(made.stored(i, j, k))));
        }
      }
    }
    CHECK(worst <= c.most);
  }
}

TEST_CASE("bits above and below the stored ones are not part of a number") {
  MadeSeries made;
  made.bits_stored = 10;
  made.high_bit = 12;
  made.is_signed = true;
  made.stored = [](int i, int j, int k) { return pattern(i, j, k, 10, true); };
  made.change = [](DcmDataset& data_set, int) {
    const Uint16* words = nullptr;
    unsigned long count = 0;
    REQUIRE(data_set.findAndGetUint16Array(DCM_PixelData, words, &count).good());
    std::vector<Uint16> dirty(words, words + count);
    for (Uint16& word : dirty) word = static_cast<Uint16>(word | 0xe005);  // an overlay, and noise
    REQUIRE(data_set.putAndInsertUint16Array(DCM_PixelData, dirty.data(), count).good());
  };
  check_values(made, [&](int i, int j, int k) { return static_cast<float>(made.stored(i, j, k)); });
}

TEST_CASE("MONOCHROME1 is inverted before the rescale, signed numbers too") {
  for (const bool is_signed : {false, true}) {
    MadeSeries made;
    made.monochrome1 = true;
    made.bits_stored = 12;
    made.high_bit = 11;
    made.is_signed = is_signed;
    made.stored = [&](int i, int j, int k) { return pattern(i, j, k, 12, is_signed); };
    made.change = [](DcmDataset& data_set, int) {
      data_set.putAndInsertString(DCM_RescaleSlope, "2");
      data_set.putAndInsertString(DCM_RescaleIntercept, "-100");
    };
    check_values(made, [&](int i, int j, int k) {
      const long inverted = is_signed ? -1 - made.stored(i, j, k) : 4095 - made.stored(i, j, k);
      return static_cast<float>(2 * inverted - 100);
    });
  }
}

TEST_CASE("each slice has its own rescale") {
  MadeSeries made;
  made.change = [](DcmDataset& data_set, int slice) {
    data_set.putAndInsertString(DCM_RescaleSlope, std::to_string(1 + slice).c_str());
    data_set.putAndInsertString(DCM_RescaleIntercept, std::to_string(-1000 * slice).c_str());
  };
  check_values(made,
               [&](int i, int j, int k) { return static_cast<float>(made.stored(i, j, k) * (1 + k) - 1000 * k); });
}

TEST_CASE("a real-world value map counts only where a rescale is missing") {
  for (const bool rescale : {false, true}) {
    MadeSeries made;
    made.change = [&](DcmDataset& data_set, int) {
      DcmItem* map = nullptr;
      data_set.findOrCreateSequenceItem(DCM_RealWorldValueMappingSequence, map, -2);
      map->putAndInsertFloat64(DCM_RealWorldValueSlope, 0.5);
      map->putAndInsertFloat64(DCM_RealWorldValueIntercept, 3);
      if (rescale) {
        data_set.putAndInsertString(DCM_RescaleSlope, "4");
        data_set.putAndInsertString(DCM_RescaleIntercept, "1");
      }
    };
    check_values(made, [&](int i, int j, int k) {
      return static_cast<float>(rescale ? made.stored(i, j, k) * 4 + 1 : made.stored(i, j, k) * 0.5 + 3);
    });
  }
}

TEST_CASE("rescales of an enhanced file stand in its functional groups") {
  MadeSeries made;
  made.enhanced = true;
  made.change = [](DcmDataset& data_set, int) {
    for (int f = 0; f < 4; ++f) {
      DcmItem* frame = nullptr;
      DcmItem* values = nullptr;
      REQUIRE(data_set.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, frame, f).good());
      frame->findOrCreateSequenceItem(DCM_PixelValueTransformationSequence, values, -2);
      values->putAndInsertString(DCM_RescaleSlope, std::to_string(f + 1).c_str());
      values->putAndInsertString(DCM_RescaleIntercept, "-7");
    }
  };
  check_values(made, [&](int i, int j, int k) { return static_cast<float>(made.stored(i, j, k) * (k + 1) - 7); });
}

TEST_CASE("a padding value is a number like the others") {
  MadeSeries made;
  made.is_signed = true;
  made.stored = [](int i, int j, int) { return i == 0 && j == 0 ? -2000L : i + j; };
  made.change = [](DcmDataset& data_set, int) {
    data_set.putAndInsertSint16(DCM_PixelPaddingValue, -2000);
    data_set.putAndInsertString(DCM_RescaleSlope, "1");
    data_set.putAndInsertString(DCM_RescaleIntercept, "-1024");
  };
  check_values(made, [&](int i, int j, int k) { return static_cast<float>(made.stored(i, j, k) - 1024); });
}

TEST_CASE("frames that take several fragments are found by the offset table") {
  MadeSeries made;
  made.enhanced = true;
  made.coding = Coding::jpeg_ls;
  made.columns = 40;
  made.rows = 30;
  made.stored = [](int i, int j, int k) { return pattern(i, j, k, 16, false); };
  TemporaryFolder folder, split;
  const std::string path = made.write(folder.path())[0];
  DcmFileFormat file;
  REQUIRE(file.loadFile(path.c_str()).good());
  DcmElement* element = nullptr;
  REQUIRE(file.getDataset()->findAndGetElement(DCM_PixelData, element).good());
  DcmPixelSequence* whole = nullptr;
  DcmPixelData& pixels = dynamic_cast<DcmPixelData&>(*element);
  REQUIRE(pixels.getEncapsulatedRepresentation(EXS_JPEGLSLossless, nullptr, whole).good());
  for (const bool table : {true, false}) {
    auto* pieces = new DcmPixelSequence(DcmTag(DCM_PixelData, EVR_OB));
    auto* offsets = new DcmPixelItem(DcmTag(DCM_Item, EVR_OB));
    pieces->insert(offsets);
    std::vector<Uint8> stored_offsets;
    Uint32 at = 0;
    for (unsigned long f = 1; f < whole->card(); ++f) {
      DcmPixelItem* frame = nullptr;
      Uint8* bytes = nullptr;
      REQUIRE(whole->getItem(frame, f).good());
      REQUIRE(frame->getUint8Array(bytes).good());
      for (int b = 0; b < 4; ++b) stored_offsets.push_back(static_cast<Uint8>(at >> (8 * b)));
      const unsigned long length = frame->getLength();
      for (unsigned long begin = 0; begin < length; begin += 500) {
        const unsigned long count = std::min<unsigned long>(500, length - begin);
        auto* piece = new DcmPixelItem(DcmTag(DCM_Item, EVR_OB));
        pieces->insert(piece);
        piece->putUint8Array(bytes + begin, count);
        at += static_cast<Uint32>(count) + 8;
      }
    }
    if (table) offsets->putUint8Array(stored_offsets.data(), static_cast<unsigned long>(stored_offsets.size()));
    DcmFileFormat other(file);
    auto* replaced = new DcmPixelData(DCM_PixelData);
    replaced->putOriginalRepresentation(EXS_JPEGLSLossless, nullptr, pieces);
    REQUIRE(other.getDataset()->insert(replaced, OFTrue).good());
    const std::string out = split.file("split");
    REQUIRE(other.saveFile(out.c_str(), EXS_JPEGLSLossless).good());
    if (table) {
      DicomReader reader({out});
      check_against_truth(reader, made, [&](int i, int j, int k) { return static_cast<float>(made.stored(i, j, k)); });
    } else {
      CHECK(contains(failure({out}), "(7FE0,0010) Pixel Data: expected an offset table"));
    }
  }
}

TEST_CASE("kept slices are read once, in any order, and forgotten") {
  MadeSeries made;
  TemporaryFolder folder;
  const std::vector<std::string> paths = made.write(folder.path());
  DicomReader reader({folder.path()});
  CHECK(reader.stored_bytes() == 2 * 7 * 5 * 4);
  CHECK(reader.view(0, 1) == nullptr);
  const std::vector<float> expected = all_voxels(reader);
  reader.keep();
  std::vector<float> slice(static_cast<std::size_t>(reader.slice_size()));
  for (const std::int64_t d : {3, 0, 2, 1}) reader.read(d, d + 1, slice.data());
  for (const std::string& path : paths) std::filesystem::remove(path);  // nobody needs them any more
  CHECK(all_voxels(reader) == expected);
  reader.forget();
  CHECK_THROWS_AS(reader.read(0, 1, slice.data()), Error);
}

TEST_CASE("a file that changed since the series was looked through is refused") {
  MadeSeries made;
  TemporaryFolder folder;
  const std::vector<std::string> paths = made.write(folder.path());
  DicomReader reader({folder.path()});
  std::ofstream(paths[1], std::ios::app) << "xx";
  std::string message;
  try {
    all_voxels(reader);
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(contains(message, paths[1] + ": size and modification time"));
}
