// Connected components of a volume by runs: memory goes with the number of runs, not of voxels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <numeric>
#include <vector>

#include "e2enet/error.h"
#include "e2enet/volume.h"

namespace e2enet::imaging {

// Voxels [begin, end) of one row that have the same value.
struct Run {
  std::int64_t begin = 0, end = 0;
  std::uint16_t value = 0;
  std::uint32_t id = 0;  // number in scan order
};

// Union-find over ids.
class RunForest {
 public:
  std::uint32_t add() {
    if (parent_.size() == std::numeric_limits<std::uint32_t>::max()) {
      throw Error(ErrorCode::invalid_image,
                  "connected components: expected fewer than 2^32 runs of voxels, found more");
    }
    parent_.push_back(static_cast<std::uint32_t>(parent_.size()));
    return parent_.back();
  }
  std::uint32_t root(std::uint32_t id) {
    while (parent_[id] != id) id = parent_[id] = parent_[parent_[id]];
    return id;
  }
  // The smaller root stays one, so the result does not depend on the order of joins.
  void join(std::uint32_t a, std::uint32_t b) {
    a = root(a);
    b = root(b);
    if (a < b) {
      parent_[b] = a;
    } else {
      parent_[a] = b;
    }
  }
  std::size_t size() const { return parent_.size(); }

 private:
  std::deque<std::uint32_t> parent_;  // grows without a second copy
};

// Scans rows in order. `runs_of_row(d, h, runs)` appends a row's runs (ascending, without ids); face-connected runs of
// the same value are joined. `visit(d, h, run)` sees each run with its id. Ids are the same in every scan of the same
// volume: `first_id` is where they begin.
template <typename RunsOfRow, typename Visit>
void join_runs(const Shape& shape, RunForest& forest, const RunsOfRow& runs_of_row, const Visit& visit) {
  std::vector<std::vector<Run>> above(static_cast<std::size_t>(shape[1])), here(static_cast<std::size_t>(shape[1]));
  const auto join_touching = [&](const std::vector<Run>& a, const std::vector<Run>& b) {
    for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
      if (a[i].value == b[j].value && a[i].begin < b[j].end && b[j].begin < a[i].end) forest.join(a[i].id, b[j].id);
      if (a[i].end < b[j].end) {
        ++i;
      } else {
        ++j;
      }
    }
  };
  for (std::int64_t d = 0; d < shape[0]; ++d) {
    for (std::int64_t h = 0; h < shape[1]; ++h) {
      std::vector<Run>& runs = here[static_cast<std::size_t>(h)];
      runs.clear();
      runs_of_row(d, h, runs);
      for (Run& run : runs) {
        run.id = forest.add();
        visit(d, h, run);
      }
      if (h > 0) join_touching(here[static_cast<std::size_t>(h - 1)], runs);
      if (d > 0) join_touching(above[static_cast<std::size_t>(h)], runs);
    }
    std::swap(above, here);
  }
}

}  // namespace e2enet::imaging
