#include "base/platform/mapped_memory.h"

#ifdef __EMSCRIPTEN__
#include <cstdlib>
#else
#include <sys/mman.h>
#endif

namespace e2enet::platform {

#ifdef __EMSCRIPTEN__
// Not by mmap(), which asks malloc() for 64 KiB more than it keeps: the hole that a large block leaves would be too
// small for the next block of the same size, and the memory would grow to twice as much.
void* map_zeros(std::size_t bytes) { return std::calloc(1, bytes); }
void unmap(void* memory, std::size_t) { std::free(memory); }
void take_huge_pages(void*, std::size_t) {}
#else
void* map_zeros(std::size_t bytes) {
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

void unmap(void* memory, std::size_t bytes) { munmap(memory, bytes); }

void take_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
}
#endif

}  // namespace e2enet::platform
