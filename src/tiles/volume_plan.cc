#include "tiles/volume_plan.h"

#include <algorithm>

#include "e2enet/error.h"
#include "prepare/preprocess.h"

namespace e2enet::tiles {

const char* holding_name(Holding holding) {
  switch (holding) {
    case Holding::image:
      return "image in memory";
    case Holding::image_while_preparing:
      return "image in memory while preparing";
    case Holding::prepared:
      return "image read twice";
    case Holding::window:
      return "image prepared a few slices at a time";
  }
  throw Error(ErrorCode::internal, "a holding without a name");
}

bool reads_ahead(Holding holding, const PipelineOptions& options) {
  return options.may_read_ahead && options.threads > 1 && !keeps_image(holding);
}

std::vector<PlannedHolding> possible_holdings(const plan::Plan& plan, const model::Configuration& configuration,
                                              std::int64_t process, const Geometry& geometry,
                                              const PipelineOptions& options, const CallerNeeds& needs) {
  std::vector<Holding> possible;
  if (needs.image_afterwards()) possible.push_back(Holding::image);
  possible.push_back(Holding::image_while_preparing);
  possible.push_back(Holding::prepared);
  if (imaging::PreparedWindow::possible(network_frame(configuration, geometry))) {
    possible.push_back(Holding::window);
  }
  std::vector<PlannedHolding> holdings;
  for (const Holding holding : possible) {
    PipelineOptions with = options;
    with.holding = holding;
    with.read_ahead = reads_ahead(holding, options);
    holdings.push_back({holding, book_memory(plan, configuration, process, geometry, with, needs)});
  }
  return holdings;
}

const PlannedHolding* fastest_within(const std::vector<PlannedHolding>& holdings, std::int64_t limit) {
  const auto found = std::find_if(holdings.begin(), holdings.end(),
                                  [&](const PlannedHolding& one) { return one.memory.peak() <= limit; });
  return found == holdings.end() ? nullptr : &*found;
}

void choose_runs_at_once(const plan::Plan& plan, const model::Configuration& configuration, std::int64_t process,
                         const Geometry& geometry, const PipelineOptions& options, const CallerNeeds& needs,
                         std::int64_t limit, std::vector<PlannedHolding>& holdings) {
  const Extent volume = network_extent(configuration, geometry, options);
  const int most = double(plan.run_bytes()) <= kMostForOneThread ? plan.threads : plan.threads / 2;
  for (PlannedHolding& one : holdings) {
    PipelineOptions with = options;
    with.holding = one.holding;
    with.read_ahead = reads_ahead(one.holding, options);
    int at_once = SlidingWindow::runs_at_once(most, plan.threads, volume, plan.patch, with.tiling);
    for (; at_once > 1;
         at_once = SlidingWindow::runs_at_once(at_once - 1, plan.threads, volume, plan.patch, with.tiling)) {
      if (SlidingWindow::network_bytes(plan, at_once) - double(plan.run_bytes()) > kMostBeside) continue;
      with.tiling.side_by_side = at_once;
      MemoryLedger memory = book_memory(plan, configuration, process, geometry, with, needs);
      if (memory.peak() > limit) continue;
      one.memory = std::move(memory);
      one.runs_at_once = at_once;
      break;
    }
  }
}

const PlannedHolding& smallest(const std::vector<PlannedHolding>& holdings) {
  return *std::min_element(holdings.begin(), holdings.end(), [](const PlannedHolding& a, const PlannedHolding& b) {
    return a.memory.peak() < b.memory.peak();
  });
}

}  // namespace e2enet::tiles
