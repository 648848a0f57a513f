// DICOM's entry in the list of formats.
#pragma once

#include "image/formats/formats.h"

namespace e2enet::imaging {

Format dicom_format();

}  // namespace e2enet::imaging
