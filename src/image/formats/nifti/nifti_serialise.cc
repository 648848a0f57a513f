#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_layout.h"

namespace e2enet::imaging {
namespace {

template <typename Header>
void fill(Header& raw, const NiftiHeader& header, StoredType type, std::int64_t volumes) {
  using Dimension = std::remove_reference_t<decltype(raw.dim[0])>;
  using Real = std::remove_reference_t<decltype(raw.pixdim[0])>;
  raw.datatype = static_cast<std::int16_t>(type);
  raw.bitpix = static_cast<std::int16_t>(8 * bytes_of(type));
  raw.dim[0] = volumes > 1 ? 4 : 3;
  for (std::size_t axis = 1; axis < 8; ++axis) raw.dim[axis] = 1;
  for (std::size_t axis = 1; axis <= 3; ++axis) raw.dim[axis] = static_cast<Dimension>(header.shape[3 - axis]);
  raw.dim[4] = static_cast<Dimension>(volumes);
  for (std::size_t i = 0; i < 8; ++i) raw.pixdim[i] = static_cast<Real>(header.pixdim[i]);
  raw.scl_slope = 1;
  if (header.labels) raw.intent_code = NIFTI_INTENT_LABEL;
  raw.qform_code = static_cast<decltype(raw.qform_code)>(header.qform_code);
  raw.sform_code = static_cast<decltype(raw.sform_code)>(header.sform_code);
  raw.quatern_b = static_cast<Real>(header.quaternion[0]);
  raw.quatern_c = static_cast<Real>(header.quaternion[1]);
  raw.quatern_d = static_cast<Real>(header.quaternion[2]);
  raw.qoffset_x = static_cast<Real>(header.q_offset[0]);
  raw.qoffset_y = static_cast<Real>(header.q_offset[1]);
  raw.qoffset_z = static_cast<Real>(header.q_offset[2]);
  for (std::size_t i = 0; i < 4; ++i) {
    raw.srow_x[i] = static_cast<Real>(header.s_rows[i]);
    raw.srow_y[i] = static_cast<Real>(header.s_rows[4 + i]);
    raw.srow_z[i] = static_cast<Real>(header.s_rows[8 + i]);
  }
  raw.xyzt_units = static_cast<decltype(raw.xyzt_units)>(header.units);
}

}  // namespace

std::vector<unsigned char> serialise_nifti_header(const NiftiHeader& header, StoredType type, std::int64_t volumes) {
  constexpr std::int64_t kLargestShort = std::numeric_limits<std::int16_t>::max();
  const bool long_axis =
      *std::max_element(header.shape.begin(), header.shape.end()) > kLargestShort || volumes > kLargestShort;
  const auto bytes_with = [&](const auto& raw) {
    std::vector<unsigned char> bytes(sizeof raw + 4, 0);
    std::memcpy(bytes.data(), &raw, sizeof raw);
    // In a pair the four bytes that would announce extensions are optional; zeros are right in both places.
    return bytes;
  };
  if (header.version == 1 && !long_axis) {
    nifti_1_header raw;
    std::memset(&raw, 0, sizeof raw);
    raw.sizeof_hdr = static_cast<int>(sizeof raw);
    raw.regular = 'r';
    std::memcpy(raw.magic, header.separate_data ? "ni1" : "n+1", 4);
    raw.vox_offset = header.separate_data ? 0.0f : static_cast<float>(sizeof raw + 4);
    fill(raw, header, type, volumes);
    return bytes_with(raw);
  }
  nifti_2_header raw;
  std::memset(&raw, 0, sizeof raw);
  raw.sizeof_hdr = static_cast<int>(sizeof raw);
  std::memcpy(raw.magic, header.separate_data ? "ni2\0\r\n\032\n" : "n+2\0\r\n\032\n", 8);
  raw.vox_offset = header.separate_data ? 0 : static_cast<std::int64_t>(sizeof raw + 4);
  fill(raw, header, type, volumes);
  return bytes_with(raw);
}

}  // namespace e2enet::imaging
