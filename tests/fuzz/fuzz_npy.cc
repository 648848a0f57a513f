// libFuzzer entry: whatever a .npy file holds, it is read or refused with an Error; what is read survives being written
// and read again, bit for bit.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "cli/npy.h"
#include "e2enet/error.h"
#include "input_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const e2enet::test::InputFile file("x.npy"), again_file("y.npy");
  file.write(bytes, size);
  e2enet::cli::FloatArray array;
  try {
    array = e2enet::cli::read_npy(file.path());
  } catch (const e2enet::Error&) {
    return 0;
  }
  std::size_t count = 1;
  for (const std::int64_t extent : array.shape) {
    if (extent < 0) std::abort();
    count *= static_cast<std::size_t>(extent);
  }
  if (count != array.values.size() || count * sizeof(float) > size) std::abort();
  e2enet::cli::write_npy(again_file.path(), array.shape, array.values.data());
  const auto again = e2enet::cli::read_npy(again_file.path());  // must not throw
  if (again.shape != array.shape || again.values.size() != count) std::abort();
  if (count > 0 && std::memcmp(again.values.data(), array.values.data(), count * sizeof(float)) != 0) std::abort();
  return 0;
}
