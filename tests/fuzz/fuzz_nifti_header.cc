// libFuzzer entry: whatever the bytes of a NIfTI header say, they are taken or refused with an Error; what is taken
// makes sense, and survives being written and read again. No file is involved, so this runs far more inputs than
// fuzz_nifti.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace e2enet::imaging;
  static const std::string path = "fuzz";
  NiftiHeader header;
  e2enet::Geometry geometry;
  try {
    header = parse_nifti_header(bytes, size, path);
    geometry = header.geometry();
  } catch (const e2enet::Error&) {
    return 0;
  }
  if (bytes_of(header.type) == 0 || header.voxel_offset < 0 || header.data_bytes() <= 0) std::abort();
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (header.shape[axis] < 1 || geometry.shape[axis] != header.shape[axis]) std::abort();
    if (!(geometry.spacing[axis] > 0) || !std::isfinite(geometry.spacing[axis])) std::abort();
  }
  for (const double value : geometry.affine) {
    if (!std::isfinite(value)) std::abort();
  }
  if (header.scaled && (!std::isfinite(header.slope) || !std::isfinite(header.intercept))) std::abort();

  const auto written = serialise_nifti_header(header, StoredType::uint8, 1);
  const NiftiHeader again = parse_nifti_header(written.data(), written.size(), path);  // must not throw
  if (again.shape != header.shape || again.geometry().affine != geometry.affine) std::abort();
  return 0;
}
