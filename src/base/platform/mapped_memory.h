// Memory straight from the system.
#pragma once

#include <cstddef>

namespace e2enet::platform {

// Zeros, at a multiple of 16 bytes; of a system that has pages, none is touched yet, and they go back to it at once
// when they are given back. nullptr where there is no such memory.
void* map_zeros(std::size_t bytes);
void unmap(void* memory, std::size_t bytes);

// That these bytes may lie in huge pages.
void take_huge_pages(void* memory, std::size_t bytes);

}  // namespace e2enet::platform
