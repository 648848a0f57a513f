// How a network will run on a patch: which kernel computes each layer, in which order, in which bands of rows, and
// where every feature lies. Decides everything before the first patch, from the network's shape and connectivity alone:
// it reads no weight and packs nothing (packed_network.h does), so that a forecast costs little.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/convolution.h"
#include "kernels/transposed_convolution.h"
#include "model/flops.h"
#include "model/network.h"
#include "plan/loops.h"

namespace e2enet::plan {

struct PlanOptions {
  Extent patch{0, 0, 0};  // a multiple of Architecture::patch_multiple(); 0,0,0: the model's own
  int threads = 1;
  kernels::Element storage = kernels::Element::f32;
  // For tests and measurements: the kernel of this name wherever it can compute the layer. Empty: by cost.
  std::string forced_algorithm;
  // A level whose feature is larger than this is computed in place, band by band, so that caches hold more of it;
  // below, every band can run at once.
  std::size_t in_place_bytes = std::size_t{4} << 20;
  // An upward flow larger than this is made a few rows ahead of the convolution that reads it, while they are in cache.
  std::size_t ring_bytes = std::size_t{1} << 20;
  // Where bands must follow each other, as many run at once as have this many items, so that there is work for every
  // thread; 0: four a thread, and at least eight. More need more rows in rings, and of drift.
  int items_at_once = 0;
};

// A feature's place: `offset` bytes into one of the arena's buffers.
struct PlannedFeature {
  int buffer = -1;
  std::size_t offset = 0;
  kernels::Element element = kernels::Element::f32;
  int channels = 0;
  kernels::Extent extent;
  std::ptrdiff_t channel_stride = 0;
  int stored_rows = 0;
  int row_gap = 0;

  std::size_t row_bytes() const {
    return (std::size_t(extent.width) * std::size_t(extent.depth) + std::size_t(row_gap)) *
           kernels::element_bytes(element);
  }

  bool exists() const { return buffer >= 0; }
};

// A feature as its reader finds it. `norm` is the index of the instance norm still to be applied, -1 for none.
struct PlannedSource {
  PlannedFeature feature;
  int norm = -1;
};

// What is known of a step before it runs, for reports.
struct StepSummary {
  std::string name;    // "x[0][1] block 1", "up into x[0][1]", "head"
  std::string kernel;  // its full name
  std::string reason;  // why this one
  double density = 1;
  model::Flops flops;
  double bytes = 0;  // that the step must read and write at least once
};

// Bands that run at once, and what must be made before them.
struct BandGroup {
  int first = 0;
  int count = 0;
  kernels::RowRange upward;  // input rows of the upward flow that no group before has made
};

// Steps fill blocks of statistics in turn, since one's norm is still being computed while the next fills its own.
constexpr int kStatisticsBlocks = 2;

// One depth-shift block: convolution and the statistics of its norm, with the flows that feed it.
struct ConvolutionStep {
  int layer = -1;  // in Network::layers()
  model::LayerDescription description;
  StepSummary summary;
  std::unique_ptr<kernels::ConvolutionPlan> kernel;
  std::vector<PlannedSource> sources;
  PlannedFeature output;
  PlannedFeature pooled;                  // the downward flow out of this block, if its kernel takes it along
  int norm = -1;                          // index of the norm that this block's statistics become
  std::vector<std::int64_t> slot_voxels;  // count behind each slot of statistics
  int statistics_block() const { return norm % kStatisticsBlocks; }

  // The upward flow into this block: source number upward_source is made by `upward`; if it is a ring, beside the
  // convolution, while the bands before those that will read it run.
  int upward_layer = -1;
  std::unique_ptr<kernels::TransposedConvolutionPlan> upward;
  StepSummary upward_summary;
  PlannedSource upward_input;
  int upward_source = -1;

  bool in_place = false;   // output lies over source 0, moved by a few rows
  bool bottom_up = false;  // bands from the last to the first
  int bands_at_once = 1;   // if band_by_band(): how many run at once
  std::vector<BandGroup> schedule;
  // Where bands follow each other: of each item of a band, the items that touch its columns of pixels, of another band
  // and of the upward flow.
  std::vector<kernels::ItemRange> touching;
  std::vector<kernels::ItemRange> upward_touching;
  // Where all bands may run at once: of each, the input rows of the upward flow behind what it reads.
  std::vector<kernels::RowRange> upward_read;

  // Else all bands may run at once, and all rows of the upward flow before them.
  bool band_by_band() const {
    return in_place ||
           (upward && sources[upward_source].feature.stored_rows < sources[upward_source].feature.extent.height);
  }
};

// The downward flow where no convolution could take it along.
struct PoolStep {
  StepSummary summary;
  PlannedSource source;
  PlannedFeature output;
  Stride stride{1, 1, 1};
};

// Exactly one of the two is set.
struct Step {
  std::unique_ptr<ConvolutionStep> convolution;
  std::unique_ptr<PoolStep> pool;
};

class Plan {
 public:
  // Does not need the network afterwards. Throws Error: invalid_argument for a patch that the network cannot run or an
  // algorithm that there is none of, out_of_memory.
  Plan(const model::Network& network, const PlanOptions& options);

  Extent patch;
  int threads = 1;
  kernels::Element storage = kernels::Element::f32;

  PlannedFeature input;  // the patch, float32
  std::vector<Step> steps;
  std::vector<Loop> loops;   // of all steps, in the order in which threads go through them
  PlannedSource head_input;  // x[0][L]
  StepSummary load_summary;  // of the patch into `input`
  StepSummary head_summary;
  int norms = 0;  // number of instance norms; each has `norm_channels` scales and offsets
  int norm_channels = 0;

  std::vector<std::size_t> buffer_offsets;  // of each buffer in the arena, bytes
  std::size_t features_bytes = 0;           // the arena
  std::size_t scratch_bytes = 0;            // per thread
  std::size_t statistics_bytes = 0;         // kStatisticsBlocks, each of the largest step's slots
  std::size_t packed_bytes = 0;             // that packing will take for weights in the kernels' own form
  std::size_t row_logits_bytes = 0;         // per thread

  // Iterations of `other`, one of the loops that `loop` runs beside, that an iteration of it waits for.
  IterationRange awaited(const Loop& loop, int iteration, const Loop& other) const {
    const ConvolutionStep& step = *steps[std::size_t(loop.step)].convolution;
    const Loop::Place place = loop.place(iteration);
    if (other.by_rows) {
      const kernels::RowRange rows = step.upward_read[std::size_t(place.at)];
      const int items = other.count / other.together;
      return {(rows.begin - other.first) * items, (rows.end - other.first) * items};
    }
    const auto& touching = other.work == Loop::Work::upward ? step.upward_touching : step.touching;
    const kernels::ItemRange items = touching[std::size_t(place.item)];
    return {items.begin * other.together, items.end * other.together};
  }

  // Working memory of inference: everything above.
  // What a run holds besides packed weights: features, scratch, statistics and rows of logits of all threads, or of as
  // many as are said.
  std::size_t run_bytes() const { return run_bytes(threads); }
  std::size_t run_bytes(int of_threads) const;
  // The same with each of the four at a multiple of 64 bytes: the block that a caller gives.
  std::size_t working_bytes() const;
  std::size_t peak_bytes() const;
};

}  // namespace e2enet::plan
