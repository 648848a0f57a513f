// The table of a folder's DICOM series.
#pragma once

#include <string>

#include "e2enet/dicom.h"

namespace e2enet::cli {

// Number, description, modality, slices, what keeps it from being a volume, UID; a line each.
std::string dicom_table(const DicomFolder& folder);

}  // namespace e2enet::cli
