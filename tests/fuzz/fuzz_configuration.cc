// libFuzzer entry: whatever the configuration's text says, it is taken or refused with an Error; what is taken survives
// being written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "e2enet/error.h"
#include "model/configuration.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  std::string written;
  try {
    written = e2enet::model::configuration_text(e2enet::model::parse_configuration(text, "fuzz", false));
  } catch (const e2enet::Error&) {
    return 0;
  }
  const std::string again =
      e2enet::model::configuration_text(e2enet::model::parse_configuration(written, "fuzz", true));  // must not throw
  if (again != written) std::abort();
  return 0;
}
