#include "image/formats/nifti/nifti_header.h"

#include "e2enet/error.h"

namespace e2enet::imaging {

std::size_t bytes_of(StoredType type) {
  switch (type) {
    case StoredType::uint8:
    case StoredType::int8:
      return 1;
    case StoredType::int16:
    case StoredType::uint16:
      return 2;
    case StoredType::int32:
    case StoredType::uint32:
    case StoredType::float32:
      return 4;
    case StoredType::float64:
    case StoredType::int64:
    case StoredType::uint64:
      return 8;
  }
  throw Error(ErrorCode::internal, "a stored type without a size");
}

std::int64_t NiftiHeader::data_bytes() const {
  return shape[0] * shape[1] * shape[2] * static_cast<std::int64_t>(bytes_of(type));
}

}  // namespace e2enet::imaging
