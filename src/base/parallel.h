// Threads for the engine and the imaging steps. All of the project's own parallelism goes through here, but for the one
// thread that reads ahead of the others (image/formats/read_ahead.h), which works beside them, not with them.
//
// Why not OpenMP's: within a network threads wait for each other thousands of times a second (loops.h), and
// libgomp's wait either spins for milliseconds, which on a machine that does other work takes the time from the very
// thread that is waited for (36 times slower beside two compilers), or sleeps at once. Here a thread spins for some
// microseconds and then sleeps, and no environment variable must be set for it. OpenMP can make the teams all the same
// (E2ENET_WITH_OPENMP), with the meetings here inside: docs/performance.md says what that costs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>

#include "e2enet/machine.h"

namespace e2enet {

// available_threads(), of this many processors under this quota: a part of a processor counts as one, and at least one
// there is.
int threads_within(int processors, double quota);

// What different threads write is kept so far apart, so that no core takes another's line with every write.
constexpr std::size_t kCacheLineBytes = 64;

class Worker;

// The part of a loop's iterations that one of the shares has.
struct Share {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t length() const { return end - begin; }
};
inline Share share_of(std::int64_t count, int share, int shares) {
  return {count * share / shares, count * (share + 1) / shares};
}

// The threads that run one function, and where they meet.
class Team {
 public:
  explicit Team(int threads) : threads_(threads), shares_(threads < kMostShares ? threads : kMostShares) {}
  int threads() const { return threads_; }

  // A loop's iterations are cut into equal shares, one a thread.
  int shares() const { return shares_; }
  // The number of iterations of a share that were taken before.
  std::int64_t take(int share) { return taken_[share].count.fetch_add(1, std::memory_order_relaxed); }
  // Returns when all threads of the team have called it, but for those that have left. take() begins at 0 again.
  void meet();

  // A thread whose function has returned or thrown: nobody waits for it at a meeting any more.
  void leave();
  // Keeps the exception for the caller of run_team(), if it is the first.
  void fail(std::exception_ptr problem);
  bool failed() const { return failed_.load(); }

 private:
  friend class ThreadPool;
  friend void run_on_openmp(int threads, void (*function)(void*, const Worker&), void* context);
  friend void run_on_threads_of_caller(const std::function<void(int, const std::function<void(int)>&)>&, int,
                                       void (*)(void*, const Worker&), void*);

  static constexpr int kMostShares = 32;
  struct alignas(kCacheLineBytes) Taken {
    std::atomic<std::int64_t> count{0};
  };

  const int threads_;
  const int shares_;
  Taken taken_[kMostShares];
  void end_meeting(std::uint64_t meeting, std::uint64_t present);

  // Threads that have arrived at the next meeting, and in the upper half those that have left.
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> present_{0};
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> meetings_{0};
  std::atomic<bool> failing_{false};
  std::atomic<bool> failed_{false};
  std::exception_ptr problem_;
};

// Thrown by for_each() in the members of a team in which another has thrown, to end their functions. Not to be caught.
struct TeamFailed {};

// One member of a team of threads that runs the same function. for_each() shares its iterations among the team.
class Worker {
 public:
  Worker(Team& team, int thread) : team_(team), thread_(thread) {}
  int thread() const { return thread_; }
  int threads() const { return team_.threads(); }
  // Whether a member of the team has thrown, so that its work is in vain.
  bool failed() const { return team_.failed(); }
  // Returns when all workers of the team have called it. Throws TeamFailed.
  void meet() const {
    team_.meet();
    if (team_.failed()) throw TeamFailed();
  }
  // Returns when the condition holds, which whoever makes it so tells by wake_sleepers(). Throws TeamFailed.
  template <typename Condition>
  void await(const Condition& condition) const {
    await([](const void* context) { return (*static_cast<const Condition*>(context))(); }, &condition);
  }

  // Every worker of the team must call this with the same count; it returns when all iterations are done. A worker runs
  // its own share, consecutive iterations, and then what is left of the others': where loop after loop runs over the
  // same memory, most of it stays in the cache of one core. Who runs what in the end is left to chance, so a result
  // must not depend on it.
  template <typename Function>
  void for_each(std::int64_t count, const Function& function) const {
    if (count <= 0) return;
    in_shares(
        count, team_.shares(), [&](int share) { return team_.take(share); }, [&](std::int64_t i, int) { function(i); });
    meet();
  }

  // What for_each() does before the meeting, with shares of the caller's: take(share) is the number of iterations of a
  // share that were taken before. function(iteration, share).
  template <typename Take, typename Function>
  void in_shares(std::int64_t count, int shares, const Take& take, const Function& function) const {
    for (int k = 0; k < shares; ++k) {
      const int share = (thread_ + k) % shares;
      const Share part = share_of(count, share, shares);
      for (std::int64_t i = take(share); i < part.length(); i = take(share)) {
        if (team_.failed()) throw TeamFailed();
        function(part.begin + i, share);
      }
    }
  }

 private:
  void await(bool (*condition)(const void* context), const void* context) const;

  Team& team_;
  int thread_;
};

// To be called after what a thread may be awaiting has come true, all of it by sequentially consistent operations.
void wake_sleepers();

// A part of a team's members as a team of their own: each of them calls this with the part's team and its number
// therein. What `function` throws in one ends the others of the part, and comes out of this call for the whole team.
template <typename Function>
void run_part(Team& part, int thread, const Function& function) {
  try {
    function(Worker(part, thread));
  } catch (...) {
    // Also where it was another part that failed: who stays here must not go on without those that end.
    part.fail(std::current_exception());
    part.leave();
    throw;
  }
  part.leave();
}

// Lets members of a team, or parts of it, pass one after the other in the order of their numbers, from 0.
class Turns {
 public:
  // Returns when all with a lower number have passed. Throws TeamFailed when a member of `whole` has thrown.
  void await(std::uint64_t number, const Worker& whole) const;
  void pass();
  std::uint64_t passed() const { return passed_.load(std::memory_order_acquire); }

 private:
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> passed_{0};
};

// Calls function(context, worker) on `threads` threads, of which the caller is the first, and returns when all have
// returned; a team that is started by a member of another has one thread. The other threads belong to the calling
// thread, sleep until it comes again, and end with it. Throws Error (out_of_memory) where the system gives no thread,
// and what `function` throws: the first exception of any of the threads, after all have ended. The others end at their
// next iteration or meeting.
void run_on_team(int threads, void (*function)(void* context, const Worker& worker), void* context);

// The caller's own threads instead: while one of these lives, teams that its thread starts run on what it was given
// (e2enet::ParallelFor of segmenter.h, which must outlive it; an empty one changes nothing).
class ThreadsOfCaller {
 public:
  using ParallelFor = std::function<void(int threads, const std::function<void(int thread)>& body)>;
  explicit ThreadsOfCaller(const ParallelFor& parallel_for);
  ~ThreadsOfCaller();
  ThreadsOfCaller(const ThreadsOfCaller&) = delete;
  ThreadsOfCaller& operator=(const ThreadsOfCaller&) = delete;

 private:
  const ParallelFor* const before_;
};

// Runs function(worker) on `threads` threads at once.
template <typename Function>
void run_team(int threads, const Function& function) {
  run_on_team(
      threads, [](void* context, const Worker& worker) { (*static_cast<const Function*>(context))(worker); },
      const_cast<void*>(static_cast<const void*>(&function)));
}

}  // namespace e2enet
