// Loops that wait for what they name and for nothing else.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/loops.h"

namespace {

using e2enet::LoopProgress;
using e2enet::Worker;

// All loops on a new team. ready(worker, loop, iteration, first) and run(loop, iteration) are LoopProgress::run()'s.
template <typename Ready, typename Run>
void run_all(LoopProgress& progress, int threads, const Ready& ready, const Run& run) {
  e2enet::run_team(threads, [&](const Worker& worker) {
    progress.restart(worker);
    progress.run(
        worker, progress.loops(), [&](int loop, int iteration, bool first) { ready(worker, loop, iteration, first); },
        run);
    worker.meet();
  });
}

}  // namespace

TEST_CASE("every iteration runs once, after all of the loops that its own awaits") {
  const std::vector<int> counts{5, 1, 40, 3, 17, 2, 64};
  const std::vector<std::vector<int>> after{{}, {0}, {0}, {1}, {2, 3}, {}, {4, 5}};
  for (const int threads : {1, 2, 3, 8}) {
    CAPTURE(threads);
    LoopProgress progress(counts, std::vector<bool>(counts.size(), false), threads);
    for (int repetition = 0; repetition < 50; ++repetition) {
      std::vector<std::vector<std::atomic<int>>> runs;
      for (const int count : counts) runs.emplace_back(std::size_t(count));
      std::atomic<int> wrong{0};
      run_all(
          progress, threads,
          [&](const Worker& worker, int loop, int, bool first) {
            if (!first) return;
            for (const int before : after[std::size_t(loop)]) progress.await(worker, before);
          },
          [&](int loop, int iteration) {
            for (const int before : after[std::size_t(loop)]) {
              for (const std::atomic<int>& done : runs[std::size_t(before)]) wrong += done != 1;
            }
            ++runs[std::size_t(loop)][std::size_t(iteration)];
          });
      for (const auto& loop : runs) {
        for (const std::atomic<int>& count : loop) wrong += count != 1;
      }
      REQUIRE(wrong == 0);
    }
  }
}

TEST_CASE("an iteration waits for its neighbours of the loop before, and not for the others") {
  constexpr int kLoops = 60, kCount = 9;
  for (const int threads : {1, 2, 4}) {
    CAPTURE(threads);
    LoopProgress progress(std::vector<int>(kLoops, kCount), std::vector<bool>(kLoops, true), threads);
    std::vector<std::atomic<int>> reached(kCount);
    std::atomic<int> wrong{0};
    run_all(
        progress, threads,
        [&](const Worker& worker, int loop, int i, bool) {
          if (loop > 0) progress.await(worker, loop - 1, std::max(i - 1, 0), std::min(i + 2, kCount));
        },
        [&](int loop, int i) {
          for (int other = std::max(i - 1, 0); other < std::min(i + 2, kCount); ++other) {
            wrong += reached[std::size_t(other)] < loop;
          }
          ++reached[std::size_t(i)];
        });
    CHECK(wrong == 0);
    for (const std::atomic<int>& loops : reached) CHECK(loops == kLoops);
  }
}

TEST_CASE("a thread whose loop has nothing left goes on to one that does not wait, while another is held up") {
  // The first loop's only iteration ends when the second loop, which does not wait for it, has run; the third waits for
  // both. With a meeting after each loop this would take for ever.
  LoopProgress progress({1, 3, 1}, {false, false, false}, 2);
  std::atomic<int> second{0};
  std::atomic<bool> last{false};
  run_all(
      progress, 2,
      [&](const Worker& worker, int loop, int, bool) {
        if (loop == 2) progress.await(worker, 0), progress.await(worker, 1);
      },
      [&](int loop, int) {
        if (loop == 0) {
          while (second < 3) std::this_thread::yield();
        }
        if (loop == 1) ++second;
        if (loop == 2) last = true;
      });
  CHECK(last);
}

TEST_CASE("threads that sleep are woken by what they await") {
  LoopProgress progress({1, 2, 1}, {true, false, false}, 3);
  for (int repetition = 0; repetition < 5; ++repetition) {
    std::atomic<int> ran{0};
    run_all(
        progress, 3,
        [&](const Worker& worker, int loop, int, bool) {
          if (loop == 1) progress.await(worker, 0, 0, 1);
          if (loop == 2) progress.await(worker, 1);
        },
        [&](int loop, int) {
          // Longer than anybody spins.
          if (loop < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
          ++ran;
        });
    CHECK(ran == 4);
  }
}

TEST_CASE("what an iteration throws ends those that await it, and the loops can run again") {
  LoopProgress progress({4, 4}, {false, true}, 2);
  for (int repetition = 0; repetition < 20; ++repetition) {
    const auto run = [&](bool fails) {
      std::atomic<int> ran{0};
      run_all(
          progress, 2,
          [&](const Worker& worker, int loop, int, bool) {
            if (loop == 1) progress.await(worker, 0);
          },
          [&](int loop, int iteration) {
            if (fails && loop == 0 && iteration == 3) throw std::runtime_error("a sink");
            ++ran;
          });
      return int(ran);
    };
    CHECK_THROWS_WITH(run(true), "a sink");
    CHECK(run(false) == 8);
  }
}

TEST_CASE("fewer threads than were made room for") {
  LoopProgress progress({10, 7}, {false, false}, 5);
  for (const int threads : {1, 2, 5}) {
    std::atomic<int> ran{0};
    run_all(
        progress, threads,
        [&](const Worker& worker, int loop, int, bool) {
          if (loop == 1) progress.await(worker, 0);
        },
        [&](int, int) { ++ran; });
    CHECK(ran == 17);
  }
}
