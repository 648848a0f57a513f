#include <doctest/doctest.h>

#include <sched.h>
#include <functional>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/parallel.h"
#include "base/process_memory.h"
#include "e2enet/error.h"

namespace {

using e2enet::Worker;

}  // namespace

TEST_CASE("every iteration of every loop runs once, and loops wait for each other") {
  for (const int threads : {1, 2, 3, 4, 7}) {
    CAPTURE(threads);
    constexpr int kLoops = 200;
    std::vector<int> values(97, 0);
    std::atomic<int> wrong{0};
    e2enet::run_team(threads, [&](const Worker& worker) {
      for (int loop = 0; loop < kLoops; ++loop) {
        // A loop that began before the one before it ended would find another number.
        worker.for_each(std::int64_t(values.size()),
                        [&](std::int64_t i) { wrong += values[std::size_t(i)]++ != loop; });
        worker.for_each(0, [&](std::int64_t) { ++wrong; });
      }
    });
    CHECK(wrong == 0);
    CHECK(std::accumulate(values.begin(), values.end(), 0) == kLoops * 97);
  }
}

TEST_CASE("teams of any size follow each other") {
  std::atomic<std::int64_t> sum{0};
  for (int round = 0; round < 2000; ++round) {
    const int threads = 1 + round % 5;
    std::atomic<int> members{0};
    e2enet::run_team(threads, [&](const Worker& worker) {
      members += 1;
      sum += worker.thread();
    });
    REQUIRE(members == threads);
  }
  CHECK(sum == 400 * (0 + 1 + 3 + 6 + 10));
}

TEST_CASE("several threads have teams at the same time, and a team's function may run another") {
  std::atomic<int> runs{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        e2enet::run_team(3, [&](const Worker& worker) {
          worker.for_each(10, [&](std::int64_t) { ++runs; });
          if (round == 7) {
            e2enet::run_team(2, [&](const Worker& inner) {
              inner.for_each(5, [&](std::int64_t) { ++runs; });
              runs += inner.thread();  // nobody but thread 0
            });
          }
        });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(runs == 4 * (50 * 10 + 3 * 5));
}

TEST_CASE("a loop whose threads sleep still ends") {
  std::atomic<int> runs{0};
  e2enet::run_team(2, [&](const Worker& worker) {
    for (int loop = 0; loop < 20; ++loop) {
      worker.for_each(2, [&](std::int64_t i) {
        if (i == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // longer than anybody spins
        ++runs;
      });
    }
  });
  CHECK(runs == 40);
}

TEST_CASE("a team can run on the caller's own threads, and every one of them takes part") {
  int calls = 0;
  const e2enet::ThreadsOfCaller::ParallelFor own = [&](int threads, const std::function<void(int)>& body) {
    ++calls;
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; ++thread) others.emplace_back(body, thread);
    body(0);
    for (std::thread& other : others) other.join();
  };
  std::atomic<int> runs{0};
  const auto work = [&](const Worker& worker) {
    for (int loop = 0; loop < 5; ++loop) worker.for_each(7, [&](std::int64_t) { ++runs; });
  };
  {
    const e2enet::ThreadsOfCaller of_caller(own);
    e2enet::run_team(3, work);
    CHECK(calls == 1);
    CHECK(runs == 35);
    // What a member throws comes out at the caller, as from the library's own threads.
    CHECK_THROWS_AS(e2enet::run_team(3,
                                     [&](const Worker& worker) {
                                       worker.for_each(9, [&](std::int64_t i) {
                                         if (i == 4) throw std::domain_error("of a member");
                                       });
                                     }),
                    std::domain_error);
    CHECK(calls == 2);
    const e2enet::ThreadsOfCaller::ParallelFor none;
    const e2enet::ThreadsOfCaller unchanged(none);
    e2enet::run_team(2, work);
    CHECK(calls == 3);
  }
  e2enet::run_team(2, work);
  CHECK(calls == 3);
}

TEST_CASE("threads of the caller that do not call every body are found out") {
  const e2enet::ThreadsOfCaller::ParallelFor lazy = [](int, const std::function<void(int)>&) {};
  const e2enet::ThreadsOfCaller of_caller(lazy);
  CHECK_THROWS_AS(e2enet::run_team(2, [](const Worker&) {}), e2enet::Error);
}

TEST_CASE("more threads than this process may use are not started, and no number that makes no sense") {
  const int available = e2enet::available_threads();
  CHECK(e2enet::usable_threads(0) == available);
  CHECK(e2enet::usable_threads(1) == 1);
  CHECK(e2enet::usable_threads(available) == available);
  CHECK(e2enet::usable_threads(e2enet::kMostThreads) == std::min(available, e2enet::kMostThreads));
  CHECK_THROWS_AS(e2enet::usable_threads(-1), e2enet::Error);
  CHECK_THROWS_AS(e2enet::usable_threads(e2enet::kMostThreads + 1), e2enet::Error);
}

TEST_CASE("the affinity of this process counts") {
  cpu_set_t before;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  const int available = e2enet::available_threads();
  const int wanted = e2enet::usable_threads(8);
  REQUIRE(sched_setaffinity(0, sizeof before, &before) == 0);
  CHECK(available == 1);
  CHECK(wanted == 1);
}

TEST_CASE("a team far larger than the machine sleeps and wakes, and ends") {
  std::atomic<int> runs{0};
  e2enet::run_team(64, [&](const Worker& worker) {
    for (int loop = 0; loop < 20; ++loop) worker.for_each(64, [&](std::int64_t) { ++runs; });
  });
  CHECK(runs == 64 * 20);
}

TEST_CASE("the process knows its memory") {
  const std::int64_t before = e2enet::resident_bytes();
  CHECK(before > 100000);
  constexpr std::size_t kBytes = 64 << 20;
  {
    std::vector<char> block(kBytes, 1);
    CHECK(e2enet::resident_bytes() > before + std::int64_t(kBytes) / 2);
    CHECK(block[kBytes / 2] == 1);
  }
  CHECK(e2enet::peak_resident_bytes() >= before + std::int64_t(kBytes) / 2);
  CHECK(e2enet::available_bytes() > 0);
}

TEST_CASE("an exception of any member reaches the caller, and the team works afterwards") {
  struct Problem {
    int thread;
  };
  for (const int threads : {1, 2, 3, 7}) {
    for (int thrower = 0; thrower < threads; ++thrower) {
      for (const int when : {0, 1, 2, 3}) {
        CAPTURE(threads);
        CAPTURE(thrower);
        CAPTURE(when);
        for (int round = 0; round < 10; ++round) {
          std::atomic<int> after{0};
          const auto call = [&] {
            e2enet::run_team(threads, [&](const Worker& worker) {
              const auto problem = [&](int now) {
                if (now == when && worker.thread() == thrower) throw Problem{thrower};
              };
              problem(0);
              worker.for_each(50, [](std::int64_t) {});
              problem(1);
              worker.for_each(20, [](std::int64_t) {});
              problem(2);
              worker.for_each(50, [](std::int64_t) {});
              ++after;
              problem(3);
            });
          };
          int caught = -1;
          try {
            call();
          } catch (const Problem& problem) {
            caught = problem.thread;
          }
          CHECK(caught == thrower);
          if (when < 3) CHECK(after == 0);

          std::atomic<int> runs{0};
          e2enet::run_team(threads, [&](const Worker& worker) {
            for (int loop = 0; loop < 3; ++loop) worker.for_each(31, [&](std::int64_t) { ++runs; });
          });
          CHECK(runs == 3 * 31);
        }
      }
    }
  }
}

TEST_CASE("an exception in an iteration ends the loops of all, whoever runs it and however many throw") {
  for (const int threads : {1, 2, 3, 7}) {
    for (const int throwers : {1, 5, 100}) {
      CAPTURE(threads);
      CAPTURE(throwers);
      for (int round = 0; round < 20; ++round) {
        std::atomic<int> later{0};
        CHECK_THROWS_WITH_AS(e2enet::run_team(threads,
                                              [&](const Worker& worker) {
                                                worker.for_each(100, [&](std::int64_t i) {
                                                  if (i >= 100 - throwers) throw std::runtime_error("iteration");
                                                });
                                                worker.for_each(100, [&](std::int64_t) { ++later; });
                                              }),
                             "iteration", std::runtime_error);
        CHECK(later == 0);
      }
    }
  }
}
