#include "image/formats/dicom/segmentation_writer.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcostrmb.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "base/atomic_file.h"
#include "base/checked_size.h"
#include "base/scratch_file.h"
#include "e2enet/error.h"
#include "image/formats/dicom/derived_uid.h"
#include "image/formats/dicom/dicom_header.h"

namespace e2enet::imaging::dicom {
namespace {

constexpr std::size_t kMostSegments = 65535;
constexpr std::uint64_t kMostPixelBytes = 0xfffffffe;  // the length of a native element has 32 bits
constexpr std::size_t kLongestName = 64;               // characters of a Segment Label

// What a segmentation has from its source, where that has it (PS3.3: Patient, Clinical Trial, Study, Frame of
// Reference).
const DcmTagKey kCopied[] = {DCM_PatientName,
                             DCM_PatientID,
                             DCM_IssuerOfPatientID,
                             DCM_PatientBirthDate,
                             DCM_PatientSex,
                             DCM_OtherPatientIDsSequence,
                             DCM_EthnicGroup,
                             DCM_PatientComments,
                             DCM_PatientIdentityRemoved,
                             DCM_DeidentificationMethod,
                             DCM_DeidentificationMethodCodeSequence,
                             DCM_ClinicalTrialSponsorName,
                             DCM_ClinicalTrialProtocolID,
                             DCM_ClinicalTrialProtocolName,
                             DCM_ClinicalTrialSiteID,
                             DCM_ClinicalTrialSiteName,
                             DCM_ClinicalTrialSubjectID,
                             DCM_ClinicalTrialSubjectReadingID,
                             DCM_ClinicalTrialTimePointID,
                             DCM_StudyInstanceUID,
                             DCM_StudyDate,
                             DCM_StudyTime,
                             DCM_ReferringPhysicianName,
                             DCM_StudyID,
                             DCM_AccessionNumber,
                             DCM_IssuerOfAccessionNumberSequence,
                             DCM_StudyDescription,
                             DCM_PhysiciansOfRecord,
                             DCM_ProcedureCodeSequence,
                             DCM_AdmittingDiagnosesDescription,
                             DCM_PatientAge,
                             DCM_PatientSize,
                             DCM_PatientWeight,
                             DCM_FrameOfReferenceUID,
                             DCM_PositionReferenceIndicator,
                             DCM_LossyImageCompression,
                             DCM_LossyImageCompressionRatio,
                             DCM_LossyImageCompressionMethod};
// What else is asked of the source.
const DcmTagKey kAsked[] = {DCM_SpecificCharacterSet, DCM_SOPClassUID,    DCM_SOPInstanceUID,  DCM_SeriesInstanceUID,
                            DCM_SeriesNumber,         DCM_SliceThickness, DCM_ContentDate,     DCM_AcquisitionDate,
                            DCM_SeriesDate,           DCM_ContentTime,    DCM_AcquisitionTime, DCM_SeriesTime};
// Of these every file has one, if only an empty one.
const DcmTagKey kAlways[] = {DCM_PatientName,
                             DCM_PatientID,
                             DCM_PatientBirthDate,
                             DCM_PatientSex,
                             DCM_StudyDate,
                             DCM_StudyTime,
                             DCM_ReferringPhysicianName,
                             DCM_StudyID,
                             DCM_AccessionNumber,
                             DCM_PositionReferenceIndicator};

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 32 && c < 127; });
}

std::size_t characters(const std::string& utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](unsigned char c) { return (c & 0xc0) != 0x80; }));
}

// A decimal string has at most 16 letters.
std::string decimal(double value) {
  char buffer[40];
  for (int digits = 15; digits > 0; --digits) {
    std::snprintf(buffer, sizeof buffer, "%.*g", digits, value + 0.0);
    if (std::strlen(buffer) <= 16) break;
  }
  return buffer;
}

template <std::size_t Count>
std::string decimals(const std::array<double, Count>& values) {
  std::string all;
  for (const double value : values) all += (all.empty() ? "" : "\\") + decimal(value);
  return all;
}

// Writes attributes; a failure of DCMTK's is one of memory or of ours.
struct Item {
  DcmItem& item;

  static void require(const OFCondition& result) {
    if (result.good()) return;
    throw Error(result == EC_MemoryExhausted ? ErrorCode::out_of_memory : ErrorCode::internal,
                std::string("DICOM segmentation: DCMTK refuses an attribute: ") + result.text());
  }
  Item& put(const DcmTagKey& tag, const std::string& value) {
    require(item.putAndInsertOFStringArray(tag, OFString(value.data(), value.size())));
    return *this;
  }
  Item& put(const DcmTagKey& tag, const char* value) { return put(tag, std::string(value)); }
  Item& put(const DcmTagKey& tag, int value) {
    require(item.putAndInsertUint16(tag, static_cast<Uint16>(value)));
    return *this;
  }
  Item add(const DcmTagKey& sequence) {
    DcmItem* added = nullptr;
    require(item.findOrCreateSequenceItem(sequence, added, -2));
    return {*added};
  }
  void add_code(const DcmTagKey& sequence, const LabelCode& code) {
    add(sequence)
        .put(DCM_CodeValue, code.value)
        .put(DCM_CodingSchemeDesignator, code.scheme)
        .put(DCM_CodeMeaning, code.meaning);
  }
};

// An attribute, where there is one.
void copy(DcmItem& from, const DcmTagKey& tag, DcmItem& to) {
  DcmElement* element = nullptr;
  if (from.findAndGetElement(tag, element).bad() || !element) return;
  std::unique_ptr<DcmElement> copied(dynamic_cast<DcmElement*>(element->clone()));
  if (!copied) throw Error(ErrorCode::out_of_memory, "no memory for the attributes of a DICOM segmentation");
  Item::require(to.insert(copied.get()));
  copied.release();
}

// A date or time as the standard has it now, of one that may be written with separators; empty where it is none.
std::string date_or_time(DcmItem& source, const DcmTagKey& tag, DcmEVR vr) {
  std::string value = text_of(source, tag);
  const std::size_t fraction = vr == EVR_TM ? value.find('.') : std::string::npos;
  std::string rest;
  if (fraction != std::string::npos) {
    rest = value.substr(fraction);
    value.resize(fraction);
  }
  value.erase(std::remove_if(value.begin(), value.end(), [](char c) { return c == '.' || c == ':' || c == '-'; }),
              value.end());
  value += rest;
  const OFString text(value.data(), value.size());
  const bool good =
      vr == EVR_DA ? DcmDate::checkStringValue(text, "1").good() : DcmTime::checkStringValue(text, "1").good();
  return good ? value : "";
}

// The first of these that the source has.
std::string first_of(DcmItem& source, std::initializer_list<DcmTagKey> tags, DcmEVR vr, const std::string& otherwise) {
  for (const DcmTagKey& tag : tags) {
    const std::string value = date_or_time(source, tag, vr);
    if (!value.empty()) return value;
  }
  return otherwise;
}

// Whether the standard allows an attribute's value. DCMTK's own check lets texts pass that are too long.
bool is_allowed(DcmItem& item, const DcmTagKey& tag, DcmElement& element) {
  const bool many = tag == DCM_PhysiciansOfRecord || tag == DCM_AdmittingDiagnosesDescription ||
                    tag == DCM_DeidentificationMethod || tag == DCM_LossyImageCompressionRatio ||
                    tag == DCM_LossyImageCompressionMethod;
  if (element.ident() == EVR_SQ) return true;
  if (element.checkValue(many ? "1-n" : "1").bad()) return false;
  const DcmEVR vr = element.getVR();
  const std::size_t most = vr == EVR_LO ? 64 : vr == EVR_SH || vr == EVR_CS || vr == EVR_DS ? 16 : 10240;
  // Characters are not counted where the character set has them in bytes of any number.
  const std::string character_set = text_of(item, DCM_SpecificCharacterSet), value = text_of(item, tag);
  const bool single_bytes = character_set.empty() || character_set.compare(0, 8, "ISO_IR 1") == 0;
  const bool utf8 = character_set == "ISO_IR 192";
  for (std::size_t begin = 0; begin <= value.size();) {
    const std::size_t end = std::min(value.find('\\', begin), value.size());
    const std::string one = value.substr(begin, end - begin);
    if ((utf8 ? characters(one) : single_bytes ? one.size() : one.size() / 4) > most) return false;
    begin = end + 1;
  }
  return true;
}

std::vector<unsigned char> deflated(const std::vector<unsigned char>& bytes) {
  uLongf size = compressBound(static_cast<uLong>(bytes.size()));
  std::vector<unsigned char> out(size);
  if (compress2(out.data(), &size, bytes.data(), static_cast<uLong>(bytes.size()), 1) != Z_OK) {
    throw Error(ErrorCode::out_of_memory, "no memory for the frames of a DICOM segmentation");
  }
  out.resize(size);
  out.shrink_to_fit();
  return out;
}

}  // namespace

std::array<std::uint16_t, 3> cielab(const std::array<std::uint8_t, 3>& srgb) {
  double linear[3];
  for (std::size_t c = 0; c < 3; ++c) {
    const double v = srgb[c] / 255.0;
    linear[c] = v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  }
  // sRGB to XYZ under D50 (adapted by Bradford), relative to that white.
  constexpr double kMatrix[3][3] = {
      {0.4360747, 0.3850649, 0.1430804}, {0.2225045, 0.7168786, 0.0606169}, {0.0139322, 0.0971045, 0.7141733}};
  constexpr double kWhite[3] = {0.96422, 1, 0.82521};
  double f[3];
  for (std::size_t r = 0; r < 3; ++r) {
    const double t = (kMatrix[r][0] * linear[0] + kMatrix[r][1] * linear[1] + kMatrix[r][2] * linear[2]) / kWhite[r];
    f[r] = t > 216.0 / 24389 ? std::cbrt(t) : (24389.0 / 27 * t + 16) / 116;
  }
  const double lab[3] = {116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])};
  const auto scaled = [](double value, double least, double most) {
    return static_cast<std::uint16_t>(std::lround(std::clamp((value - least) / (most - least), 0.0, 1.0) * 65535));
  };
  return {scaled(lab[0], 0, 100), scaled(lab[1], -128, 127), scaled(lab[2], -128, 127)};
}

struct SegmentationWriter::Work {
  Work(const std::string& path, const Series& series_, const Stack& stack_, SegmentationDetails details_)
      : file(path), waiting(path), series(series_), stack(stack_), details(std::move(details_)) {}

  const Frame& frame(std::size_t d) const { return series.frames[stack.order[d]]; }

  void check_details() {
    const auto refuse = [](const std::string& what, const std::string& expected, const std::string& found) {
      throw Error(ErrorCode::invalid_argument,
                  "DICOM segmentation: " + what + ": expected " + expected + ", found " + found);
    };
    std::sort(details.segments.begin(), details.segments.end(),
              [](const Segment& a, const Segment& b) { return a.label < b.label; });
    if (details.segments.empty() || details.segments.size() > kMostSegments) {
      refuse("segments", "1 to 65535", std::to_string(details.segments.size()));
    }
    for (std::size_t i = 0; i < details.segments.size(); ++i) {
      const Segment& one = details.segments[i];
      const std::string where = "label " + std::to_string(one.label);
      if (one.label < 1 || one.label > 65535) refuse(where, "1 to 65535", std::to_string(one.label));
      if (i > 0 && details.segments[i - 1].label == one.label) refuse(where, "one segment of this value", "two");
      const auto require_text = [&](const std::string& what, const std::string& text, std::size_t most) {
        const bool control = std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127; });
        if (text.empty() || characters(text) > most || control || text.find('\\') != std::string::npos) {
          refuse(where + ": " + what, "1 to " + std::to_string(most) + " letters without a backslash",
                 "'" + text + "'");
        }
      };
      require_text("name", one.name, kLongestName);
      for (const LabelCode* code : {&one.meaning.category, &one.meaning.type}) {
        require_text("code", code->value, 16);
        require_text("coding scheme", code->scheme, 16);
        require_text("code meaning", code->meaning, 64);
      }
      segment_of[one.label] = static_cast<std::uint16_t>(i + 1);
    }
  }

  void read_source() {
    const SourceFile& first = series.files[frame(0).file];
    DicomBytes bytes(first.path);
    if (!(bytes.state() == first.state)) {
      throw Error(ErrorCode::invalid_image, first.path + ": size and modification time: expected those of when the " +
                                                "series was looked through, found others: it changed meanwhile");
    }
    {
      // All of a multi-frame file's attributes would take far more memory than the few that are needed.
      const std::unique_ptr<DcmDataset> all = read_header(bytes, check_structure(bytes));
      source = std::make_unique<DcmDataset>();
      for (const DcmTagKey& tag : kCopied) copy(*all, tag, *source);
      for (const DcmTagKey& tag : kAsked) copy(*all, tag, *source);
    }
    for (const DcmTagKey& tag : {DCM_StudyInstanceUID, DCM_SeriesInstanceUID, DCM_SOPInstanceUID, DCM_SOPClassUID}) {
      if (text_of(*source, tag).empty()) {
        throw Error(ErrorCode::invalid_image, first.path + ": " + name_of(tag) +
                                                  ": expected one, which a segmentation must refer to, found none");
      }
    }
    // Names of labels are UTF-8; where they need that, the source's texts become so too.
    bool ascii = is_ascii(details.algorithm_name) && is_ascii(details.series_description);
    for (const Segment& one : details.segments) {
      ascii =
          ascii && is_ascii(one.name) && is_ascii(one.meaning.category.meaning) && is_ascii(one.meaning.type.meaning);
    }
    if (!ascii && source->convertToUTF8().bad()) {
      throw Error(ErrorCode::invalid_image,
                  first.path + ": (0008,0005) Specific Character Set: expected one in which its texts are written, " +
                      "found '" + text_of(*source, DCM_SpecificCharacterSet) + "'");
    }
    character_set = ascii ? text_of(*source, DCM_SpecificCharacterSet) : "ISO_IR 192";
  }

  struct FrameBits {
    std::uint16_t segment;
    std::uint32_t slice;
    std::int64_t place;  // in `waiting`, deflated
    std::size_t bytes;
  };

  void take_slice();
  template <typename Label>
  void append(const Label* labels, std::int64_t count);
  std::unique_ptr<DcmDataset> header();
  void add_frame(std::uint16_t segment, std::uint32_t number, const std::vector<unsigned char>& bits);
  void add_segments(Item all);
  void add_shared(Item all);
  void add_groups(const FrameBits& one, Item item);
  void write_groups();
  void write_pixels();

  AtomicFile file;
  ScratchFile waiting;  // frames, until the last of them is there
  const Series series;  // copies: the reader may be gone by the time that labels come
  const Stack stack;
  SegmentationDetails details;
  std::map<int, std::uint16_t> segment_of;
  std::unique_ptr<DcmDataset> source;
  std::string character_set;
  Digest content;  // of all labels
  std::size_t slice_pixels = 0;
  std::vector<std::uint16_t> slice;  // labels that have come of the next slice
  std::uint32_t next_slice = 0;
  std::vector<FrameBits> frames;
};

template <typename Label>
void SegmentationWriter::Work::append(const Label* labels, std::int64_t count) {
  while (count > 0) {
    if (next_slice >= stack.order.size()) {
      throw Error(ErrorCode::internal, file.path() + ": more labels than the series has pixels");
    }
    const std::int64_t taken =
        std::min(count, static_cast<std::int64_t>(slice_pixels) - static_cast<std::int64_t>(slice.size()));
    slice.insert(slice.end(), labels, labels + taken);
    labels += taken;
    count -= taken;
    if (slice.size() == slice_pixels) take_slice();
  }
}

// Packs one bit a pixel for each label of the slice, the first pixel in the lowest bit.
void SegmentationWriter::Work::take_slice() {
  std::vector<std::uint8_t> bytes(2 * slice.size());
  std::map<std::uint16_t, std::vector<unsigned char>> packed;
  std::uint16_t last = 0;
  std::vector<unsigned char>* bits = nullptr;
  for (std::size_t i = 0; i < slice.size(); ++i) {
    const std::uint16_t label = slice[i];
    bytes[2 * i] = static_cast<std::uint8_t>(label);
    bytes[2 * i + 1] = static_cast<std::uint8_t>(label >> 8);
    if (label == 0) continue;
    if (label != last) {
      const auto segment = segment_of.find(label);
      if (segment == segment_of.end()) {
        throw Error(ErrorCode::internal, file.path() + ": label " + std::to_string(label) + " is no segment");
      }
      bits = &packed[segment->second];
      if (bits->empty()) bits->assign((slice_pixels + 7) / 8, 0);
      last = label;
    }
    (*bits)[i / 8] = static_cast<unsigned char>((*bits)[i / 8] | 1U << (i % 8));
  }
  content.add(bytes.data(), bytes.size());
  for (const auto& [segment, one] : packed) add_frame(segment, next_slice, one);
  slice.clear();
  ++next_slice;
}

void SegmentationWriter::Work::add_frame(std::uint16_t segment, std::uint32_t number,
                                         const std::vector<unsigned char>& bits) {
  const std::vector<unsigned char> bytes = deflated(bits);
  frames.push_back({segment, number, waiting.append(bytes.data(), bytes.size()), bytes.size()});
}

void SegmentationWriter::Work::add_segments(Item all) {
  for (std::size_t i = 0; i < details.segments.size(); ++i) {
    const Segment& one = details.segments[i];
    Item item = all.add(DCM_SegmentSequence);
    item.put(DCM_SegmentNumber, static_cast<int>(i + 1))
        .put(DCM_SegmentLabel, one.name)
        .put(DCM_SegmentDescription, "label " + std::to_string(one.label))
        .put(DCM_SegmentAlgorithmType, "AUTOMATIC")
        .put(DCM_SegmentAlgorithmName, details.algorithm_name);
    item.add_code(DCM_SegmentedPropertyCategoryCodeSequence, one.meaning.category);
    item.add_code(DCM_SegmentedPropertyTypeCodeSequence, one.meaning.type);
    const std::array<std::uint16_t, 3> lab = cielab(one.meaning.color);
    Item::require(item.item.putAndInsertUint16Array(DCM_RecommendedDisplayCIELabValue, lab.data(), 3));
  }
}

void SegmentationWriter::Work::add_shared(Item all) {
  Item shared = all.add(DCM_SharedFunctionalGroupsSequence);
  const Frame& first = frame(0);
  const std::string distance = decimal(stack.geometry.spacing[0]);
  const std::string thickness = text_of(*source, DCM_SliceThickness);
  Item measures = shared.add(DCM_PixelMeasuresSequence);
  measures.put(DCM_PixelSpacing, decimals(first.pixel_spacing))
      .put(DCM_SliceThickness, thickness.empty() ? distance : thickness);
  if (!stack.uneven) measures.put(DCM_SpacingBetweenSlices, distance);
  shared.add(DCM_PlaneOrientationSequence).put(DCM_ImageOrientationPatient, decimals(first.stored_directions));
}

// What a frame is, in its item of the functional groups.
void SegmentationWriter::Work::add_groups(const FrameBits& one, Item item) {
  const Frame& from = frame(one.slice);
  const SourceFile& source_file = series.files[from.file];
  const Uint32 index[2] = {one.segment, one.slice + 1};
  Item::require(item.add(DCM_FrameContentSequence).item.putAndInsertUint32Array(DCM_DimensionIndexValues, index, 2));
  item.add(DCM_PlanePositionSequence).put(DCM_ImagePositionPatient, decimals(from.position));
  item.add(DCM_SegmentIdentificationSequence).put(DCM_ReferencedSegmentNumber, int{one.segment});
  Item derivation = item.add(DCM_DerivationImageSequence);
  derivation.add_code(DCM_DerivationCodeSequence, {"113076", "DCM", "Segmentation"});
  Item image = derivation.add(DCM_SourceImageSequence);
  image.put(DCM_ReferencedSOPClassUID, source_file.sop_class)
      .put(DCM_ReferencedSOPInstanceUID, source_file.sop_instance)
      .put(DCM_SpatialLocationsPreserved, "YES");
  if (source_file.first_fragment.size() > 2) {
    image.put(DCM_ReferencedFrameNumber, std::to_string(from.number + 1));
  }
  image.add_code(DCM_PurposeOfReferenceCodeSequence, {"121322", "DCM", "Source image for image processing operation"});
}

std::unique_ptr<DcmDataset> SegmentationWriter::Work::header() {
  auto data_set = std::make_unique<DcmDataset>();
  Item all{*data_set};
  for (const DcmTagKey& tag : kCopied) {
    DcmElement* element = nullptr;
    if (source->findAndGetElement(tag, element).bad() || !element) continue;
    // What identifies is copied as it is; of the rest, only what the standard allows (an age of "0Y" it does not).
    const bool identifies = std::find(std::begin(kAlways), std::end(kAlways), tag) != std::end(kAlways) ||
                            tag == DCM_StudyInstanceUID || tag == DCM_FrameOfReferenceUID;
    if (!identifies && !is_allowed(*source, tag, *element)) continue;
    copy(*source, tag, *data_set);
  }
  all.put(DCM_StudyDate, date_or_time(*source, DCM_StudyDate, EVR_DA));
  all.put(DCM_StudyTime, date_or_time(*source, DCM_StudyTime, EVR_TM));
  for (const DcmTagKey& tag : kAlways) {
    if (!data_set->tagExists(tag)) all.put(tag, "");
  }
  if (!character_set.empty()) all.put(DCM_SpecificCharacterSet, character_set);
  if (text_of(*data_set, DCM_LossyImageCompression) != "01") {
    all.put(DCM_LossyImageCompression, "00");
    for (const DcmTagKey& tag : {DCM_LossyImageCompressionRatio, DCM_LossyImageCompressionMethod}) {
      data_set->findAndDeleteElement(tag);
    }
  }

  // The series stands for a source and a way of segmenting it, the instance for the labels too.
  Digest digest;
  for (const char* part : {"e2enet DICOM segmentation 1"}) digest.add(std::string(part));
  digest.add(series.uid);
  digest.add(details.algorithm_name);
  digest.add(details.software_version);
  digest.add(details.series_description);
  for (const Segment& one : details.segments) {
    digest.add(std::to_string(one.label));
    digest.add(one.name);
    for (const LabelCode* code : {&one.meaning.category, &one.meaning.type}) {
      digest.add(code->value);
      digest.add(code->scheme);
      digest.add(code->meaning);
    }
    digest.add(one.meaning.color.data(), one.meaning.color.size());
  }
  const auto uid = [](Digest of, const std::string& what) {
    of.add(what);
    return derived_uid(of);
  };
  const std::string series_uid = uid(digest, "series");
  for (std::size_t s = 0; s < stack.order.size(); ++s) {
    digest.add(series.files[frame(s).file].sop_instance);
    digest.add(std::to_string(frame(s).number));
    digest.add(decimals(frame(s).position));
  }
  const std::array<std::uint8_t, 32> labels = content.finish();
  digest.add(labels.data(), labels.size());

  const std::string date =
      first_of(*source, {DCM_ContentDate, DCM_AcquisitionDate, DCM_SeriesDate, DCM_StudyDate}, EVR_DA, "19700101");
  const std::string time =
      first_of(*source, {DCM_ContentTime, DCM_AcquisitionTime, DCM_SeriesTime, DCM_StudyTime}, EVR_TM, "000000");
  const std::optional<long> number = whole_number_of(*source, DCM_SeriesNumber);
  all.put(DCM_SOPClassUID, UID_SegmentationStorage)
      .put(DCM_SOPInstanceUID, uid(digest, "instance"))
      .put(DCM_ImageType, "DERIVED\\PRIMARY")
      .put(DCM_Modality, "SEG")
      .put(DCM_SeriesInstanceUID, series_uid)
      .put(DCM_SeriesNumber, std::to_string(number && *number >= 0 && *number < 1'000'000 ? 1000 + *number : 1000))
      .put(DCM_SeriesDescription, details.series_description)
      .put(DCM_SeriesDate, date)
      .put(DCM_SeriesTime, time)
      .put(DCM_ContentDate, date)
      .put(DCM_ContentTime, time)
      .put(DCM_InstanceNumber, "1")
      .put(DCM_Manufacturer, "e2enet")
      .put(DCM_ManufacturerModelName, "e2enet")
      .put(DCM_DeviceSerialNumber, "none")
      .put(DCM_SoftwareVersions, details.software_version.empty() ? "unknown" : details.software_version)
      .put(DCM_ContentLabel, "SEGMENTATION")
      .put(DCM_ContentDescription, "")
      .put(DCM_ContentCreatorName, "")
      .put(DCM_SegmentationType, "BINARY")
      .put(DCM_SegmentsOverlap, "NO")
      .put(DCM_SamplesPerPixel, 1)
      .put(DCM_PhotometricInterpretation, "MONOCHROME2")
      .put(DCM_NumberOfFrames, std::to_string(frames.size()))
      .put(DCM_Rows, frame(0).rows)
      .put(DCM_Columns, frame(0).columns)
      .put(DCM_BitsAllocated, 1)
      .put(DCM_BitsStored, 1)
      .put(DCM_HighBit, 0)
      .put(DCM_PixelRepresentation, 0);
  if (text_of(*data_set, DCM_FrameOfReferenceUID).empty()) {
    // A segmentation must have one; without the source's, places mean the same within this series only.
    Digest own;
    own.add(series.uid);
    all.put(DCM_FrameOfReferenceUID, uid(own, "frame of reference"));
  }

  Item referenced = all.add(DCM_ReferencedSeriesSequence);
  referenced.put(DCM_SeriesInstanceUID, series.uid);
  std::set<std::size_t> files;
  for (std::size_t s = 0; s < stack.order.size(); ++s) {
    const std::size_t index = frame(s).file;
    if (!files.insert(index).second) continue;
    referenced.add(DCM_ReferencedInstanceSequence)
        .put(DCM_ReferencedSOPClassUID, series.files[index].sop_class)
        .put(DCM_ReferencedSOPInstanceUID, series.files[index].sop_instance);
  }

  const std::string organization = uid(digest, "dimensions");
  all.add(DCM_DimensionOrganizationSequence).put(DCM_DimensionOrganizationUID, organization);
  const auto add_dimension = [&](const DcmTagKey& pointer, const DcmTagKey& group, const char* label) {
    Item item = all.add(DCM_DimensionIndexSequence);
    item.put(DCM_DimensionOrganizationUID, organization).put(DCM_DimensionDescriptionLabel, label);
    Item::require(item.item.putAndInsertTagKey(DCM_DimensionIndexPointer, pointer));
    Item::require(item.item.putAndInsertTagKey(DCM_FunctionalGroupPointer, group));
  };
  add_dimension(DCM_ReferencedSegmentNumber, DCM_SegmentIdentificationSequence, "ReferencedSegmentNumber");
  add_dimension(DCM_ImagePositionPatient, DCM_PlanePositionSequence, "ImagePositionPatient");
  add_segments(all);
  add_shared(all);
  return data_set;
}

// Writes what DCMTK makes of an object: a data set, or a file with its meta information.
template <typename Object>
void write_object(Object& object, AtomicFile& file) {
  std::vector<unsigned char> buffer(1 << 16);
  DcmOutputBufferStream stream(buffer.data(), static_cast<offile_off_t>(buffer.size()));
  object.transferInit();
  OFCondition result = EC_StreamNotifyClient;
  while (result == EC_StreamNotifyClient) {
    result = object.write(stream, EXS_LittleEndianExplicit, EET_ExplicitLength, nullptr);
    void* bytes = nullptr;
    offile_off_t count = 0;
    stream.flushBuffer(bytes, count);
    file.write(bytes, static_cast<std::size_t>(count));
  }
  object.transferEnd();
  Item::require(result);
}

// The functional groups of each frame, one item after the other: DCMTK's objects of all of them together would take
// several kilobytes a frame. The sequence is the last attribute before the pixels, and of undefined length.
void SegmentationWriter::Work::write_groups() {
  constexpr unsigned char kBegin[] = {0x00, 0x52, 0x30, 0x92, 'S', 'Q', 0, 0, 0xff, 0xff, 0xff, 0xff};
  constexpr unsigned char kEnd[] = {0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0};
  file.write(kBegin, sizeof kBegin);
  for (const FrameBits& one : frames) {
    DcmItem item;
    add_groups(one, {item});
    write_object(item, file);
  }
  file.write(kEnd, sizeof kEnd);
}

// All frames' bits one after the other: a frame begins at the bit after the last of the one before.
void SegmentationWriter::Work::write_pixels() {
  const std::uint64_t bits = std::uint64_t{slice_pixels} * frames.size();
  const std::uint64_t bytes = (bits + 7) / 8 + ((bits + 7) / 8) % 2;
  if (bytes > kMostPixelBytes) {
    throw Error(ErrorCode::cannot_write, file.path() + ": (7FE0,0010) Pixel Data: expected at most 4 GiB, found " +
                                             std::to_string(bytes) + " bytes in " + std::to_string(frames.size()) +
                                             " frames");
  }
  const unsigned char element[12] = {0xe0,
                                     0x7f,
                                     0x10,
                                     0x00,
                                     'O',
                                     'B',
                                     0,
                                     0,
                                     static_cast<unsigned char>(bytes),
                                     static_cast<unsigned char>(bytes >> 8),
                                     static_cast<unsigned char>(bytes >> 16),
                                     static_cast<unsigned char>(bytes >> 24)};
  file.write(element, sizeof element);
  std::vector<unsigned char> one((slice_pixels + 7) / 8), packed, out;
  unsigned pending = 0;  // bits that do not fill a byte yet, lowest first
  unsigned pending_bits = 0;
  std::uint64_t written = 0;
  for (const FrameBits& frame_bits : frames) {
    packed.resize(frame_bits.bytes);
    waiting.read(frame_bits.place, packed.size(), packed.data());
    uLongf size = static_cast<uLongf>(one.size());
    if (uncompress(one.data(), &size, packed.data(), static_cast<uLong>(packed.size())) != Z_OK) {
      throw Error(ErrorCode::out_of_memory, file.path() + ": no memory for its frames");
    }
    out.clear();
    for (std::size_t i = 0; i < one.size(); ++i) {
      const unsigned count = static_cast<unsigned>(std::min<std::size_t>(8, slice_pixels - 8 * i));
      pending |= static_cast<unsigned>(one[i]) << pending_bits;
      pending_bits += count;
      if (pending_bits < 8) continue;
      out.push_back(static_cast<unsigned char>(pending));
      pending >>= 8;
      pending_bits -= 8;
    }
    file.write(out.data(), out.size());
    written += out.size();
  }
  out.clear();
  if (pending_bits > 0) out.push_back(static_cast<unsigned char>(pending));
  while (written + out.size() < bytes) out.push_back(0);
  file.write(out.data(), out.size());
}

SegmentationWriter::SegmentationWriter(const std::string& path, const Series& series, const Stack& stack,
                                       SegmentationDetails details) {
  prepare_dcmtk();
  work_ = std::make_unique<Work>(path, series, stack, std::move(details));
  work_->check_details();
  work_->read_source();
  const Shape& shape = stack.geometry.shape;
  work_->slice_pixels = checked_size(path.c_str(), shape[1], shape[2]);
}

double SegmentationWriter::memory_bytes(const Shape& shape, std::size_t segments) {
  const double pixels = double(shape[1]) * double(shape[2]), slices = double(shape[0]);
  // Labels of a slice and their bytes, one bit a pixel and segment; of each frame where it is (twice while the list
  // grows, and once more while it is sorted); of each slice what it refers to.
  constexpr double kSlice = 4096, kRest = 4 << 20;
  return kRest + 4 * pixels + pixels / 8 * (double(segments) + 4) + slices * kSlice +
         3 * sizeof(Work::FrameBits) * slices * double(segments);
}

SegmentationWriter::~SegmentationWriter() = default;
SegmentationWriter::SegmentationWriter(SegmentationWriter&&) noexcept = default;

void SegmentationWriter::append(const std::uint16_t* labels, std::int64_t count) { work_->append(labels, count); }
void SegmentationWriter::append(const std::uint8_t* labels, std::int64_t count) { work_->append(labels, count); }

void SegmentationWriter::commit() {
  Work& work = *work_;
  if (work.next_slice != work.stack.order.size()) {
    throw Error(ErrorCode::internal, work.file.path() + ": fewer labels than the series has pixels");
  }
  std::stable_sort(work.frames.begin(), work.frames.end(), [](const Work::FrameBits& a, const Work::FrameBits& b) {
    return a.segment != b.segment ? a.segment < b.segment : a.slice < b.slice;
  });
  if (work.frames.empty()) work.add_frame(1, 0, std::vector<unsigned char>((work.slice_pixels + 7) / 8, 0));
  {
    std::unique_ptr<DcmDataset> data_set = work.header();
    DcmFileFormat format(data_set.get(), OFFalse);  // takes it
    data_set.release();
    Item::require(format.validateMetaInfo(EXS_LittleEndianExplicit));
    write_object(format, work.file);
  }
  work.write_groups();
  work.write_pixels();
  work.file.commit();
}

}  // namespace e2enet::imaging::dicom
