// What runs inside a device: the model is part of the program, working memory is a block of the program's own, and
// after start nothing touches the heap. This program's allocator counts, and it ends with an error where that is not
// so.
//
//   device MODEL.safetensors [PATCHES]
#include <e2enet/e2enet.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <vector>

namespace {

std::atomic<long> allocations{0};

void* counted(std::size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}

}  // namespace

// The heap of this whole program, the library's included (its shared object takes these from the program).
void* operator new(std::size_t bytes) { return counted(bytes); }
void* operator new[](std::size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

// A device has its memory from its linker script; here it is one block at start.
constexpr std::size_t kArenaBytes = std::size_t{96} << 20;
alignas(64) unsigned char arena[kArenaBytes];

int run(const char* path, int patches) {
  const std::string bytes = e2enet::read_text_file(path);  // a device has them in flash memory
  e2enet::Model model = e2enet::Model::from_bytes(bytes.data(), bytes.size(), "built-in model");

  e2enet::PatchOptions options;
  options.threads = 1;  // no thread is started, no lock taken
  options.arena = {arena, sizeof arena};
  const std::size_t needed = e2enet::arena_bytes(model, options);
  const std::vector<float> input = e2enet::noise_patch(model.input_channels(), model.patch_size());
  const std::size_t voxels = input.size() / static_cast<std::size_t>(model.input_channels());
  std::vector<float> logits(voxels * static_cast<std::size_t>(model.classes()));
  e2enet::PatchRunner runner(std::move(model), options);

  const long at_start = allocations;
  for (int patch = 0; patch < patches; ++patch) runner.run(input.data(), logits.data());
  const long taken = allocations - at_start;

  double sum = 0;
  for (const float logit : logits) sum += static_cast<double>(logit);
  std::printf("e2enet %s: %d patches, %zu of %zu bytes of the arena, %ld allocations after start, sum of logits %.6g\n",
              e2enet_version(), patches, needed, sizeof arena, taken, sum);
  return taken == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 2 || count > 3) {
    std::fprintf(stderr, "Usage: device MODEL.safetensors [PATCHES]\n");
    return 2;
  }
  return run(arguments[1], count == 3 ? std::atoi(arguments[2]) : 3);
} catch (const std::exception& error) {
  std::fprintf(stderr, "device: error: %s\n", error.what());
  return 1;
}
