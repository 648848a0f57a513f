// What of a NIfTI header says where the image lies.
#pragma once

#include <string>

#include "image/formats/nifti/nifti_header.h"

namespace e2enet::imaging {

// Remarks on matrices that contradict the spacing or cannot be used; refuses a header whose claims leave no place.
// Throws Error (invalid_image) naming `path`.
void check_matrices(NiftiHeader& header, const std::string& path);

// Of xyzt_units' code for lengths.
double millimetres_per_unit(int units);

}  // namespace e2enet::imaging
