#include "base/parallel.h"

#ifdef E2ENET_WITH_OPENMP
#include <omp.h>
#endif
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/control_groups.h"
#include "base/platform/processor.h"
#include "e2enet/error.h"

namespace e2enet {
namespace {

// Where threads sleep. One for the whole process: waiting this long is rare, and who is woken for nothing sleeps again.
struct Bedroom {
  std::mutex mutex;
  std::condition_variable door;
  std::atomic<int> sleepers{0};
};

Bedroom& bedroom() {
  // Never destroyed, since threads of other statics may still sleep in it; and no memory is asked for, since a helper
  // that got none would have nobody to tell.
  alignas(Bedroom) static unsigned char place[sizeof(Bedroom)];
  static Bedroom* const room = new (place) Bedroom;
  return *room;
}

// Longer than a wake-up takes, a wait is better slept through.
constexpr std::chrono::microseconds kSpin{40};

template <typename Condition>
void wait_until(bool spin, const Condition& condition) {
  if (spin) {
    const auto end = std::chrono::steady_clock::now() + kSpin;
    do {
      for (int i = 0; i < 16; ++i) {
        if (condition()) return;
        platform::pause();
      }
    } while (std::chrono::steady_clock::now() < end);
  }
  Bedroom& room = bedroom();
  std::unique_lock<std::mutex> lock(room.mutex);
  room.sleepers.fetch_add(1);
  room.door.wait(lock, condition);
  room.sleepers.fetch_sub(1);
}

std::uint64_t wait_for_change(const std::atomic<std::uint64_t>& value, std::uint64_t old, bool spin) {
  wait_until(spin, [&] { return value.load() != old; });
  return value.load();
}

void change(std::atomic<std::uint64_t>& value, std::uint64_t to) {
  value.store(to);
  wake_sleepers();
}

// Whether this thread works in a team already.
bool& in_team() {
  thread_local bool inside = false;
  return inside;
}

// What this thread's teams run on, if not on helpers of its own.
const ThreadsOfCaller::ParallelFor*& threads_of_caller() {
  thread_local const ThreadsOfCaller::ParallelFor* parallel_for = nullptr;
  return parallel_for;
}

constexpr std::uint64_t kArrived = 0xFFFFFFFF;
constexpr std::uint64_t kOneLeft = std::uint64_t{1} << 32;

bool everybody(std::uint64_t present, int threads) {
  return (present & kArrived) + (present >> 32) == std::uint64_t(threads);
}

// Threads of all teams that run now. Where they are more than there are cores, each that spins takes the time of one
// that works, so all sleep at once.
std::atomic<int>& running() {
  static std::atomic<int> threads{0};
  return threads;
}

bool may_spin() {
  static const int available = available_threads();
  return running().load(std::memory_order_relaxed) <= available;
}

// A team's threads count as running.
class Running {
 public:
  explicit Running(int threads) : threads_(threads) { running() += threads; }
  ~Running() { running() -= threads_; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  const int threads_;
};

}  // namespace

// A sleeper counts itself before it looks at the value for the last time, so either it sees the change or this sees the
// sleeper.
void wake_sleepers() {
  Bedroom& room = bedroom();
  if (room.sleepers.load() == 0) return;
  { const std::lock_guard<std::mutex> lock(room.mutex); }
  room.door.notify_all();
}

int threads_within(int processors, double quota) {
  return std::max(1, quota < processors ? int(std::ceil(quota)) : processors);
}

int available_threads() {
  static const double quota = processors_in_control_groups("/proc/self/cgroup", "/sys/fs/cgroup");
  int processors = int(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) processors = CPU_COUNT(&set);
#endif
  return threads_within(processors, quota);
}

int usable_threads(int wanted) {
  if (wanted < 0 || wanted > kMostThreads) {
    throw Error(ErrorCode::invalid_argument,
                "threads: expected 0 to " + std::to_string(kMostThreads) + ", found " + std::to_string(wanted));
  }
  const int available = available_threads();
  return wanted == 0 ? available : std::min(wanted, available);
}

void Team::meet() {
  const std::uint64_t meeting = meetings_.load(std::memory_order_acquire);
  const std::uint64_t present = present_.fetch_add(1, std::memory_order_acq_rel) + 1;
  if (everybody(present, threads_)) {
    end_meeting(meeting, present);
  } else {
    wait_for_change(meetings_, meeting, may_spin());
  }
}

// Nobody else comes or leaves meanwhile: all are counted.
void Team::end_meeting(std::uint64_t meeting, std::uint64_t present) {
  for (int share = 0; share < shares_; ++share) taken_[share].count.store(0, std::memory_order_relaxed);
  present_.store(present & ~kArrived, std::memory_order_relaxed);
  change(meetings_, meeting + 1);
}

void Team::leave() {
  const std::uint64_t meeting = meetings_.load(std::memory_order_acquire);
  const std::uint64_t present = present_.fetch_add(kOneLeft, std::memory_order_acq_rel) + kOneLeft;
  if ((present & kArrived) != 0 && everybody(present, threads_)) end_meeting(meeting, present);
}

void Team::fail(std::exception_ptr problem) {
  if (failing_.exchange(true)) return;
  problem_ = std::move(problem);
  failed_.store(true);
  wake_sleepers();  // who waits for its turn
}

void Worker::await(bool (*condition)(const void*), const void* context) const {
  wait_until(may_spin(), [&] { return condition(context) || team_.failed(); });
  if (team_.failed()) throw TeamFailed();
}

void Turns::await(std::uint64_t number, const Worker& whole) const {
  if (passed_.load(std::memory_order_acquire) >= number) return;
  whole.await([&] { return passed_.load() >= number; });
}

void Turns::pass() {
  passed_.fetch_add(1);
  wake_sleepers();
}

// The helpers of one thread.
class ThreadPool {
 public:
  ~ThreadPool() {
    change(call_, kStop);
    for (std::thread& helper : helpers_) helper.join();
  }

  void run(int threads, void (*function)(void*, const Worker&), void* context) {
    const Running counted(threads);
    Team team(threads);
    grow(threads - 1);
    team_ = &team;
    function_ = function;
    context_ = context;
    // The number of the call and the team's size in one value: a helper that is not in the team must look at nothing
    // else, since the caller does not wait for it.
    calls_ += 1;
    change(call_, calls_ << 16 | std::uint64_t(threads));
    in_team() = true;
    serve_in(team, 0);
    in_team() = false;
    wait_for_others(team);
    if (team.failed()) std::rethrow_exception(std::move(team.problem_));
  }

 private:
  static constexpr std::uint64_t kStop = ~std::uint64_t{0};

  void serve_in(Team& team, int thread) {
    try {
      function_(context_, Worker(team, thread));
    } catch (const TeamFailed&) {
      // Another has thrown, and its exception is kept.
    } catch (...) {
      team.fail(std::current_exception());
    }
    team.leave();
  }

  // The last meeting of a call. The team lives on the caller's stack, so helpers may not touch it once the caller has
  // gone: they count themselves out and the caller waits for the count.
  void wait_for_others(Team& team) {
    const std::uint64_t others = std::uint64_t(team.threads() - 1);
    std::uint64_t gone = gone_.load(std::memory_order_acquire);
    while (gone != others) gone = wait_for_change(gone_, gone, may_spin());
    gone_.store(0, std::memory_order_relaxed);
  }

  void grow(int helpers) {
    while (int(helpers_.size()) < helpers) {
      const int thread = int(helpers_.size()) + 1;
      const std::uint64_t seen = call_.load();
      try {
        helpers_.emplace_back([this, thread, seen] { serve(thread, seen); });
      } catch (const std::system_error& problem) {
        throw Error(ErrorCode::out_of_memory,
                    "thread " + std::to_string(thread + 1) + " cannot be started: " + std::string(problem.what()));
      }
    }
  }

  void serve(int thread, std::uint64_t seen) {
    in_team() = true;
    bool spin = may_spin();
    while (true) {
      seen = wait_for_change(call_, seen, spin);
      if (seen == kStop) return;
      const int threads = int(seen & 0xFFFF);
      spin = thread < threads && may_spin();
      if (thread >= threads) continue;
      serve_in(*team_, thread);
      // Only one of several helpers' counts may be the caller's last, and each count is a change that it can wait for.
      gone_.fetch_add(1);
      wake_sleepers();
    }
  }

  std::vector<std::thread> helpers_;
  std::uint64_t calls_ = 0;
  alignas(64) std::atomic<std::uint64_t> call_{0};
  alignas(64) std::atomic<std::uint64_t> gone_{0};
  Team* team_ = nullptr;
  void (*function_)(void*, const Worker&) = nullptr;
  void* context_ = nullptr;
};

ThreadsOfCaller::ThreadsOfCaller(const ParallelFor& parallel_for) : before_(threads_of_caller()) {
  if (parallel_for) threads_of_caller() = &parallel_for;
}

ThreadsOfCaller::~ThreadsOfCaller() { threads_of_caller() = before_; }

void run_on_threads_of_caller(const ThreadsOfCaller::ParallelFor& parallel_for, int threads,
                              void (*function)(void*, const Worker&), void* context) {
  struct Call {
    Team team;
    void (*function)(void*, const Worker&);
    void* context;
    std::atomic<int> begun{0};
  } call{Team(threads), function, context, {}};
  const Running counted(threads);
  parallel_for(threads, [&call](int thread) {
    call.begun.fetch_add(1);
    const bool inside = std::exchange(in_team(), true);
    try {
      call.function(call.context, Worker(call.team, thread));
    } catch (const TeamFailed&) {
      // Another has thrown, and its exception is kept.
    } catch (...) {
      call.team.fail(std::current_exception());
    }
    call.team.leave();
    in_team() = inside;
  });
  if (call.begun.load() != threads) {
    throw Error(ErrorCode::invalid_argument, "parallel_for: expected " + std::to_string(threads) +
                                                 " calls of the body, found " + std::to_string(call.begun.load()));
  }
  if (call.team.failed()) std::rethrow_exception(std::move(call.team.problem_));
}

#ifdef E2ENET_WITH_OPENMP
// OpenMP makes the team, or a smaller one where it has fewer threads to give; its members meet as those of any other.
void run_on_openmp(int threads, void (*function)(void*, const Worker&), void* context) {
  std::optional<Team> team;
  std::optional<Running> counted;
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    {
      team.emplace(omp_get_num_threads());
      counted.emplace(team->threads());
    }
    const bool inside = std::exchange(in_team(), true);
    try {
      function(context, Worker(*team, omp_get_thread_num()));
    } catch (const TeamFailed&) {
      // Another has thrown, and its exception is kept.
    } catch (...) {
      team->fail(std::current_exception());
    }
    team->leave();
    in_team() = inside;
  }
  if (team->failed()) std::rethrow_exception(std::move(team->problem_));
}
#endif

void run_on_team(int threads, void (*function)(void* context, const Worker& worker), void* context) {
  if (threads <= 1 || in_team()) {
    Team alone(1);
    function(context, Worker(alone, 0));
    return;
  }
  if (threads_of_caller()) {
    run_on_threads_of_caller(*threads_of_caller(), threads, function, context);
    return;
  }
#ifdef E2ENET_WITH_OPENMP
  run_on_openmp(threads, function, context);
#else
  thread_local ThreadPool pool;
  pool.run(threads, function, context);
#endif
}

}  // namespace e2enet
