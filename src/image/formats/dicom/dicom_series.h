// What DICOM series a folder or a list of files holds: told by content, whatever the files' names and whatever else is
// there.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "image/formats/dicom/dicom_bytes.h"

namespace e2enet::imaging::dicom {

// How stored numbers become values.
struct PixelFormat {
  int bits_allocated = 16, bits_stored = 16, high_bit = 15;
  bool is_signed = false;
  bool inverted = false;  // MONOCHROME1: the least stored number is white
  double slope = 1, intercept = 0;
  // Whether the rescale is computed in float32 rather than in double: where the slices of a series have different ones,
  // which no NIfTI header can hold, converters do that.
  bool in_float32 = false;
};

// A file with pixels, and where its frames lie in it.
struct SourceFile {
  std::string path;
  FileState state;
  std::string transfer_syntax, sop_class, sop_instance;
  std::int64_t data_set = 0;
  bool deflated = false, encapsulated = false;
  bool words = false;  // native pixels are OW: of 16 bits, though each may hold two pixels
  Fragment native;
  std::vector<Fragment> fragments;
  std::vector<std::uint32_t> first_fragment;  // of each frame, and one more for the end; empty: not to be told
};

// One slice.
struct Frame {
  std::size_t file = 0;      // index into the series' files
  std::uint32_t number = 0;  // in its file, from 0
  int rows = 0, columns = 0;
  std::array<double, 3> position{};    // of the first pixel's centre, mm, in DICOM's space (to the left, to the back)
  std::array<double, 6> directions{};  // of length 1, along a row (columns ascending), along a column
  std::array<double, 6> stored_directions{};  // as the file has them
  std::array<double, 2> pixel_spacing{};      // between rows, between columns
  std::string frame_of_reference;
  PixelFormat format;
  bool localizer = false;
  // What may tell slices at one place apart: (name, value).
  std::vector<std::pair<std::string, std::string>> varying;
  // Why this can be no slice of a volume: "(0020,0032) ...: expected ..., found ..."; empty where it can.
  std::string problem;
};

struct Series {
  std::string uid, study_uid, number, description, modality;
  std::vector<SourceFile> files;
  std::vector<Frame> frames;
  std::size_t localizers = 0;  // frames that were set aside, since others are slices
  // Why nobody can mean this series when they ask for a volume (a report, a localiser, colour, a single slice); empty
  // where they can.
  std::string not_a_volume;

  // "scan/001.dcm" or "scan/001.dcm (frame 3)".
  std::string name_of(const Frame& frame) const;
};

struct Scan {
  std::vector<Series> series;    // by number, then UID
  std::int64_t other_files = 0;  // that are not DICOM
  std::int64_t objects = 0;      // DICOM without pixels: DICOMDIR, reports, plans
};

// Looks through files, and through folders and what is below them (links to folders are not followed). What is no DICOM
// file is counted and left alone inside a folder, and refused where it is named itself. Throws Error (cannot_read,
// invalid_image) naming a file that begins as DICOM and is damaged: it may be a slice.
Scan scan(const std::vector<std::string>& paths);

// Whether a file's content begins as DICOM, or a folder has such a file (of its first few hundred).
bool is_dicom(const std::string& path);

// The series of a scan in one line: number, description, modality, slices, UID.
std::string series_list(const Scan& scan);

// The series that is meant: by `wanted` (a UID or a number; empty: the only one that can be meant). Throws Error
// (invalid_image) with the list where that is not exactly one.
const Series& choose(const Scan& scan, const std::string& wanted, const std::string& where);

}  // namespace e2enet::imaging::dicom
