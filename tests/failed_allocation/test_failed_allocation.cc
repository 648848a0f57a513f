// No memory: every single allocation of loading, planning and segmenting fails once alone, and once with all that
// follow it. Each time the caller gets an Error (out_of_memory), nothing leaks, and the next call works.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "api/fixtures.h"
#include "e2enet/e2enet_c.h"
#include "support/skip.h"

// The sanitizers stand at the same place.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define E2ENET_FAILS_ALLOCATIONS 1

namespace {

std::atomic<bool> armed{false};
std::atomic<long> asked{0};       // since failures were armed
std::atomic<long> fails_from{0};  // the number of the first allocation that fails
std::atomic<long> fails_to{0};
std::atomic<long> failed{0};
std::atomic<long> live{0};  // blocks and mappings that nobody has given back

bool gives() {
  if (!armed) return true;
  const long number = ++asked;
  if (number < fails_from || number > fails_to) return true;
  ++failed;
  return false;
}

void* take(std::size_t size, std::size_t alignment) {
  if (!gives()) return nullptr;
  void* block = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment + alignment);
  if (block) ++live;
  return block;
}

void* take_or_throw(std::size_t size, std::size_t alignment) {
  void* block = take(size, alignment);
  if (!block) throw std::bad_alloc();
  return block;
}

void give(void* block) {
  if (block) --live;
  std::free(block);
}

constexpr std::size_t kUsual = alignof(std::max_align_t);

}  // namespace

void* operator new(std::size_t size) { return take_or_throw(size, kUsual); }
void* operator new[](std::size_t size) { return take_or_throw(size, kUsual); }
void* operator new(std::size_t size, std::align_val_t alignment) { return take_or_throw(size, std::size_t(alignment)); }
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return take_or_throw(size, std::size_t(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return take(size, kUsual); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return take(size, kUsual); }
void operator delete(void* block) noexcept { give(block); }
void operator delete[](void* block) noexcept { give(block); }
void operator delete(void* block, std::size_t) noexcept { give(block); }
void operator delete[](void* block, std::size_t) noexcept { give(block); }
void operator delete(void* block, std::align_val_t) noexcept { give(block); }
void operator delete[](void* block, std::align_val_t) noexcept { give(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { give(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { give(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { give(block); }
void operator delete[](void* block, const std::nothrow_t&) noexcept { give(block); }

// What AlignedBuffer takes.
extern "C" void* mmap(void* address, std::size_t size, int protection, int flags, int file, off_t offset) noexcept {
  if (!gives()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  ++live;
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, size, protection, flags, file, offset));
}
extern "C" int munmap(void* address, std::size_t size) noexcept {
  --live;
  return int(syscall(SYS_munmap, address, size));
}

namespace {

using e2enet::Error;
using e2enet::ErrorCode;

struct Outcome {
  bool done = false;
  bool out_of_memory = false;
  std::string text;  // of what else came
};

// In a thread of its own, so that the threads of its team start anew.
Outcome attempt(const std::function<void()>& call, long from, long to) {
  Outcome outcome;
  char text[200] = "";
  std::thread thread([&] {
    asked = failed = 0;
    fails_from = from;
    fails_to = to;
    armed = true;
    try {
      call();
      armed = false;
      outcome.done = true;
    } catch (const Error& error) {
      armed = false;
      outcome.out_of_memory = error.code() == ErrorCode::out_of_memory;
      std::snprintf(text, sizeof text, "%s", error.what());
    } catch (const std::exception& error) {
      armed = false;
      std::snprintf(text, sizeof text, "not an Error: %s", error.what());
    } catch (...) {
      armed = false;
      std::snprintf(text, sizeof text, "not an exception of std");
    }
  });
  thread.join();
  outcome.text = text;
  return outcome;
}

// `call` leaves nothing behind; `right` says whether its result is what it was when nothing failed.
void fail_each_allocation_of(const char* name, const std::function<void()>& call, const std::function<bool()>& right) {
  CAPTURE(std::string(name));
  for (int warm = 0; warm < 2; ++warm) REQUIRE(attempt(call, 0, -1).done);  // what is made once for the process
  const long before = live;
  long most = 0;
  for (const bool all_that_follow : {false, true}) {
    for (long number = 1;; ++number) {
      CAPTURE(all_that_follow);
      CAPTURE(number);
      const Outcome outcome = attempt(call, number, all_that_follow ? 1L << 60 : number);
      if (failed == 0) {
        CHECK(outcome.done);
        most = number - 1;
        break;
      }
      CAPTURE(outcome.text);
      // Some library code does without, by another way to the same result.
      if (outcome.done) {
        CHECK(right());
      } else {
        CHECK(outcome.out_of_memory);
        CHECK(!outcome.text.empty());
      }
      const long after = live - long(outcome.text.capacity() > 15);
      CHECK(after == before);
      if (number % 4 == 0) {
        const Outcome next = attempt(call, 0, -1);
        CHECK(next.done);
        CHECK(right());
      }
    }
  }
  MESSAGE(std::string(name) << ": " << most << " allocations");
  CHECK(most > 0);
}

// The C functions give codes and no exceptions.
void expect(e2enet_status status) {
  armed = false;  // what follows is the test's own
  if (status == E2ENET_OUT_OF_MEMORY) throw Error(ErrorCode::out_of_memory, e2enet_last_error());
  if (status != E2ENET_OK) throw Error(ErrorCode::internal, e2enet_last_error());
}

}  // namespace
#endif

TEST_CASE("every allocation of load, plan and segment fails: an Error, no leak, and the next call works") {
#ifndef E2ENET_FAILS_ALLOCATIONS
  E2ENET_SKIP("needs glibc and no sanitizer");
#else
  const e2enet::test::TemporaryFolder folder;
  const std::string path = folder.file("model");
  e2enet::model::write_random_model(R"({"classes": 3, "base_features": 4, "density": 0.5, "input_channels": 2,
      "pool_strides": [[1, 2, 2], [2, 2, 2]], "patch_size": [4, 8, 8]})",
                                    "test", 11, path);
  const e2enet::test::TestImage image({6, 10, 9});
  e2enet::Options options;
  options.threads = 2;
  const e2enet::Model model = e2enet::Model::load(path);

  int classes = 0;
  fail_each_allocation_of(
      "Model::load", [&] { classes = e2enet::Model::load(path).classes(); }, [&] { return classes == 3; });
  fail_each_allocation_of(
      "Segmenter", [&] { const e2enet::Segmenter made(model, options); }, [] { return true; });
  std::vector<e2enet::ArrayView> arrays;
  for (const float* channel : image.view.channels) arrays.push_back({channel});
  fail_each_allocation_of(
      "Image::from_arrays", [&] { e2enet::Image::from_arrays(image.view.geometry, arrays); }, [] { return true; });

  e2enet::Segmenter segmenter(model, options);
  const e2enet::Image input = image.view;
  e2enet::Request request;
  request.probabilities = request.mean_intensities = true;
  const e2enet::Segmentation expected = segmenter.segment(input, request);
  std::vector<float> probabilities(expected.probabilities);
  bool same = false;
  fail_each_allocation_of(
      "segment",
      [&] {
        const e2enet::Segmentation found = segmenter.segment(input, request);
        same = found.labels == expected.labels && found.probabilities == expected.probabilities;
      },
      [&] { return same; });
  std::string json;
  const std::string expected_json = e2enet::segmentation_json(expected, true);
  fail_each_allocation_of(
      "segmentation_json",
      [&] {
        json.clear();
        json.shrink_to_fit();
        json = e2enet::segmentation_json(expected, true);
        same = json == expected_json;
        json.clear();
        json.shrink_to_fit();
      },
      [&] { return same; });

  // The same through C.
  e2enet_model* loaded = nullptr;
  fail_each_allocation_of(
      "e2enet_model_load",
      [&] {
        e2enet_model* one = nullptr;
        const e2enet_status status = e2enet_model_load(path.c_str(), &one);
        e2enet_model_free(one);
        expect(status);
      },
      [] { return true; });
  expect(e2enet_model_load(path.c_str(), &loaded));
  e2enet_options* c_options = nullptr;
  expect(e2enet_options_create(&c_options));
  expect(e2enet_options_set_threads(c_options, 2));
  fail_each_allocation_of(
      "e2enet_segmenter_create",
      [&] {
        e2enet_segmenter* one = nullptr;
        const e2enet_status status = e2enet_segmenter_create(loaded, c_options, &one);
        e2enet_segmenter_free(one);
        expect(status);
      },
      [] { return true; });
  e2enet_text* text = nullptr;
  const int patch[3] = {4, 8, 8};
  expect(e2enet_model_json(loaded, c_options, patch, &text));
  // Up to what the process takes, which differs from one moment to the next.
  const std::string expected_text = e2enet_text_string(text);
  const std::size_t alike = expected_text.find("\"planned_peak_bytes\"");
  REQUIRE(alike < expected_text.size());
  e2enet_text_free(text);
  fail_each_allocation_of(
      "e2enet_model_json",
      [&] {
        e2enet_text* one = nullptr;
        const e2enet_status status = e2enet_model_json(loaded, c_options, patch, &one);
        same = one && std::strncmp(expected_text.c_str(), e2enet_text_string(one), alike) == 0 &&
               std::strchr(e2enet_text_string(one), '\0')[-1] == '}';
        e2enet_text_free(one);
        expect(status);
      },
      [&] { return same; });
  e2enet_segmenter* made = nullptr;
  expect(e2enet_segmenter_create(loaded, c_options, &made));
  e2enet_options_free(c_options);
  const e2enet::Geometry& geometry = image.view.geometry;
  const void* const channels[2] = {image.view.channels[0], image.view.channels[1]};
  const int types[2] = {E2ENET_FLOAT32, E2ENET_FLOAT32};
  const auto make_image = [&](e2enet_image** place) {
    return e2enet_image_from_arrays(geometry.shape.data(), geometry.spacing.data(), geometry.affine.data(), channels,
                                    types, nullptr, 2, nullptr, place);
  };
  fail_each_allocation_of(
      "e2enet_image_from_arrays",
      [&] {
        e2enet_image* one = nullptr;
        const e2enet_status status = make_image(&one);
        e2enet_image_free(one);
        expect(status);
      },
      [] { return true; });
  e2enet_image* c_image = nullptr;
  expect(make_image(&c_image));
  std::vector<std::uint16_t> labels(image.voxels());
  e2enet_request* c_request = nullptr;
  expect(e2enet_request_create(&c_request));
  expect(e2enet_request_set_labels(c_request, labels.data(), labels.size()));
  expect(e2enet_request_set_probabilities(c_request, probabilities.data(), probabilities.size()));
  const e2enet_progress go_on = [](void*, int, std::int64_t, std::int64_t, double) { return 1; };
  expect(e2enet_request_set_progress(c_request, go_on, nullptr));
  fail_each_allocation_of(
      "e2enet_segment",
      [&] {
        e2enet_segmentation* one = nullptr;
        const e2enet_status status = e2enet_segment(made, c_image, c_request, &one);
        const bool as_promised = (status == E2ENET_OK) == (one != nullptr);
        e2enet_segmentation_free(one);
        expect(as_promised ? status : E2ENET_INTERNAL);
      },
      [&] { return labels == expected.labels && probabilities == expected.probabilities; });
  e2enet_segmentation* found = nullptr;
  expect(e2enet_segment(made, c_image, c_request, &found));
  fail_each_allocation_of(
      "e2enet_segmentation_json",
      [&] {
        e2enet_text* one = nullptr;
        const e2enet_status status = e2enet_segmentation_json(found, &one);
        e2enet_text_free(one);
        expect(status);
      },
      [] { return true; });
  e2enet_segmentation_free(found);
  e2enet_request_free(c_request);
  e2enet_image_free(c_image);
  e2enet_segmenter_free(made);
  e2enet_model_free(loaded);
#endif
}
