// libFuzzer entry: whatever a NIfTI file holds (plain or gzipped, told apart by content), it is read or refused with an
// Error.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_reader.h"
#include "input_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const e2enet::test::InputFile file("image.nii");
  file.write(bytes, size);
  try {
    e2enet::imaging::ImageReader reader(file.path());
    for (const std::int64_t extent : reader.shape()) {
      if (extent < 1) std::abort();
    }
    // A header may claim slices beyond any memory; the caller decides what it can hold.
    if (reader.slice_size() > 1 << 20) return 0;
    std::vector<float> slice(static_cast<std::size_t>(reader.slice_size()));
    const std::int64_t slices = std::min<std::int64_t>(reader.shape()[0], 64);
    for (std::int64_t d = 0; d < slices; ++d) reader.read(d, d + 1, slice.data());
    if (slices > 1) reader.read(0, 1, slice.data());  // back to the start
  } catch (const e2enet::Error&) {
  }
  return 0;
}
