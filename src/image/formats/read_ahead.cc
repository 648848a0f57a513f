#include "image/formats/read_ahead.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <system_error>

#include "base/checked_size.h"
#include "e2enet/error.h"

namespace e2enet::imaging {

ReadAhead::ReadAhead(SliceSource& source, std::int64_t begin, std::int64_t end)
    : source_(source), begin_(begin), end_(end), next_slice_(begin) {
  if (source.view(begin, begin + 1)) return;
  blocks_ = AlignedBuffer(checked_size("slices that are read ahead", working_bytes(source.shape())),
                          "slices that are read ahead");
  try {
    thread_ = std::thread([this] { fill_blocks(); });
  } catch (const std::system_error& problem) {
    throw Error(ErrorCode::out_of_memory, "the thread that reads cannot be started: " + std::string(problem.what()));
  }
}

ReadAhead::~ReadAhead() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::int64_t ReadAhead::slices_of(std::int64_t block) const {
  return std::min(kBlockSlices, end_ - begin_ - block * kBlockSlices);
}

float* ReadAhead::block_data(std::int64_t block) {
  return reinterpret_cast<float*>(blocks_.data()) + block % kBlocks * kBlockSlices * slice_size();
}

void ReadAhead::fill_blocks() {
  for (std::int64_t block = 0; block * kBlockSlices < end_ - begin_; ++block) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || block - emptied_ < kBlocks; });
      if (stop_) return;
    }
    std::exception_ptr problem;
    try {
      const std::int64_t first = begin_ + block * kBlockSlices;
      source_.read(first, first + slices_of(block), block_data(block));
    } catch (...) {
      problem = std::current_exception();
    }
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      problem_ = problem;
      if (!problem) ++filled_;
    }
    changed_.notify_all();
    if (problem) return;
  }
}

void ReadAhead::read(std::int64_t begin, std::int64_t end, float* out) {
  if (begin < next_slice_ || end > end_) {
    throw Error(ErrorCode::internal, "slices read ahead: expected " + std::to_string(next_slice_) + " to " +
                                         std::to_string(end_) + ", found " + std::to_string(begin) + " to " +
                                         std::to_string(end));
  }
  while (next_slice_ < end) {
    const std::int64_t block = (next_slice_ - begin_) / kBlockSlices;
    const std::int64_t within = next_slice_ - begin_ - block * kBlockSlices;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return filled_ > block || problem_; });
      if (filled_ <= block) std::rethrow_exception(problem_);
    }
    const bool wanted = next_slice_ >= begin;
    const std::int64_t count = std::min(slices_of(block) - within, (wanted ? end : begin) - next_slice_);
    if (wanted) {
      std::memcpy(out, block_data(block) + within * slice_size(),
                  static_cast<std::size_t>(count * slice_size()) * sizeof(float));
      out += count * slice_size();
    }
    next_slice_ += count;
    if (within + count < slices_of(block)) continue;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      emptied_ = block + 1;
    }
    changed_.notify_all();
  }
}

}  // namespace e2enet::imaging
