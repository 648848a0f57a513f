// Threads for the engine and the imaging steps. All of the project's parallelism goes through here.
#pragma once

#include <omp.h>

#include <cstdint>

namespace e2enet {

// As many threads as this process may use (the affinity mask counts, so containers pinned to CPUs are respected).
inline int available_threads() { return omp_get_num_procs(); }

// One member of a team of threads that runs the same function. for_each() shares its iterations among the team.
class Worker {
 public:
  explicit Worker(int thread) : thread_(thread) {}
  int thread() const { return thread_; }

  // Every worker of the team must call this; it returns when all iterations are done. Which worker runs which iteration
  // is left to chance, so a result must not depend on it.
  template <typename Function>
  void for_each(std::int64_t count, const Function& function) const {
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t i = 0; i < count; ++i) function(i);
  }

 private:
  int thread_;
};

// Runs function(worker) on `threads` threads at once. The function must not throw.
template <typename Function>
void run_team(int threads, const Function& function) {
#pragma omp parallel num_threads(threads)
  {
    const Worker worker(omp_get_thread_num());
    function(worker);
  }
}

}  // namespace e2enet
