#include "base/loops.h"

#include <algorithm>
#include <utility>

namespace e2enet {

LoopProgress::LoopProgress(std::vector<int> counts, const std::vector<bool>& by_iteration, int threads)
    : counts_(std::move(counts)), threads_(std::max(1, threads)) {
  first_mark_.assign(counts_.size(), -1);
  for (std::size_t loop = 0; loop < counts_.size(); ++loop) {
    if (!by_iteration[loop]) continue;
    first_mark_[loop] = marks_;
    marks_ += counts_[loop];
  }
  taken_ = std::make_unique<std::atomic<int>[]>(counts_.size() * std::size_t(threads_));
  finished_ = std::make_unique<std::atomic<int>[]>(counts_.size());
  marked_ = std::make_unique<std::atomic<bool>[]>(std::size_t(marks_));
}

void LoopProgress::restart(const Worker& worker) {
  if (worker.thread() == 0) {
    for (std::size_t i = 0; i < counts_.size() * std::size_t(threads_); ++i)
      taken_[i].store(0, std::memory_order_relaxed);
    for (std::size_t i = 0; i < counts_.size(); ++i) finished_[i].store(0, std::memory_order_relaxed);
    for (int i = 0; i < marks_; ++i) marked_[std::size_t(i)].store(false, std::memory_order_relaxed);
  }
  worker.meet();
}

void LoopProgress::finish(int loop, int iteration) {
  const int mark = first_mark_[std::size_t(loop)];
  if (mark >= 0) marked_[std::size_t(mark + iteration)].store(true);
  const bool last = finished_[std::size_t(loop)].fetch_add(1) + 1 == counts_[std::size_t(loop)];
  if (mark >= 0 || last) wake_sleepers();
}

void LoopProgress::await(const Worker& worker, int loop) const {
  const std::atomic<int>& finished = finished_[std::size_t(loop)];
  const int count = counts_[std::size_t(loop)];
  if (finished.load(std::memory_order_acquire) == count) return;
  worker.await([&] { return finished.load() == count; });
}

void LoopProgress::await(const Worker& worker, int loop, int begin, int end) const {
  const int mark = first_mark_[std::size_t(loop)];
  for (int i = begin; i < end; ++i) {
    const std::atomic<bool>& done = marked_[std::size_t(mark + i)];
    if (done.load(std::memory_order_acquire)) continue;
    worker.await([&] { return done.load(); });
  }
}

}  // namespace e2enet
