// Slices in, labels out, neither ever a whole volume in memory: with a limit for the process's memory, on the caller's
// own threads, with progress and a way to stop. What a viewer or a scanner's software does around the library.
//
//   stream_slices MODEL.safetensors VOXELS.raw D H W LABELS.raw LIMIT_MIB
//
// VOXELS.raw holds D * H * W int16 values, W fastest, 1 mm apart; LABELS.raw receives one uint16 a voxel. Slices are
// read with fseek, as they might come from a database.
#include <e2enet/e2enet.h>

#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

// The application's own threads, which wait for work of any kind. The library asks for all of them at once.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int thread = 1; thread < threads; ++thread) threads_.emplace_back([this, thread] { serve(thread); });
  }
  ~Pool() {
    run(0, {});
    for (std::thread& thread : threads_) thread.join();
  }

  // Calls body(0) to body(threads - 1) at the same time; no `body`: the threads end.
  void run(int threads, const std::function<void(int)>& body) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      body_ = body;
      wanted_ = threads;
      busy_ = threads > 1 ? threads - 1 : 0;
      ++call_;
    }
    work_.notify_all();
    if (!body) return;
    body(0);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void serve(int thread) {
    for (std::uint64_t seen = 0;;) {
      std::function<void(int)> body;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        work_.wait(lock, [&] { return call_ != seen; });
        seen = call_;
        if (!body_) return;
        if (thread >= wanted_) continue;
        body = body_;
      }
      body(thread);
      const std::lock_guard<std::mutex> lock(mutex_);
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::function<void(int)> body_;
  int wanted_ = 0;
  int busy_ = 0;
  std::uint64_t call_ = 0;
  std::vector<std::thread> threads_;
};

void segment(char** arguments) {
  const e2enet::Shape shape = {std::atoll(arguments[2]), std::atoll(arguments[3]), std::atoll(arguments[4])};
  const std::int64_t slice_voxels = shape[1] * shape[2];
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> input(std::fopen(arguments[1], "rb"), std::fclose);
  if (!input) throw std::runtime_error(std::string(arguments[1]) + ": cannot be opened");
  std::vector<std::int16_t> stored(static_cast<std::size_t>(slice_voxels));
  const auto read_slices = [&](int, std::int64_t first, std::int64_t count, float* values) {
    for (std::int64_t d = first; d < first + count; ++d) {
      if (std::fseek(input.get(), static_cast<long>(d * slice_voxels * 2), SEEK_SET) != 0 ||
          std::fread(stored.data(), 2, stored.size(), input.get()) != stored.size()) {
        throw std::runtime_error(std::string(arguments[1]) + ": slice " + std::to_string(d) + " cannot be read");
      }
      for (const std::int16_t value : stored) *values++ = value;
    }
  };
  const e2enet::Image image =
      e2enet::Image::from_slices(e2enet::geometry_of(shape, {1, 1, 1}), 1, read_slices, arguments[1]);

  Pool pool(e2enet::available_threads());
  e2enet::Options options;
  options.memory_limit = std::atoll(arguments[6]) << 20;
  options.parallel_for = [&](int threads, const std::function<void(int)>& body) { pool.run(threads, body); };
  e2enet::Segmenter segmenter(e2enet::Model::load(arguments[0]), options);

  e2enet::OutputFile output(arguments[5]);  // appears when it is complete
  e2enet::Request request;
  request.labels = false;  // no volume of labels: they leave slice by slice
  request.on_labels = [&](std::int64_t, std::int64_t slices, const std::uint16_t* labels) {
    output.write(labels, static_cast<std::size_t>(slices * slice_voxels) * sizeof *labels);
  };
  const e2enet::Segmentation result = segmenter.segment(image, request, [](const e2enet::Progress& progress) {
    std::cerr << progress.done << " of " << progress.total << "\n";
    return true;  // false stops within a tile
  });
  output.commit();
  std::cout << result.way << ", " << (result.planned_peak_bytes >> 20) << " MiB planned, "
            << (e2enet::peak_resident_bytes() >> 20) << " MiB used\n";
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 8) {
    std::cerr << "Usage: stream_slices MODEL.safetensors VOXELS.raw D H W LABELS.raw LIMIT_MIB\n";
    return 2;
  }
  segment(arguments + 1);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "stream_slices: error: " << error.what() << "\n";
  return 1;
}
