// The bytes of both versions of the header as nifti_clib lays them out, and what readers and writers of them share.
#pragma once

#include <nifti/nifti1.h>
#include <nifti/nifti2.h>
#include <nifti/nifti2_io.h>

#include <sstream>
#include <string>

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

}  // namespace e2enet::imaging
