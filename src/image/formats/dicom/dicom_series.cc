#include "image/formats/dicom/dicom_series.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "base/input_file.h"
#include "e2enet/error.h"
#include "image/formats/dicom/dicom_header.h"

namespace e2enet::imaging::dicom {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostFiles = 200'000;
constexpr long kMostFrames = 200'000;
constexpr int kMostVoxels = 32767;  // along an axis

constexpr char kDicomDir[] = "1.2.840.10008.1.3.10";
constexpr char kSegmentation[] = "1.2.840.10008.5.1.4.1.1.66.4";
constexpr char kDeflated[] = "1.2.840.10008.1.2.1.99";

// Objects with pixels that are no pictures of a body.
const std::map<std::string, std::string>& no_pictures() {
  static const std::map<std::string, std::string> all = {
      {kSegmentation, "a segmentation"},
      {"1.2.840.10008.5.1.4.1.1.66.7", "a segmentation"},
      {"1.2.840.10008.5.1.4.1.1.66.8", "a segmentation"},
      {"1.2.840.10008.5.1.4.1.1.481.2", "a dose"},
      {"1.2.840.10008.5.1.4.1.1.481.1", "a radiotherapy image"},
  };
  return all;
}

std::string expected(const DcmTagKey& tag, const std::string& what, const std::string& found) {
  return name_of(tag) + ": expected " + what + ", found " + (found.empty() ? "none" : found);
}

bool has_value(const std::string& values, const std::string& wanted) {
  for (std::size_t begin = 0; begin <= values.size();) {
    const std::size_t end = std::min(values.find('\\', begin), values.size());
    if (values.compare(begin, end - begin, wanted) == 0) return true;
    begin = end + 1;
  }
  return false;
}

// The functional group `sequence` of one frame: its own, else the one that all frames share; null where neither.
class FunctionalGroups {
 public:
  FunctionalGroups(DcmItem& data_set, long frame)
      : own_(item_of(data_set, DCM_PerFrameFunctionalGroupsSequence, frame)),
        shared_(item_of(data_set, DCM_SharedFunctionalGroupsSequence)) {}

  DcmItem* group(const DcmTagKey& sequence) const {
    DcmItem* found = own_ ? item_of(*own_, sequence) : nullptr;
    return found || !shared_ ? found : item_of(*shared_, sequence);
  }
  DcmItem* holder(const DcmTagKey& sequence) const {
    if (own_ && item_of(*own_, sequence)) return own_;
    return shared_ && item_of(*shared_, sequence) ? shared_ : nullptr;
  }

 private:
  DcmItem* own_;
  DcmItem* shared_;
};

// Where a frame's attributes stand: in the data set, or in functional groups.
struct FrameAttributes {
  DcmItem& data_set;
  const FunctionalGroups* groups;  // null: a data set of one frame

  DcmItem* at(const DcmTagKey& sequence) const { return groups ? groups->group(sequence) : &data_set; }
  std::vector<double> numbers(const DcmTagKey& sequence, const DcmTagKey& tag, unsigned long count) const {
    DcmItem* item = at(sequence);
    return item ? numbers_of(*item, tag, count) : std::vector<double>{};
  }
  std::string text(const DcmTagKey& sequence, const DcmTagKey& tag) const {
    DcmItem* item = at(sequence);
    return item ? text_of(*item, tag) : "";
  }
};

// As a converter would keep it in a NIfTI header, in float32: so that the same scan gives the same values both ways.
double as_float(double value) { return static_cast<double>(static_cast<float>(value)); }

// Slope and intercept: the modality's, else a real-world value map's. Returns a problem, empty where there is none.
std::string read_rescale(const FrameAttributes& at, PixelFormat& format) {
  DcmItem* item = at.at(DCM_PixelValueTransformationSequence);
  if (at.groups && !item) item = &at.data_set;
  const std::string slope_text = text_of(*item, DCM_RescaleSlope);
  const std::string intercept_text = text_of(*item, DCM_RescaleIntercept);
  if (!slope_text.empty() || !intercept_text.empty()) {
    const std::optional<double> slope = slope_text.empty() ? 1 : number_of(*item, DCM_RescaleSlope);
    const std::optional<double> intercept = intercept_text.empty() ? 0 : number_of(*item, DCM_RescaleIntercept);
    if (!slope || as_float(*slope) == 0 || !std::isfinite(as_float(*slope))) {
      return expected(DCM_RescaleSlope, "a number that is not 0", "'" + slope_text + "'");
    }
    if (!intercept || !std::isfinite(as_float(*intercept))) {
      return expected(DCM_RescaleIntercept, "a number", "'" + intercept_text + "'");
    }
    format.slope = as_float(*slope);
    format.intercept = as_float(*intercept);
    return "";
  }
  if (items_in(at.data_set, DCM_ModalityLUTSequence) > 0) {
    return expected(DCM_ModalityLUTSequence, "a rescale slope and intercept", "a table of values instead");
  }
  DcmItem* holder = at.groups ? at.groups->holder(DCM_RealWorldValueMappingSequence) : nullptr;
  if (!holder) holder = &at.data_set;
  const unsigned long maps = items_in(*holder, DCM_RealWorldValueMappingSequence);
  if (maps == 0) return "";
  if (maps > 1) {
    return expected(DCM_RealWorldValueMappingSequence, "at most one map where there is no rescale slope",
                    std::to_string(maps));
  }
  DcmItem* map = item_of(*holder, DCM_RealWorldValueMappingSequence);
  const std::optional<double> slope = number_of(*map, DCM_RealWorldValueSlope);
  const std::optional<double> intercept = number_of(*map, DCM_RealWorldValueIntercept);
  if (!slope || !intercept || as_float(*slope) == 0 || !std::isfinite(as_float(*slope)) ||
      !std::isfinite(as_float(*intercept))) {
    return expected(DCM_RealWorldValueSlope, "a slope that is not 0 and an intercept", "another map");
  }
  format.slope = as_float(*slope);
  format.intercept = as_float(*intercept);
  return "";
}

std::string read_format(DcmItem& data_set, const SourceFile& file, PixelFormat& format) {
  const std::optional<long> samples = whole_number_of(data_set, DCM_SamplesPerPixel);
  const std::string photometric = text_of(data_set, DCM_PhotometricInterpretation);
  if (samples.value_or(1) != 1) {
    return expected(DCM_SamplesPerPixel, "1 (grey values)", std::to_string(*samples) + " (colour)");
  }
  if (photometric != "MONOCHROME1" && photometric != "MONOCHROME2") {
    return expected(DCM_PhotometricInterpretation, "MONOCHROME1 or MONOCHROME2",
                    photometric.empty() ? "" : "'" + photometric + "'");
  }
  format.inverted = photometric == "MONOCHROME1";
  const long allocated = whole_number_of(data_set, DCM_BitsAllocated).value_or(0);
  if (allocated != 8 && allocated != 16 && allocated != 32) {
    return expected(DCM_BitsAllocated, "8, 16 or 32", allocated ? std::to_string(allocated) : "");
  }
  const long stored = whole_number_of(data_set, DCM_BitsStored).value_or(allocated);
  if (stored < 1 || stored > allocated) {
    return expected(DCM_BitsStored, "1 to " + std::to_string(allocated), std::to_string(stored));
  }
  const long high = whole_number_of(data_set, DCM_HighBit).value_or(stored - 1);
  if (high < stored - 1 || high >= allocated) {
    return expected(DCM_HighBit, std::to_string(stored - 1) + " to " + std::to_string(allocated - 1),
                    std::to_string(high));
  }
  const long representation = whole_number_of(data_set, DCM_PixelRepresentation).value_or(0);
  if (representation != 0 && representation != 1) {
    return expected(DCM_PixelRepresentation, "0 or 1", std::to_string(representation));
  }
  if (file.encapsulated && allocated == 32 && file.transfer_syntax != "1.2.840.10008.1.2.5") {
    return expected(DCM_BitsAllocated, "8 or 16 in this compression", "32");
  }
  format.bits_allocated = static_cast<int>(allocated);
  format.bits_stored = static_cast<int>(stored);
  format.high_bit = static_cast<int>(high);
  format.is_signed = representation == 1;
  return "";
}

std::string read_place(const FrameAttributes& at, Frame& frame) {
  const auto require = [&](const DcmTagKey& sequence, const DcmTagKey& tag, unsigned long count, double* out) {
    const std::vector<double> numbers = at.numbers(sequence, tag, count);
    if (numbers.size() == count) {
      std::copy(numbers.begin(), numbers.end(), out);
      return std::string();
    }
    const std::string found = at.text(sequence, tag);
    return expected(tag, std::to_string(count) + " numbers", found.empty() ? "" : "'" + found + "'");
  };
  std::string problem = require(DCM_PlanePositionSequence, DCM_ImagePositionPatient, 3, frame.position.data());
  if (problem.empty()) {
    problem = require(DCM_PlaneOrientationSequence, DCM_ImageOrientationPatient, 6, frame.directions.data());
  }
  if (problem.empty()) {
    problem = require(DCM_PixelMeasuresSequence, DCM_PixelSpacing, 2, frame.pixel_spacing.data());
  }
  if (!problem.empty()) return problem;
  for (const double place : frame.position) {
    if (std::abs(place) > 1e6) {
      return expected(DCM_ImagePositionPatient, "a place within a kilometre", std::to_string(place) + " mm");
    }
  }
  for (const double spacing : frame.pixel_spacing) {
    if (!(spacing > 1e-6 && spacing < 1e6)) {
      return expected(DCM_PixelSpacing, "positive distances in mm", std::to_string(spacing));
    }
  }
  frame.stored_directions = frame.directions;
  std::array<double, 6>& d = frame.directions;
  const double x = std::hypot(d[0], d[1], d[2]), y = std::hypot(d[3], d[4], d[5]);
  const double dot = d[0] * d[3] + d[1] * d[4] + d[2] * d[5];
  if (!(std::abs(x - 1) <= 0.01 && std::abs(y - 1) <= 0.01 && std::abs(dot) <= 0.001)) {
    return expected(DCM_ImageOrientationPatient, "two directions of length 1 at right angles",
                    "'" + at.text(DCM_PlaneOrientationSequence, DCM_ImageOrientationPatient) + "'");
  }
  for (std::size_t i = 0; i < 3; ++i) {
    d[i] /= x;
    d[3 + i] /= y;
  }
  return "";
}

void note(std::vector<std::pair<std::string, std::string>>& varying, const DcmTagKey& tag, const std::string& value) {
  if (!value.empty()) varying.emplace_back(name_of(tag), value);
}

// All frames of a file.
std::vector<Frame> frames_of(DcmItem& data_set, const SourceFile& file) {
  Frame common;
  const auto one = [&](const std::string& problem) {
    common.problem = problem;
    return std::vector<Frame>{common};
  };
  const auto no_picture = no_pictures().find(file.sop_class);
  if (no_picture != no_pictures().end()) {
    return one(expected(DCM_SOPClassUID, "an image", no_picture->second));
  }
  const long rows = whole_number_of(data_set, DCM_Rows).value_or(0);
  const long columns = whole_number_of(data_set, DCM_Columns).value_or(0);
  if (rows < 1 || rows > kMostVoxels) return one(expected(DCM_Rows, "1 to 32767", std::to_string(rows)));
  if (columns < 1 || columns > kMostVoxels) return one(expected(DCM_Columns, "1 to 32767", std::to_string(columns)));
  common.rows = static_cast<int>(rows);
  common.columns = static_cast<int>(columns);
  common.frame_of_reference = text_of(data_set, DCM_FrameOfReferenceUID);
  const std::string image_type = text_of(data_set, DCM_ImageType);
  common.localizer = has_value(image_type, "LOCALIZER");
  std::string problem = read_format(data_set, file, common.format);
  if (!problem.empty()) return one(problem);
  if (has_value(image_type, "MOSAIC")) {
    return one(expected(DCM_ImageType, "one slice a frame", "'" + image_type + "': several slices beside each other"));
  }

  const long frames = whole_number_of(data_set, DCM_NumberOfFrames).value_or(1);
  if (frames < 1 || frames > kMostFrames) {
    return one(expected(DCM_NumberOfFrames, "1 to " + std::to_string(kMostFrames), std::to_string(frames)));
  }
  const std::int64_t frame_bytes = std::int64_t{rows} * columns * (common.format.bits_allocated / 8);
  if (!file.encapsulated && file.native.length < frame_bytes * frames) {
    return one(expected(DCM_PixelData,
                        std::to_string(frame_bytes * frames) + " bytes (" + std::to_string(columns) + " x " +
                            std::to_string(rows) + " pixels, " + std::to_string(frames) + " frames)",
                        std::to_string(file.native.length)));
  }
  if (file.encapsulated && file.first_fragment.size() != static_cast<std::size_t>(frames) + 1) {
    return one(expected(DCM_PixelData,
                        "an offset table, or one fragment a frame for " + std::to_string(frames) + " frames",
                        std::to_string(file.fragments.size()) + " fragments without one that fits"));
  }
  const unsigned long groups = items_in(data_set, DCM_PerFrameFunctionalGroupsSequence);
  const bool enhanced = groups > 0 || items_in(data_set, DCM_SharedFunctionalGroupsSequence) > 0;
  if (frames > 1 && groups != static_cast<unsigned long>(frames)) {
    return one(expected(DCM_PerFrameFunctionalGroupsSequence,
                        "an item for each of " + std::to_string(frames) + " frames, which says where it lies",
                        std::to_string(groups)));
  }

  std::vector<Frame> all;
  for (long number = 0; number < frames; ++number) {
    Frame frame = common;
    frame.number = static_cast<std::uint32_t>(number);
    const FunctionalGroups functional_groups(data_set, number);
    const FrameAttributes at{data_set, enhanced ? &functional_groups : nullptr};
    frame.problem = read_place(at, frame);
    if (frame.problem.empty()) frame.problem = read_rescale(at, frame.format);
    if (enhanced) {
      note(frame.varying, DCM_TemporalPositionIndex, at.text(DCM_FrameContentSequence, DCM_TemporalPositionIndex));
      note(frame.varying, DCM_StackID, at.text(DCM_FrameContentSequence, DCM_StackID));
      note(frame.varying, DCM_EffectiveEchoTime, at.text(DCM_MREchoSequence, DCM_EffectiveEchoTime));
      note(frame.varying, DCM_DiffusionBValue, at.text(DCM_MRDiffusionSequence, DCM_DiffusionBValue));
      for (const DcmTagKey& sequence : {DCM_MRImageFrameTypeSequence, DCM_CTImageFrameTypeSequence}) {
        const std::string type = at.text(sequence, DCM_FrameType);
        note(frame.varying, DCM_FrameType, type);
        frame.localizer = frame.localizer || has_value(type, "LOCALIZER");
      }
      note(frame.varying, DCM_FrameAcquisitionDateTime,
           at.text(DCM_FrameContentSequence, DCM_FrameAcquisitionDateTime));
    } else {
      for (const DcmTagKey& tag :
           {DCM_TemporalPositionIdentifier, DCM_EchoTime, DCM_EchoNumbers, DCM_DiffusionBValue, DCM_ImageType,
            DCM_AcquisitionNumber, DCM_TriggerTime, DCM_AcquisitionTime, DCM_ContentTime, DCM_InstanceNumber}) {
        note(frame.varying, tag, text_of(data_set, tag));
      }
    }
    all.push_back(std::move(frame));
  }
  return all;
}

// Which fragments each frame has: by the offset table, else one each, else all for the only one.
std::vector<std::uint32_t> first_fragments(const Structure& structure, long frames) {
  const std::size_t count = structure.fragments.size();
  std::vector<std::uint32_t> first;
  if (frames == 1) return count > 0 ? std::vector<std::uint32_t>{0, static_cast<std::uint32_t>(count)} : first;
  if (static_cast<std::size_t>(frames) == count) {
    for (std::uint32_t f = 0; f <= count; ++f) first.push_back(f);
    return first;
  }
  if (structure.offset_table.size() != static_cast<std::size_t>(frames)) return first;
  const std::int64_t begin = structure.fragments.empty() ? 0 : structure.fragments.front().offset - 8;
  std::size_t fragment = 0;
  for (const std::uint32_t offset : structure.offset_table) {
    while (fragment < count && structure.fragments[fragment].offset - 8 < begin + offset) ++fragment;
    if (fragment == count || structure.fragments[fragment].offset - 8 != begin + offset) return {};
    if (!first.empty() && first.back() >= fragment) return {};
    first.push_back(static_cast<std::uint32_t>(fragment));
  }
  if (!first.empty() && first.front() != 0) return {};
  first.push_back(static_cast<std::uint32_t>(count));
  return first;
}

std::optional<long> as_number(const std::string& text) {
  char* end = nullptr;
  const long number = std::strtol(text.c_str(), &end, 10);
  return text.empty() || *end ? std::nullopt : std::optional<long>(number);
}

// Reads one file into the scan. `named`: the user named it.
void add_file(const std::string& path, bool named, std::map<std::string, Series>& all, Scan& scan) {
  DicomBytes bytes(path);
  if (!begins_as_dicom(bytes)) {
    if (named) check_structure(bytes);  // which says what is wrong
    ++scan.other_files;
    return;
  }
  const Structure structure = check_structure(bytes);
  const std::unique_ptr<DcmDataset> data_set = read_header(bytes, structure);
  const std::string uid = text_of(*data_set, DCM_SeriesInstanceUID);
  SourceFile file;
  file.sop_class = text_of(*data_set, DCM_SOPClassUID);
  if (!structure.pixels || file.sop_class == kDicomDir) {
    ++scan.objects;
    if (named) {
      throw Error(ErrorCode::invalid_image, path + ": " + expected(DCM_PixelData, "an image", ""));
    }
    return;
  }
  file.path = path;
  file.state = bytes.state();
  file.transfer_syntax = structure.transfer_syntax;
  file.sop_instance = text_of(*data_set, DCM_SOPInstanceUID);
  file.data_set = structure.data_set;
  file.deflated = structure.transfer_syntax == kDeflated;
  file.encapsulated = structure.encapsulated;
  file.native = structure.native;
  file.words = structure.words;
  file.fragments = structure.fragments;
  const long frames = whole_number_of(*data_set, DCM_NumberOfFrames).value_or(1);
  if (frames >= 1 && frames <= kMostFrames) file.first_fragment = first_fragments(structure, frames);

  Series& series = all[uid];
  if (series.files.empty()) {
    series.uid = uid;
    series.study_uid = text_of(*data_set, DCM_StudyInstanceUID);
    series.number = text_of(*data_set, DCM_SeriesNumber);
    series.description = readable_text_of(*data_set, DCM_SeriesDescription);
    series.modality = readable_text_of(*data_set, DCM_Modality);
  }
  for (Frame& frame : frames_of(*data_set, file)) {
    frame.file = series.files.size();
    series.frames.push_back(std::move(frame));
  }
  series.files.push_back(std::move(file));
}

// Localisers beside slices of a volume do not belong to it.
void set_localizers_aside(Series& series) {
  const auto is_localizer = [](const Frame& frame) { return frame.localizer; };
  const auto localizers = std::count_if(series.frames.begin(), series.frames.end(), is_localizer);
  if (localizers == static_cast<std::ptrdiff_t>(series.frames.size())) {
    series.not_a_volume = "localiser";
  } else if (localizers > 0) {
    series.localizers = static_cast<std::size_t>(localizers);
    series.frames.erase(std::remove_if(series.frames.begin(), series.frames.end(), is_localizer), series.frames.end());
  }
}

void say_what_it_is(Series& series) {
  set_localizers_aside(series);
  if (!series.not_a_volume.empty()) return;
  const auto all = [&](const auto& is) { return std::all_of(series.frames.begin(), series.frames.end(), is); };
  const auto begins = [](const Frame& frame, const DcmTagKey& tag) {
    return frame.problem.compare(0, 11, text(Tag{tag.getGroup(), tag.getElement()})) == 0;
  };
  if (all([&](const Frame& f) { return no_pictures().count(series.files[f.file].sop_class) > 0; })) {
    series.not_a_volume = no_pictures().at(series.files[0].sop_class);
  } else if (all([&](const Frame& f) {
               return begins(f, DCM_SamplesPerPixel) || begins(f, DCM_PhotometricInterpretation);
             })) {
    series.not_a_volume = "colour";
  } else if (series.frames.size() == 1 && series.frames[0].problem.empty()) {
    series.not_a_volume = "a single slice";
  }
}

}  // namespace

std::string Series::name_of(const Frame& frame) const {
  const std::string& path = files[frame.file].path;
  const auto of_this_file = [&](const Frame& other) { return other.file == frame.file; };
  if (std::count_if(frames.begin(), frames.end(), of_this_file) < 2) return path;
  return path + " (frame " + std::to_string(frame.number + 1) + ")";
}

Scan scan(const std::vector<std::string>& paths) {
  prepare_dcmtk();
  Scan result;
  std::map<std::string, Series> all;
  std::set<std::string> seen;
  std::size_t files = 0;
  const auto add = [&](const fs::path& path, bool named) {
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    if (!seen.insert(error ? path.string() : real.string()).second) return;  // named twice, or by a link too
    if (++files > kMostFiles) {
      throw Error(ErrorCode::invalid_image,
                  path.string() + ": expected at most " + std::to_string(kMostFiles) + " files, found more");
    }
    add_file(path.string(), named, all, result);
  };
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      require_regular_file(path);
      add(path, true);
      continue;
    }
    std::vector<fs::path> found;
    fs::recursive_directory_iterator entry(path, error), end;
    for (; !error && entry != end; entry.increment(error)) {
      std::error_code ignored;
      if (entry->is_regular_file(ignored)) found.push_back(entry->path());
      if (found.size() > kMostFiles) break;
    }
    if (error) throw Error(ErrorCode::cannot_read, path + ": cannot look into the folder: " + error.message());
    std::sort(found.begin(), found.end());  // so that the first of anything does not depend on the file system
    for (const fs::path& file : found) add(file, false);
  }
  for (auto& [uid, series] : all) {
    say_what_it_is(series);
    result.series.push_back(std::move(series));
  }
  std::sort(result.series.begin(), result.series.end(), [](const Series& a, const Series& b) {
    const long none = std::numeric_limits<long>::max();
    const long number_a = as_number(a.number).value_or(none), number_b = as_number(b.number).value_or(none);
    return number_a != number_b ? number_a < number_b : a.uid < b.uid;
  });
  return result;
}

bool is_dicom(const std::string& path) {
  constexpr int kLooks = 256;
  const auto begins = [](const std::string& file) {
    try {
      DicomBytes bytes(file);
      return begins_as_dicom(bytes);
    } catch (const Error&) {
      return false;
    }
  };
  std::error_code error;
  if (!fs::is_directory(path, error)) return begins(path);
  int looks = 0;
  fs::recursive_directory_iterator entry(path, error), end;
  for (; !error && entry != end && looks < kLooks; entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_regular_file(ignored)) continue;
    ++looks;
    if (begins(entry->path().string())) return true;
  }
  return false;
}

std::string series_list(const Scan& scan) {
  std::string list;
  for (const Series& s : scan.series) {
    list += (list.empty() ? "" : "; ") + (s.number.empty() ? std::string("without a number") : s.number);
    if (!s.description.empty()) list += " '" + s.description + "'";
    list += " (" + (s.modality.empty() ? std::string() : s.modality + ", ") + std::to_string(s.frames.size()) +
            " slices, " + (s.not_a_volume.empty() ? std::string() : s.not_a_volume + ", ") + s.uid + ")";
  }
  return list;
}

const Series& choose(const Scan& scan, const std::string& wanted, const std::string& where) {
  const auto refuse = [&](const std::string& expectation, const std::string& found) {
    throw Error(ErrorCode::invalid_image, where + ": series: expected " + expectation + ", found " + found +
                                              (scan.series.empty() ? "" : ": " + series_list(scan)));
  };
  std::vector<const Series*> meant;
  for (const Series& series : scan.series) {
    if (wanted.empty() ? series.not_a_volume.empty()
                       : series.uid == wanted || (as_number(wanted) && as_number(series.number) == as_number(wanted))) {
      meant.push_back(&series);
    }
  }
  if (meant.size() == 1) return *meant[0];
  if (!wanted.empty()) {
    refuse("one with the UID or number " + wanted, meant.empty() ? "none" : std::to_string(meant.size()));
  }
  if (meant.empty() && scan.series.size() == 1) return scan.series[0];  // why it is none is said where it is read
  if (meant.empty()) refuse("one that is a volume", scan.series.empty() ? "no DICOM image" : "none");
  refuse("one that is a volume, or --series UID or NUMBER", std::to_string(meant.size()));
  return *meant[0];
}

}  // namespace e2enet::imaging::dicom
