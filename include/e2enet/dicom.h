// DICOM series: what a folder holds (docs/dicom.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "e2enet/export.h"

namespace e2enet {

struct DicomSeries {
  std::string uid, study_uid;
  std::string number;  // as it is written, mostly a whole number; may be empty
  std::string description, modality;
  std::int64_t slices = 0;
  // Whether somebody who asks for a volume can mean it. If not, why: "localiser", "colour", "a single slice".
  bool volume = false;
  std::string not_a_volume;
  // Why its slices are no plain stack, one line with file and tag; empty where they are one.
  std::string problem;
};

struct DicomFolder {
  std::vector<DicomSeries> series;  // by number, then UID
  std::int64_t other_files = 0;     // that are not DICOM
  std::int64_t other_objects = 0;   // DICOM without pixels: DICOMDIR, reports, plans
};

// Whether this library was built with DICOM. Without, nothing is DICOM and the next function throws.
E2ENET_API bool dicom_is_available();

// Whether a file's content begins as DICOM, or a folder has such a file among its first few hundred.
E2ENET_API bool is_dicom(const std::string& path);

// Looks through files and folders, and folders in them. Throws Error: cannot_read, invalid_image (a file that begins as
// DICOM and is damaged), invalid_argument (built without DICOM).
E2ENET_API DicomFolder list_dicom(const std::vector<std::string>& paths);

}  // namespace e2enet
