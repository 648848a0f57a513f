#include "labels/components.h"

#include <algorithm>
#include <deque>

#include "image/runs.h"

namespace e2enet::imaging {
namespace {

template <typename Label>
void keep_largest(Label* labels, const Shape& shape, const std::vector<int>& values) {
  std::vector<bool> wanted(65536, false);
  for (const int value : values) {
    if (value > 0 && value < 65536) wanted[static_cast<std::size_t>(value)] = true;
  }
  const auto runs_of_row = [&](std::int64_t d, std::int64_t h, std::vector<Run>& runs) {
    const Label* row = labels + (d * shape[1] + h) * shape[2];
    for (std::int64_t w = 0; w < shape[2];) {
      Run run;
      run.begin = w;
      run.value = row[w];
      while (w < shape[2] && row[w] == run.value) ++w;
      run.end = w;
      if (wanted[run.value]) runs.push_back(run);
    }
  };
  RunForest forest;
  std::deque<std::int64_t> sizes;  // grows without a second copy
  join_runs(shape, forest, runs_of_row,
            [&](std::int64_t, std::int64_t, const Run& run) { sizes.push_back(run.end - run.begin); });
  for (std::size_t id = forest.size(); id-- > 0;) {  // roots are smaller than what they hold
    const std::uint32_t root = forest.root(static_cast<std::uint32_t>(id));
    if (root != id) sizes[root] += sizes[id];
  }
  std::vector<std::int64_t> largest(65536, 0);
  std::vector<Run> runs;
  for (const bool removing : {false, true}) {
    std::uint32_t id = 0;
    for (std::int64_t d = 0; d < shape[0]; ++d) {
      for (std::int64_t h = 0; h < shape[1]; ++h) {
        runs.clear();
        runs_of_row(d, h, runs);
        for (const Run& run : runs) {
          const std::int64_t size = sizes[forest.root(id++)];
          if (!removing) {
            largest[run.value] = std::max(largest[run.value], size);
          } else if (size < largest[run.value]) {
            Label* row = labels + (d * shape[1] + h) * shape[2];
            std::fill(row + run.begin, row + run.end, Label{0});
          }
        }
      }
    }
  }
}

}  // namespace

void keep_largest_components(std::uint16_t* labels, const Shape& shape, const std::vector<int>& values) {
  keep_largest(labels, shape, values);
}

void keep_largest_components(std::uint8_t* labels, const Shape& shape, const std::vector<int>& values) {
  keep_largest(labels, shape, values);
}

}  // namespace e2enet::imaging
