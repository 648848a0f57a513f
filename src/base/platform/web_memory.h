// The memory of a WebAssembly module, which has no /proc to tell.
#pragma once

#include <cstdint>

namespace e2enet::platform {

// Of the module's memory: what is in use now; what the memory has grown to; and the most that it may grow to, which
// is what the module was started with and no promise of the browser's.
std::int64_t web_bytes_in_use();
std::int64_t web_bytes_of_memory();
std::int64_t web_bytes_at_most();

// Grows the memory to this many bytes, holes and all. False where the browser does not give them.
bool web_reserve(std::int64_t bytes_in_use);

}  // namespace e2enet::platform
