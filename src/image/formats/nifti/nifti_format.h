// NIfTI's entry in the list of formats.
#pragma once

#include "image/formats/formats.h"

namespace e2enet::imaging {

// Whether a file of this name is written as NIfTI: an ending of its own, and something before it.
bool names_nifti_file(const std::string& path);

Format nifti_format();

}  // namespace e2enet::imaging
