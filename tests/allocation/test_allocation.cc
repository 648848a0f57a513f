// The second and later patches allocate nothing: counted by standing in for the allocator of the whole program.
// oneDNN's layers are left out: oneDNN itself allocates whenever one of its primitives runs.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/model_file.h"
#include "model/random_model.h"
#include "support/paths.h"
#include "support/sanitizers.h"
#include "support/skip.h"
#include "support/temporary_folder.h"

// The sanitizers stand there themselves; glibc names its own allocator beside the public one.
#if defined(__GLIBC__) && !defined(E2ENET_SANITIZED)
#define E2ENET_COUNTS_ALLOCATIONS 1

namespace {
std::atomic<long> allocations{0};
}

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* pointer, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* pointer, std::size_t size) {
  ++allocations;
  return __libc_realloc(pointer, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** pointer, std::size_t alignment, std::size_t size) {
  *pointer = memalign(alignment, size);
  return *pointer ? 0 : ENOMEM;
}
// What AlignedBuffer takes. operator new arrives at malloc.
void* mmap(void* address, std::size_t size, int protection, int flags, int file, off_t offset) noexcept {
  ++allocations;
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, size, protection, flags, file, offset));
}
}
#endif

namespace {

using e2enet::engine::Engine;
using e2enet::plan::PlanOptions;

class DropLogits : public e2enet::engine::LogitsSink {
 public:
  void consume(int, float*) override {}
};

}  // namespace

TEST_CASE("the second and later patches allocate nothing") {
#ifndef E2ENET_COUNTS_ALLOCATIONS
  E2ENET_SKIP("counting allocations needs glibc and no sanitizer");
#else
  const e2enet::test::TemporaryFolder folder;
  e2enet::model::write_random_model(R"({"input_channels": 2, "classes": 4, "base_features": 8, "density": 0.3,
      "pool_strides": [[1, 2, 2], [2, 2, 2], [2, 2, 2]], "patch_size": [16, 32, 24]})",
                                    "test", 5, folder.file("model"));
  const auto network = e2enet::model::load_model_file(folder.file("model"));
  const std::vector<float> input(2 * 16 * 32 * 24, 0.25f);
  e2enet::kernels::PatchView view;
  view.data = input.data();
  view.channel_stride = 16 * 32 * 24;
  view.stride[0] = 32 * 24;
  view.stride[1] = 24;
  view.stride[2] = 1;
  view.end[0] = 16;
  view.end[1] = 32;
  view.end[2] = 24;

  const long before = allocations;
  // Seen from outside, or the compiler may leave it out.
  std::vector<int>* volatile counted = new std::vector<int>(100);
  delete counted;
  REQUIRE(allocations - before == 2);  // the counter counts

  for (const std::string algorithm : {"", "winograd", "direct"}) {  // empty: by cost
    for (const int threads : {1, 2, 3, 4}) {
      for (const auto storage : {e2enet::kernels::Element::f32, e2enet::kernels::Element::bf16}) {
        for (const bool small_memory : {false, true}) {
          CAPTURE(algorithm);
          CAPTURE(threads);
          CAPTURE(int(storage));
          CAPTURE(small_memory);
          PlanOptions options;
          options.threads = threads;
          options.storage = storage;
          options.forced_algorithm = algorithm;
          if (small_memory) {
            options.in_place_bytes = options.ring_bytes = 0;
            options.items_at_once = 1;
          }
          Engine engine(*network, options);
          DropLogits sink;
          engine.run(view, sink);
          for (int patch = 2; patch <= 4; ++patch) {
            CAPTURE(patch);
            const long start = allocations;
            engine.run(view, sink);
            const long end = allocations;
            CHECK(end - start == 0);
          }
        }
      }
    }
  }
#endif
}
