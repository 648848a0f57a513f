// The bytes of both versions of the header as nifti_clib lays them out, and what readers and writers of them share.
#pragma once

#include <nifti/nifti1.h>
#include <nifti/nifti2.h>

#include <algorithm>
#include <cstddef>
#include <sstream>
#include <string>
#include <type_traits>

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_header.h"

namespace e2enet::imaging {

static_assert(sizeof(nifti_1_header) == kNifti1HeaderBytes);
static_assert(sizeof(nifti_2_header) == kNifti2HeaderBytes);
static_assert(static_cast<int>(StoredType::uint8) == NIFTI_TYPE_UINT8);
static_assert(static_cast<int>(StoredType::int16) == NIFTI_TYPE_INT16);
static_assert(static_cast<int>(StoredType::int32) == NIFTI_TYPE_INT32);
static_assert(static_cast<int>(StoredType::float32) == NIFTI_TYPE_FLOAT32);
static_assert(static_cast<int>(StoredType::float64) == NIFTI_TYPE_FLOAT64);
static_assert(static_cast<int>(StoredType::int8) == NIFTI_TYPE_INT8);
static_assert(static_cast<int>(StoredType::uint16) == NIFTI_TYPE_UINT16);
static_assert(static_cast<int>(StoredType::uint32) == NIFTI_TYPE_UINT32);
static_assert(static_cast<int>(StoredType::int64) == NIFTI_TYPE_INT64);
static_assert(static_cast<int>(StoredType::uint64) == NIFTI_TYPE_UINT64);

// For messages: nine digits, so that neighbouring floats differ.
inline std::string text(double value) {
  std::ostringstream out;
  out.precision(9);
  out << value;
  return out.str();
}

[[noreturn]] inline void fail(const std::string& path, const std::string& field, const std::string& expected,
                              const std::string& found) {
  throw Error(ErrorCode::invalid_image, path + ": " + field + ": expected " + expected + ", found " + found);
}

inline void swap_elements(unsigned char* at, std::size_t element, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += element) std::reverse(at + i, at + i + element);
}

// Only the fields that are used afterwards. By bytes: the library's structures are packed, so no reference may bind to
// their members.
template <typename Header>
void swap_used_fields(Header& header) {
  unsigned char* bytes = reinterpret_cast<unsigned char*>(&header);
#define E2ENET_SWAP(field) swap_elements(bytes + offsetof(Header, field), sizeof(Header::field), sizeof(Header::field))
#define E2ENET_SWAP_ARRAY(field) \
  swap_elements(bytes + offsetof(Header, field), sizeof(Header::field[0]), sizeof(Header::field))
  E2ENET_SWAP(datatype);
  E2ENET_SWAP(bitpix);
  E2ENET_SWAP_ARRAY(dim);
  E2ENET_SWAP_ARRAY(pixdim);
  E2ENET_SWAP(vox_offset);
  E2ENET_SWAP(scl_slope);
  E2ENET_SWAP(scl_inter);
  E2ENET_SWAP(qform_code);
  E2ENET_SWAP(sform_code);
  E2ENET_SWAP(quatern_b);
  E2ENET_SWAP(quatern_c);
  E2ENET_SWAP(quatern_d);
  E2ENET_SWAP(qoffset_x);
  E2ENET_SWAP(qoffset_y);
  E2ENET_SWAP(qoffset_z);
  E2ENET_SWAP_ARRAY(srow_x);
  E2ENET_SWAP_ARRAY(srow_y);
  E2ENET_SWAP_ARRAY(srow_z);
  E2ENET_SWAP(xyzt_units);
#undef E2ENET_SWAP
#undef E2ENET_SWAP_ARRAY
}

}  // namespace e2enet::imaging
