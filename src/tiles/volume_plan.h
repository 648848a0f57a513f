// How much of a volume is held in memory at a time: every way of doing it that there is, what each takes, and the
// fastest that fits. Decides only; volume_pipeline.h does it. All give the same labels, bit for bit.
#pragma once

#include <cstdint>
#include <vector>

#include "tiles/memory_estimate.h"

namespace e2enet::tiles {

// For people: "image in memory while preparing".
const char* holding_name(Holding holding);

// Whether the next slices are read on a thread of their own (PipelineOptions::read_ahead). That pays where the file is
// unpacked while slices are resampled; an image in memory is there before that (docs/volumes.md has the figures).
bool reads_ahead(Holding holding, const PipelineOptions& options);

// One way of doing it and its memory. Whoever does it reads ahead as reads_ahead() says.
struct PlannedHolding {
  Holding holding = Holding::prepared;
  MemoryLedger memory;
  int runs_at_once = 1;  // TilingOptions::side_by_side
};

// The ways that this volume allows, fastest first. Arguments and errors as of book_memory().
std::vector<PlannedHolding> possible_holdings(const plan::Plan& plan, const model::Configuration& configuration,
                                              std::int64_t process, const Geometry& geometry,
                                              const PipelineOptions& options, const CallerNeeds& needs);

// The first whose peak is within `limit` bytes, or null where none is.
const PlannedHolding* fastest_within(const std::vector<PlannedHolding>& holdings, std::int64_t limit);

// Lets as many runs of the network go on at once, in each of the holdings, as pay and fit `limit`, and books their
// memory. Arguments and errors as of possible_holdings().
//
// Threads that share a patch wait for each other at every layer, the more of them the longer; runs beside each other
// do not, but each needs its working memory, and the caches. So a run has two threads at least, or one where the
// working memory is at most kMostForOneThread (docs/performance.md); and all runs but the first take at most
// kMostBeside.
constexpr double kMostForOneThread = 64 << 20;
constexpr double kMostBeside = 256 << 20;
void choose_runs_at_once(const plan::Plan& plan, const model::Configuration& configuration, std::int64_t process,
                         const Geometry& geometry, const PipelineOptions& options, const CallerNeeds& needs,
                         std::int64_t limit, std::vector<PlannedHolding>& holdings);

// The one with the smallest peak. `holdings` must not be empty.
const PlannedHolding& smallest(const std::vector<PlannedHolding>& holdings);

}  // namespace e2enet::tiles
