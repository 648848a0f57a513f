#include "plan/plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/checked_size.h"
#include "e2enet/error.h"
#include "plan/arena.h"
#include "plan/kernel_choice.h"

namespace e2enet::plan {
namespace {

using model::Node;

kernels::KernelCounts counts_of(const model::Layer& layer) {
  return {layer.description.outputs, layer.description.inputs(), layer.description.taps(), layer.kept()};
}

std::string patch_text(const Extent& patch) {
  return std::to_string(patch[0]) + "x" + std::to_string(patch[1]) + "x" + std::to_string(patch[2]);
}

Extent checked_patch(const model::Architecture& architecture, Extent patch) {
  if (patch == Extent{0, 0, 0}) return architecture.patch_size;
  const Extent multiple = architecture.patch_multiple();
  for (int axis = 0; axis < 3; ++axis) {
    if (patch[axis] < 1 || patch[axis] > 4096 || patch[axis] % multiple[axis] != 0) {
      throw Error(ErrorCode::invalid_argument, "patch: expected D, H, W up to 4096 and multiples of " +
                                                   patch_text(multiple) + ", found " + patch_text(patch));
    }
  }
  if (std::int64_t{patch[0]} * patch[1] * patch[2] > (std::int64_t{1} << 31)) {
    throw Error(ErrorCode::invalid_argument, "patch: expected at most 2^31 voxels, found " + patch_text(patch));
  }
  return patch;
}

int bands_at_once(const kernels::ConvolutionPlan& kernel, int items) {
  const int bands = (items + kernel.items_per_band() - 1) / kernel.items_per_band();
  return std::min(bands, kernel.bands());
}

// The memory of one level. Node after node is written over the one before: x[i][j-1] is last read by x[i][j] itself,
// once the level above has taken its upward flow and its downward flow was set aside.
struct Level {
  Extent extent;
  bool in_place = false;
  // In place: one buffer, `drift` rows longer than the feature. A sweep from the top reads `drift` rows below where it
  // writes; the next sweep runs from the bottom and moves the feature back.
  int drift = 0;
  bool at_bottom = false;  // the newest feature lies `drift` rows down
  int buffers[2] = {-1, -1};
  int newest_buffer = 1;  // index into buffers, when not in place
  PlannedSource newest;
};

// All but the first block of a level find the level's older feature as their source 0.
bool writes_over(const model::LayerDescription& layer) {
  return layer.sources.front().flow == model::Flow::feature && layer.sources.front().node.level == layer.node.level;
}

double bytes_of(const PlannedFeature& feature) {
  return feature.exists() ? double(feature.channels) * double(feature.extent.voxels()) *
                                double(kernels::element_bytes(feature.element))
                          : 0.0;
}

class Builder {
 public:
  Builder(const model::Network& network, const PlanOptions& options, Plan& plan)
      : network_(network), architecture_(network.architecture()), options_(options), plan_(plan) {}

  void build() {
    choose_kernels();
    lay_out_levels();
    place_features();
    finish();
  }

 private:
  std::size_t plane_bytes(int level) const {
    const Extent& extent = levels_[level].extent;
    return checked_size("a feature", extent.depth, extent.height, extent.width,
                        kernels::element_bytes(options_.storage));
  }
  Extent extent_of(int level) const { return architecture_.extent(plan_.patch, level); }

  StepSummary summary_of(const std::string& name, const model::Layer& layer) const {
    StepSummary summary;
    summary.name = name;
    summary.density = layer.density();
    summary.flops = model::count_flops(network_, layer, plan_.patch);
    return summary;
  }

  // --- Kernels, in the order of the model's layers ---

  void add_block(int index, int upward_index) {
    auto step = std::make_unique<ConvolutionStep>();
    const model::Layer& layer = network_.layers()[std::size_t(index)];
    const model::LayerDescription& description = layer.description;
    step->layer = index;
    step->description = description;
    kernels::ConvolutionProblem problem;
    // Of a block in the backbone: of the level above, of any other: of its own.
    const bool own_level = description.sources.front().flow == model::Flow::image || writes_over(description);
    problem.shape.input = extent_of(own_level ? description.node.level : description.sources.front().node.level);
    problem.shape.stride = description.stride;
    problem.shape.groups = architecture_.groups;
    problem.shape.source_channels = description.source_channels();
    problem.kernels = counts_of(layer);
    problem.element = options_.storage;
    problem.exact = leads_to_few_voxels(description.node);
    problem.threads = plan_.threads;
    auto choice = choose(problem, options_.forced_algorithm);
    step->kernel = std::move(choice.kernel);
    step->summary =
        summary_of(model::node_name(description.node) + " block " + std::to_string(description.block), layer);
    step->summary.kernel = step->kernel->name();
    step->summary.reason = std::move(choice.reason);
    step->bands_at_once = bands_at_once(
        *step->kernel, options_.items_at_once > 0 ? options_.items_at_once : std::max(8, 4 * plan_.threads));
    for (int band = 0; band < step->kernel->bands(); ++band) {
      for (int slot = 0; slot < step->kernel->slots_per_band(); ++slot) {
        step->slot_voxels.push_back(step->kernel->slot_voxels(band, slot));
      }
    }
    for (std::size_t source = 0; source < description.sources.size(); ++source) {
      if (description.sources[source].flow != model::Flow::upward) continue;
      const model::Layer& upward = network_.layers()[std::size_t(upward_index)];
      kernels::TransposedConvolutionProblem up;
      up.shape = {extent_of(description.sources[source].node.level), upward.description.stride};
      up.kernels = counts_of(upward);
      up.element = options_.storage;
      step->upward_layer = upward_index;
      step->upward_source = int(source);
      step->upward = choose(up, options_.forced_algorithm).kernel;
      step->upward_summary = summary_of("up into " + model::node_name(description.node), upward);
      step->upward_summary.kernel = step->upward->name();
      step->upward_summary.reason = "made ahead of its reader";
      plan_.packed_bytes += step->upward->packed_bytes();
    }
    step->norm = plan_.norms++;
    plan_.norm_channels = std::max(plan_.norm_channels, description.outputs);
    plan_.packed_bytes += step->kernel->packed_bytes();
    blocks_.push_back(std::move(step));
  }

  // The norms of a level see its voxels. All of the backbone feeds the coarsest level, and nothing else does.
  bool leads_to_few_voxels(const Node& node) const {
    return norm_magnifies_rounding(extent_of(node.stage == 0 ? architecture_.pooling_steps() : node.level).voxels());
  }

  void choose_kernels() {
    int upward = -1;  // the transposed convolution before its reader
    for (std::size_t i = 0; i < network_.layers().size(); ++i) {
      const model::LayerDescription& layer = network_.layers()[i].description;
      if (layer.kind == model::LayerKind::upward_transposed) upward = int(i);
      if (layer.convolution()) add_block(int(i), upward);
    }
  }

  // --- Memory ---

  void lay_out_levels() {
    levels_.resize(std::size_t(architecture_.pooling_steps()) + 1);
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      Level& level = levels_[i];
      level.extent = extent_of(int(i));
      level.in_place = checked_size("a level's features", plane_bytes(int(i)), architecture_.features(int(i))) >
                       options_.in_place_bytes;
    }
    for (const auto& block : blocks_) {
      const model::LayerDescription& description = block->description;
      Level& level = levels_[std::size_t(description.node.level)];
      if (writes_over(description)) level.drift = std::max(level.drift, rows_at_once(*block) + 1);
    }
    for (Level& level : levels_) level.in_place = level.in_place && level.drift < level.extent.height;
  }

  static int rows_at_once(const ConvolutionStep& step) { return step.bands_at_once * step.kernel->rows_per_band(); }

  int new_buffer(std::size_t bytes) {
    requests_.push_back({bytes, step_, step_});
    return int(requests_.size()) - 1;
  }
  void touch(const PlannedFeature& feature) {
    if (!feature.exists()) return;
    BufferRequest& request = requests_[std::size_t(feature.buffer)];
    request.last = std::max(request.last, step_);
  }

  PlannedFeature new_feature(int channels, const Extent& extent, int stored_rows, int extra_rows,
                             kernels::Element element) {
    PlannedFeature feature;
    feature.element = element;
    feature.channels = channels;
    feature.extent = extent;
    feature.stored_rows = stored_rows;
    // Rows and planes a power of two apart would meet in the same cache sets; a line or two more spreads them.
    const int line = 64 / int(kernels::element_bytes(element));
    if (feature.row_bytes() % 4096 == 0) feature.row_gap = 2 * line;
    // Checked before strides are multiplied, which would wrap as well.
    checked_size("a feature", channels, checked_sum("a feature", stored_rows, extra_rows, 1), feature.row_bytes() + 64);
    feature.channel_stride =
        std::ptrdiff_t(stored_rows + extra_rows) * (std::ptrdiff_t{extent.width} * extent.depth + feature.row_gap) +
        line;
    feature.buffer =
        new_buffer(std::size_t(feature.channel_stride) * std::size_t(channels) * kernels::element_bytes(element));
    return feature;
  }

  // Where the next block of a level writes.
  PlannedFeature next_output(Level& level, int channels, ConvolutionStep& step) {
    const bool first = !writes_over(step.description);
    if (!level.in_place) {
      level.newest_buffer ^= 1;
      int& buffer = level.buffers[level.newest_buffer];
      PlannedFeature feature;
      if (buffer < 0) {
        feature = new_feature(channels, level.extent, level.extent.height, 0, options_.storage);
        buffer = feature.buffer;
        level.newest.feature = feature;
      } else {
        feature = level.newest.feature;
        feature.buffer = buffer;
      }
      return feature;
    }
    if (first) {
      level.newest.feature = new_feature(channels, level.extent, level.extent.height, level.drift, options_.storage);
      level.at_bottom = false;
      return level.newest.feature;
    }
    step.in_place = true;
    PlannedFeature feature = level.newest.feature;
    step.bottom_up = !level.at_bottom;
    level.at_bottom = !level.at_bottom;
    feature.offset = level.at_bottom ? std::size_t(level.drift) * feature.row_bytes() : 0;
    return feature;
  }

  // Rows that an upward flow must keep so that the bands of its reader that run at once find all that they read, while
  // what the bands after them will read is made.
  int ring_rows(const ConvolutionStep& step, const Extent& extent, int stride_height) const {
    const std::size_t bytes = checked_size("an upward flow", extent.depth, extent.height, extent.width,
                                           step.description.sources[std::size_t(step.upward_source)].channels,
                                           kernels::element_bytes(options_.storage));
    if (bytes <= options_.ring_bytes) return extent.height;
    int rows = 0;
    for (int row = 0; row < extent.height; row += rows_at_once(step)) {
      const kernels::RowRange behind = upward_rows_read(step, extent, row, row + 2 * rows_at_once(step));
      rows = std::max(rows, (behind.end - behind.begin) * stride_height);
    }
    return std::min(rows, extent.height);
  }

  // Input rows of the step's upward flow behind what it reads for its rows from row_begin to before row_end.
  static kernels::RowRange upward_rows_read(const ConvolutionStep& step, const Extent& extent, int row_begin,
                                            int row_end) {
    kernels::ConvolutionShape shape;
    shape.input = extent;
    const int stride_height = extent.height / step.upward_input.feature.extent.height;
    const kernels::RowRange read = kernels::rows_read(shape, row_begin, std::min(row_end, extent.height));
    return {read.begin / stride_height, (read.end + stride_height - 1) / stride_height};
  }

  // The bands of a step in groups, each with the rows of its upward flow that it is the first to read.
  std::vector<BandGroup> schedule_of(const ConvolutionStep& step, const Extent& extent) const {
    const int bands = step.kernel->bands();
    const int upward_rows = step.upward ? step.upward_input.feature.extent.height : 0;
    if (!step.band_by_band()) return {{0, bands, {0, upward_rows}}};
    const int groups = (bands + step.bands_at_once - 1) / step.bands_at_once;
    int made = step.bottom_up ? upward_rows : 0;  // rows are made once, in the order in which the bands come
    std::vector<BandGroup> schedule;
    for (int i = 0; i < groups; ++i) {
      BandGroup group;
      group.first = (step.bottom_up ? groups - 1 - i : i) * step.bands_at_once;
      group.count = std::min(step.bands_at_once, bands - group.first);
      if (step.upward) {
        const int rows = step.kernel->rows_per_band();
        const kernels::RowRange behind =
            upward_rows_read(step, extent, group.first * rows, (group.first + group.count) * rows);
        if (step.bottom_up) {
          group.upward = {std::min(behind.begin, made), made};
          made = group.upward.begin;
        } else {
          group.upward = {made, std::max(behind.end, made)};
          made = group.upward.end;
        }
      }
      schedule.push_back(group);
    }
    return schedule;
  }

  // Of each item of the kernel, the items of `others` (`count` of them) that write or read a pixel that it does.
  template <typename Others>
  static std::vector<kernels::ItemRange> touching(const kernels::ConvolutionPlan& kernel, const Others& others,
                                                  int count) {
    std::vector<kernels::ItemRange> touching;
    for (int item = 0; item < kernel.items_per_band(); ++item) {
      const kernels::PixelRange own = kernel.pixels(item);
      kernels::ItemRange range{count, 0};
      for (int other = 0; other < count; ++other) {
        const kernels::PixelRange theirs = others.pixels(other);
        if (theirs.begin - 1 >= own.end || theirs.end + 1 <= own.begin) continue;
        range = {std::min(range.begin, other), std::max(range.end, other + 1)};
      }
      touching.push_back(range);
    }
    return touching;
  }

  void place_block(std::unique_ptr<ConvolutionStep> block) {
    ConvolutionStep& step = *block;
    const model::LayerDescription& description = step.description;
    Level& level = levels_[std::size_t(description.node.level)];
    step_ = int(plan_.steps.size());

    for (const model::LayerSource& source : description.sources) {
      switch (source.flow) {
        case model::Flow::image:
          step.sources.push_back({plan_.input, -1});
          break;
        case model::Flow::feature:
          step.sources.push_back(levels_[std::size_t(source.node.level)].newest);
          break;
        case model::Flow::upward: {
          step.upward_input = levels_[std::size_t(source.node.level)].newest;
          touch(step.upward_input.feature);
          const int stride_height = level.extent.height / step.upward_input.feature.extent.height;
          const int rows = ring_rows(step, level.extent, stride_height);
          step.sources.push_back({new_feature(source.channels, level.extent, rows, 0, options_.storage), -1});
          break;
        }
        case model::Flow::downward:
          step.sources.push_back(downward_.at(source.node));
          break;
      }
    }
    step.output = next_output(level, description.outputs, step);
    for (const PlannedSource& source : step.sources) touch(source.feature);
    touch(step.output);
    level.newest = {step.output, step.norm};

    std::unique_ptr<PoolStep> pool;
    if (description.flows_down) {
      const Stride stride = architecture_.pool_strides[std::size_t(description.node.level)];
      const Extent pooled_extent = levels_[std::size_t(description.node.level) + 1].extent;
      if (step.kernel->can_pool(stride)) {
        step.pooled = new_feature(description.outputs, pooled_extent, pooled_extent.height, 0, options_.storage);
        downward_[description.node] = {step.pooled, step.norm};
      } else {
        pool = std::make_unique<PoolStep>();
        pool->summary.name = "down";
        pool->summary.kernel = "max_pool_rows";
        pool->source = level.newest;
        pool->stride = stride;
      }
    }
    step.schedule = schedule_of(step, level.extent);
    if (step.in_place) step.touching = touching(*step.kernel, *step.kernel, step.kernel->items_per_band());
    if (step.upward && step.band_by_band()) {
      step.upward_touching = touching(*step.kernel, *step.upward, step.upward->items_per_row());
    } else if (step.upward) {
      const int rows = step.kernel->rows_per_band();
      for (int band = 0; band < step.kernel->bands(); ++band) {
        step.upward_read.push_back(upward_rows_read(step, level.extent, band * rows, (band + 1) * rows));
      }
    }
    step.summary.bytes = bytes_of(step.output) + bytes_of(step.pooled);
    for (std::size_t i = 0; i < step.sources.size(); ++i) {
      if (int(i) != step.upward_source) step.summary.bytes += bytes_of(step.sources[i].feature);
    }
    step.upward_summary.bytes = bytes_of(step.upward_input.feature);

    const int outputs = description.outputs;
    const Node node = description.node;
    Step planned;
    planned.convolution = std::move(block);
    plan_.steps.push_back(std::move(planned));
    if (pool) {
      step_ = int(plan_.steps.size());
      const Extent pooled_extent = levels_[std::size_t(node.level) + 1].extent;
      touch(pool->source.feature);
      pool->output = new_feature(outputs, pooled_extent, pooled_extent.height, 0, options_.storage);
      downward_[node] = {pool->output, -1};
      Step pooling;
      pooling.pool = std::move(pool);
      plan_.steps.push_back(std::move(pooling));
    }
  }

  void place_features() {
    step_ = 0;
    plan_.input = new_feature(architecture_.input_channels, levels_[0].extent, levels_[0].extent.height, 0,
                              kernels::Element::f32);
    for (auto& block : blocks_) place_block(std::move(block));
    plan_.head_input = levels_[0].newest;
    step_ = int(plan_.steps.size());
    touch(plan_.head_input.feature);
    plan_.load_summary.name = "input";
    plan_.load_summary.kernel = "load_patch_rows";
    plan_.load_summary.bytes = 2 * bytes_of(plan_.input);
    plan_.head_summary = summary_of("head", network_.head());
    plan_.head_summary.kernel = "head_row";
    plan_.head_summary.bytes = bytes_of(plan_.head_input.feature);
  }

  void finish() {
    ArenaLayout layout = place_buffers(requests_);
    plan_.buffer_offsets = std::move(layout.offsets);
    plan_.features_bytes = layout.bytes;
    for (const Step& step : plan_.steps) {
      if (!step.convolution) continue;
      const ConvolutionStep& convolution = *step.convolution;
      plan_.scratch_bytes = std::max(plan_.scratch_bytes, convolution.kernel->scratch_bytes());
      if (convolution.upward) plan_.scratch_bytes = std::max(plan_.scratch_bytes, convolution.upward->scratch_bytes());
      plan_.statistics_bytes = std::max(plan_.statistics_bytes,
                                        checked_size("statistics", convolution.slot_voxels.size(),
                                                     convolution.output.channels, sizeof(kernels::PartialStatistics)));
    }
    // Each block at a multiple of a cache line.
    plan_.statistics_bytes = checked_size("statistics", kStatisticsBlocks, (plan_.statistics_bytes + 63) / 64 * 64);
    plan_.loops = loops_of(plan_, requests_);
    plan_.scratch_bytes = (plan_.scratch_bytes + 4095) / 4096 * 4096;
    plan_.row_logits_bytes =
        checked_size("a row of logits", architecture_.classes, plan_.patch[0], plan_.patch[2], sizeof(float));
    plan_.row_logits_bytes = (plan_.row_logits_bytes + 4095) / 4096 * 4096;
  }

  struct NodeOrder {
    bool operator()(const Node& a, const Node& b) const {
      return a.level != b.level ? a.level < b.level : a.stage < b.stage;
    }
  };

  const model::Network& network_;
  const model::Architecture& architecture_;
  const PlanOptions& options_;
  Plan& plan_;
  std::vector<std::unique_ptr<ConvolutionStep>> blocks_;
  std::vector<Level> levels_;
  std::map<Node, PlannedSource, NodeOrder> downward_;
  std::vector<BufferRequest> requests_;
  int step_ = 0;
};

}  // namespace

Plan::Plan(const model::Network& network, const PlanOptions& options)
    : patch(checked_patch(network.architecture(), options.patch)),
      threads(std::max(1, options.threads)),
      storage(options.storage) {
  if (!options.forced_algorithm.empty()) require_kernel_name(options.forced_algorithm);
  Builder(network, options, *this).build();
}

std::size_t Plan::run_bytes(int of_threads) const {
  return features_bytes + statistics_bytes + std::size_t(of_threads) * (scratch_bytes + row_logits_bytes);
}

std::size_t Plan::working_bytes() const {
  std::size_t sum = 0;
  for (const std::size_t bytes : {features_bytes, scratch_bytes * std::size_t(threads), statistics_bytes,
                                  row_logits_bytes * std::size_t(threads)}) {
    sum = checked_sum("the network's working memory", sum, (bytes + 63) / 64 * 64);
  }
  return sum;
}

std::size_t Plan::peak_bytes() const {
  return run_bytes() + packed_bytes + 2 * std::size_t(norms) * std::size_t(norm_channels) * sizeof(float);
}

}  // namespace e2enet::plan
