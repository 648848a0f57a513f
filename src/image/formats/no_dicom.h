// In the place of DICOM in a build without it: knows such files when it sees them, so that what is said of them is why
// they are not read.
#pragma once

#include <string>

#include "image/formats/formats.h"

namespace e2enet::imaging {

// Whether a file begins as a DICOM file does ("DICM" after 128 bytes), or a folder has such a file (of its first few
// hundred).
bool looks_like_dicom(const std::string& path);

// Recognises DICOM by content and by the ending .dcm, and refuses it. Throws Error (invalid_argument).
Format no_dicom_format();

}  // namespace e2enet::imaging
