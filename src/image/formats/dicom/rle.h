// DICOM's run-length coding (PS3.5, Annex G).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace e2enet::imaging::dicom {

// Decodes a frame of `pixels` numbers of `bytes` bytes each, into this machine's byte order. DCMTK 3.6.7's own decoder
// reads beyond the frame where a segment's offset leads there. Throws Error (invalid_image, cannot_read) that begins
// with `where`.
void decode_rle(const std::vector<unsigned char>& compressed, std::size_t pixels, std::size_t bytes,
                const std::string& where, std::vector<unsigned char>& stored);

}  // namespace e2enet::imaging::dicom
