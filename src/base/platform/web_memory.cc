#ifdef __EMSCRIPTEN__
#include "base/platform/web_memory.h"

#include <emscripten.h>
#include <emscripten/heap.h>
#include <malloc.h>

#include <cstddef>

// Where the linker lets malloc()'s memory begin: below are the program's own data and its stack.
extern "C" unsigned char __heap_base;

namespace e2enet::platform {
namespace {

// What the memory's maximum was set to when the module was started (web/package/memory.js); a browser may have given
// less than the file's 4 GiB.
EM_JS(double, maximum_of_memory, (), { return Module["e2enetMaximumBytes"] || 4294967296; });

}  // namespace

std::int64_t web_bytes_of_memory() { return static_cast<std::int64_t>(emscripten_get_heap_size()); }
std::int64_t web_bytes_at_most() { return static_cast<std::int64_t>(maximum_of_memory()); }

std::int64_t web_bytes_in_use() {
  const struct mallinfo now = mallinfo();
  // Its numbers are counted in 32 bits, whose sign is none.
  const auto below_heap = static_cast<std::int64_t>(reinterpret_cast<std::size_t>(&__heap_base));
  return below_heap + static_cast<std::int64_t>(static_cast<std::size_t>(now.uordblks));
}

bool web_reserve(std::int64_t bytes_in_use) {
  if (bytes_in_use <= web_bytes_of_memory()) return true;
  return bytes_in_use < web_bytes_at_most() && emscripten_resize_heap(static_cast<std::size_t>(bytes_in_use)) != 0;
}

}  // namespace e2enet::platform
#endif
