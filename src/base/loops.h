// Loops that a team runs in a fixed order without a meeting after each. A thread goes on to the next loop as soon as
// the one before has no iteration left to take, and waits only for what the next one reads or overwrites: so a thread
// whose core another program has, or the seventh of seven equal iterations, holds nobody up who has other work.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/parallel.h"

namespace e2enet {

// How far a team has come in its loops. One team at a time.
class LoopProgress {
 public:
  // counts: of each loop's iterations. Loops of `by_iteration` can be awaited in part. At most so many threads run
  // them.
  LoopProgress(std::vector<int> counts, const std::vector<bool>& by_iteration, int threads);

  int loops() const { return int(counts_.size()); }

  // To be called by every member before its first loop.
  void restart(const Worker& worker);

  // Returns when all iterations of the loop are done, or those from `begin` to before `end`. Throws TeamFailed.
  void await(const Worker& worker, int loop) const;
  void await(const Worker& worker, int loop, int begin, int end) const;

  // Runs the loops from the first to before `end`, in their order; to be called by every member with the same end, once
  // after restart(), and `end` is reached when it has returned in all. ready(loop, iteration, first) is to await() what
  // the iteration needs, all of it in loops before; `first` if it is this thread's first of the loop. Who runs what is
  // left to chance, as in Worker::for_each().
  template <typename Ready, typename Run>
  void run(const Worker& worker, int end, const Ready& ready, const Run& run) {
    for (int loop = 0; loop < end; ++loop) {
      bool first = true;
      worker.in_shares(
          counts_[std::size_t(loop)], shares_, [&](int share) { return take(loop, share); },
          [&](std::int64_t i, int share) {
            const int iteration = int(i);
            ready(loop, iteration, first);
            first = false;
            run(loop, iteration);
            finish(loop, share, iteration);
          });
    }
  }

 private:
  // A number for each loop, on cache lines that hold no other share's: most iterations of a share are run by one
  // thread, and what it alone writes stays in its own core's cache.
  class CountsOfShares {
   public:
    CountsOfShares(int shares, std::size_t loops)
        : lines_((loops + kCounts - 1) / kCounts), all_(std::make_unique<Line[]>(std::size_t(shares) * lines_)) {}
    std::atomic<int>& of(int share, std::size_t loop) {
      return all_[std::size_t(share) * lines_ + loop / kCounts].counts[loop % kCounts];
    }

   private:
    static constexpr std::size_t kCounts = kCacheLineBytes / sizeof(std::atomic<int>);
    struct alignas(kCacheLineBytes) Line {
      std::atomic<int> counts[kCounts];
    };
    std::size_t lines_;  // of a share
    std::unique_ptr<Line[]> all_;
  };

  int take(int loop, int share) {
    std::atomic<int>& taken = taken_.of(share, std::size_t(loop));
    // Looked at first: who comes late to a loop that is through writes nothing.
    const int before = taken.load(std::memory_order_relaxed);
    return before < counts_[std::size_t(loop)] ? taken.fetch_add(1, std::memory_order_relaxed) : before;
  }
  void finish(int loop, int share, int iteration);
  // Of a loop's shares, how many have iterations.
  int shares_with_iterations(int loop) const {
    const int count = counts_[std::size_t(loop)];
    return count < shares_ ? count : shares_;
  }

  const std::vector<int> counts_;
  const int threads_;
  int shares_ = 1;                                       // of a loop, one a thread
  CountsOfShares taken_;                                 // iterations
  CountsOfShares finished_;                              // iterations
  std::unique_ptr<std::atomic<int>[]> finished_shares_;  // of each loop, of those with iterations
  std::vector<int> first_mark_;                          // of each loop, -1 where no iteration is marked
  int marks_ = 0;
  std::unique_ptr<std::atomic<bool>[]> marked_;  // iterations that are done
};

}  // namespace e2enet
