#include "image/formats/nifti/nifti_header.h"

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_layout.h"

namespace e2enet::imaging {

std::size_t bytes_of(StoredType type) {
  int bytes = 0, bytes_to_swap = 0;
  nifti_datatype_sizes(static_cast<int>(type), &bytes, &bytes_to_swap);
  if (bytes == 0) throw Error(ErrorCode::internal, "a stored type without a size");
  return static_cast<std::size_t>(bytes);
}

void swap_bytes(StoredType type, void* values, std::int64_t count) {
  int bytes = 0, bytes_to_swap = 0;
  nifti_datatype_sizes(static_cast<int>(type), &bytes, &bytes_to_swap);
  // Of single bytes there is nothing to swap, and of them nifti_clib would say so on the terminal.
  if (bytes_to_swap > 1) nifti_swap_Nbytes(count, bytes_to_swap, values);
}

std::int64_t NiftiHeader::data_bytes() const {
  return shape[0] * shape[1] * shape[2] * static_cast<std::int64_t>(bytes_of(type));
}

}  // namespace e2enet::imaging
