#include "base/loops.h"

#include <algorithm>
#include <utility>

namespace e2enet {

LoopProgress::LoopProgress(std::vector<int> counts, const std::vector<bool>& by_iteration, int threads)
    : counts_(std::move(counts)),
      threads_(std::max(1, threads)),
      taken_(threads_, counts_.size()),
      finished_(threads_, counts_.size()) {
  first_mark_.assign(counts_.size(), -1);
  for (std::size_t loop = 0; loop < counts_.size(); ++loop) {
    if (!by_iteration[loop]) continue;
    first_mark_[loop] = marks_;
    marks_ += counts_[loop];
  }
  finished_shares_ = std::make_unique<std::atomic<int>[]>(counts_.size());
  marked_ = std::make_unique<std::atomic<bool>[]>(std::size_t(marks_));
}

void LoopProgress::restart(const Worker& worker) {
  const int shares = std::min(worker.threads(), threads_);
  // Each thread its own, which no other has in its cache.
  if (const int share = worker.thread(); share < shares) {
    for (std::size_t loop = 0; loop < counts_.size(); ++loop) {
      taken_.of(share, loop).store(0, std::memory_order_relaxed);
      finished_.of(share, loop).store(0, std::memory_order_relaxed);
    }
  }
  if (worker.thread() == 0) {
    shares_ = shares;
    for (std::size_t loop = 0; loop < counts_.size(); ++loop)
      finished_shares_[loop].store(0, std::memory_order_relaxed);
    for (int i = 0; i < marks_; ++i) marked_[std::size_t(i)].store(false, std::memory_order_relaxed);
  }
  worker.meet();
}

void LoopProgress::finish(int loop, int share, int iteration) {
  const int mark = first_mark_[std::size_t(loop)];
  if (mark >= 0) marked_[std::size_t(mark + iteration)].store(true);
  const std::int64_t length = share_of(counts_[std::size_t(loop)], share, shares_).length();
  const bool ends_share = finished_.of(share, std::size_t(loop)).fetch_add(1) + 1 == length;
  const bool ends_loop =
      ends_share && finished_shares_[std::size_t(loop)].fetch_add(1) + 1 == shares_with_iterations(loop);
  if (mark >= 0 || ends_loop) wake_sleepers();
}

void LoopProgress::await(const Worker& worker, int loop) const {
  const std::atomic<int>& finished = finished_shares_[std::size_t(loop)];
  const int shares = shares_with_iterations(loop);
  if (finished.load(std::memory_order_acquire) == shares) return;
  worker.await([&] { return finished.load() == shares; });
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
