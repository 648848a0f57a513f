// JPEG 2000 by OpenJPEG, in memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace e2enet::imaging::dicom {

// Decodes a codestream (or a JP2 file, which some write) of one component. The result are columns * rows numbers of
// `bytes` bytes each, two's complement, in this machine's byte order. Throws Error (invalid_image, cannot_read) that
// begins with `where`, before memory is taken where the size is not the expected one.
void decode_jpeg2000(const std::vector<unsigned char>& compressed, int columns, int rows, int bytes,
                     const std::string& where, std::vector<unsigned char>& stored);

}  // namespace e2enet::imaging::dicom
