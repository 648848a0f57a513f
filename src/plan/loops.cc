#include "plan/loops.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "plan/arena.h"
#include "plan/plan.h"

namespace e2enet::plan {
namespace {

// A part of what steps share that a loop reads or writes: bytes of a buffer, counted within one channel's plane, since
// all features that lie in one buffer have the same planes; a norm; or entries of a block of statistics.
struct Access {
  enum class Kind { feature, norm, statistics };
  Kind kind = Kind::feature;
  int index = 0;
  std::size_t begin = 0;
  std::size_t end = 0;
  bool writes = false;
};

class Accesses {
 public:
  void feature(const PlannedFeature& feature, int row_begin, int row_end, bool writes) {
    if (row_begin >= row_end) return;
    const std::size_t bytes = feature.row_bytes();
    const auto add = [&](int begin, int end) {
      all.push_back({Access::Kind::feature, feature.buffer, feature.offset + std::size_t(begin) * bytes,
                     feature.offset + std::size_t(end) * bytes, writes});
    };
    if (row_end - row_begin >= feature.stored_rows) return add(0, feature.stored_rows);
    const int begin = row_begin % feature.stored_rows, end = (row_end - 1) % feature.stored_rows + 1;
    if (begin < end) return add(begin, end);
    add(begin, feature.stored_rows);
    add(0, end);
  }
  void source(const PlannedSource& source, int row_begin, int row_end) {
    feature(source.feature, row_begin, row_end, false);
    if (source.norm >= 0) norm(source.norm, false);
  }
  void norm(int index, bool writes) { all.push_back({Access::Kind::norm, index, 0, 1, writes}); }
  void statistics(const ConvolutionStep& step, int slot_begin, int slot_end, bool writes) {
    const std::size_t entries = std::size_t(step.output.channels);  // of a slot
    all.push_back({Access::Kind::statistics, step.statistics_block(), std::size_t(slot_begin) * entries,
                   std::size_t(slot_end) * entries, writes});
  }

  std::vector<Access> all;
};

// Which loops are done for certain when another begins.
class Before {
 public:
  bool holds(int loop) const {
    return std::size_t(loop) / 64 < bits_.size() && (bits_[std::size_t(loop) / 64] >> (loop % 64) & 1) != 0;
  }
  void add(int loop, const Before& before_it) {
    bits_.resize(std::max({bits_.size(), before_it.bits_.size(), std::size_t(loop) / 64 + 1}));
    for (std::size_t i = 0; i < before_it.bits_.size(); ++i) bits_[i] |= before_it.bits_[i];
    bits_[std::size_t(loop) / 64] |= std::uint64_t{1} << (loop % 64);
  }

 private:
  std::vector<std::uint64_t> bits_;
};

class Builder {
 public:
  Builder(const Plan& plan, const std::vector<BufferRequest>& buffers) : plan_(plan), buffers_(buffers) {}

  std::vector<Loop> build() {
    Accesses loaded;
    loaded.feature(plan_.input, 0, plan_.input.extent.height, true);
    add(Loop::Work::load, -1, plan_.input.extent.height, std::move(loaded));
    begun_.assign(plan_.steps.size(), false);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      if (plan_.steps[i].pool) {
        add_pool(int(i));
      } else {
        add_block(int(i));
      }
    }
    Accesses head;
    head.source(plan_.head_input, 0, plan_.head_input.feature.extent.height);
    add(Loop::Work::head, -1, plan_.head_input.feature.extent.height, std::move(head));
    return std::move(loops_);
  }

 private:
  void add_pool(int index) {
    const PoolStep& pool = *plan_.steps[std::size_t(index)].pool;
    Accesses accesses;
    accesses.source(pool.source, 0, pool.source.feature.extent.height);
    accesses.feature(pool.output, 0, pool.output.extent.height, true);
    add(Loop::Work::pool, index, pool.output.extent.height, std::move(accesses));
  }

  // An upward flow's first rows, and all of them where it is not a ring, are made while threads would wait for the last
  // items of the step before.
  void begin_block(int index) {
    if (begun_[std::size_t(index)]) return;
    begun_[std::size_t(index)] = true;
    add_upward(index, 0);
  }

  void add_block(int index) {
    const ConvolutionStep& step = *plan_.steps[std::size_t(index)].convolution;
    begin_block(index);
    for (int g = 0; g < int(step.schedule.size()); ++g) {
      add_bands(index, g);
      add_upward(index, g + 1);
    }
    const std::size_t next = std::size_t(index) + 1;
    if (next < plan_.steps.size() && plan_.steps[next].convolution &&
        plan_.steps[next].convolution->upward_input.norm != step.norm) {
      begin_block(int(next));
    }
    Accesses accesses;
    accesses.statistics(step, 0, int(step.slot_voxels.size()), false);
    accesses.norm(step.norm, true);
    add(Loop::Work::norm, index, (step.output.channels + kNormChannels - 1) / kNormChannels, std::move(accesses));
  }

  void add_upward(int index, int group) {
    const ConvolutionStep& step = *plan_.steps[std::size_t(index)].convolution;
    if (!step.upward || group >= int(step.schedule.size())) return;
    const kernels::RowRange rows = step.schedule[std::size_t(group)].upward;
    if (rows.begin >= rows.end) return;
    const PlannedFeature& output = step.sources[std::size_t(step.upward_source)].feature;
    const int stride = output.extent.height / step.upward_input.feature.extent.height;
    Accesses accesses;
    accesses.source(step.upward_input, rows.begin, rows.end);
    accesses.feature(output, rows.begin * stride, rows.end * stride, true);
    Loop loop;
    loop.work = Loop::Work::upward;
    loop.step = index;
    loop.group = group;
    loop.first = rows.begin;
    loop.together = rows.end - rows.begin;
    loop.count = loop.together * step.upward->items_per_row();
    loop.by_rows = !step.band_by_band();
    add(std::move(loop), std::move(accesses));
  }

  void add_bands(int index, int group_index) {
    const ConvolutionStep& step = *plan_.steps[std::size_t(index)].convolution;
    const BandGroup& group = step.schedule[std::size_t(group_index)];
    const int row_begin = group.first * step.kernel->rows_per_band();
    const int row_end = std::min((group.first + group.count) * step.kernel->rows_per_band(), step.output.extent.height);
    kernels::ConvolutionShape shape;
    shape.input = step.sources.front().feature.extent;
    shape.stride = step.description.stride;
    const kernels::RowRange read = kernels::rows_read(shape, row_begin, row_end);
    Accesses accesses;
    for (const PlannedSource& source : step.sources) accesses.source(source, read.begin, read.end);
    accesses.feature(step.output, row_begin, row_end, true);
    if (step.pooled.exists()) {
      const int stride = step.output.extent.height / step.pooled.extent.height;
      accesses.feature(step.pooled, row_begin / stride, (row_end + stride - 1) / stride, true);
    }
    const int slots = step.kernel->slots_per_band();
    accesses.statistics(step, group.first * slots, (group.first + group.count) * slots, true);
    Loop loop;
    loop.work = Loop::Work::bands;
    loop.step = index;
    loop.group = group_index;
    loop.first = group.first;
    loop.together = group.count;
    loop.count = group.count * step.kernel->items_per_band();
    loop.by_rows = !step.band_by_band();
    add(std::move(loop), std::move(accesses));
  }

  void add(Loop::Work work, int step, int count, Accesses accesses) {
    Loop loop;
    loop.work = work;
    loop.step = step;
    loop.count = count;
    add(std::move(loop), std::move(accesses));
  }

  void add(Loop loop, Accesses accesses) {
    Before before;
    for (int other = int(loops_.size()) - 1; other >= 0; --other) {
      if (before.holds(other) || !conflict(accesses.all, accesses_[std::size_t(other)])) continue;
      if (in_part(loop, loops_[std::size_t(other)])) {
        loop.beside.push_back(other);
      } else {
        loop.after.push_back(other);
        before.add(other, before_[std::size_t(other)]);
      }
    }
    loops_.push_back(std::move(loop));
    accesses_.push_back(std::move(accesses.all));
    before_.push_back(std::move(before));
  }

  // Whether an item of `loop` is in conflict with those items of `other` alone that touch its columns, or its rows.
  bool in_part(const Loop& loop, const Loop& other) const {
    if (loop.work != Loop::Work::bands || loop.step != other.step) return false;
    if (other.work == Loop::Work::upward) return true;
    return other.work == Loop::Work::bands && loop.group == other.group + 1 &&
           plan_.steps[std::size_t(loop.step)].convolution->in_place;
  }

  bool conflict(const std::vector<Access>& one, const std::vector<Access>& other) const {
    for (const Access& a : one) {
      for (const Access& b : other) {
        if ((a.writes || b.writes) && a.kind == b.kind && meet(a, b)) return true;
      }
    }
    return false;
  }

  bool meet(const Access& a, const Access& b) const {
    if (a.index == b.index) return a.begin < b.end && b.begin < a.end;
    if (a.kind != Access::Kind::feature) return false;
    const std::size_t a_begin = plan_.buffer_offsets[std::size_t(a.index)];
    const std::size_t b_begin = plan_.buffer_offsets[std::size_t(b.index)];
    return a_begin < b_begin + buffers_[std::size_t(b.index)].bytes &&
           b_begin < a_begin + buffers_[std::size_t(a.index)].bytes;
  }

  const Plan& plan_;
  const std::vector<BufferRequest>& buffers_;
  std::vector<Loop> loops_;
  std::vector<std::vector<Access>> accesses_;  // of each loop
  std::vector<Before> before_;
  std::vector<bool> begun_;  // steps whose first rows of an upward flow have a loop
};

}  // namespace

const char* name_of(Loop::Work work) {
  switch (work) {
    case Loop::Work::load:
      return "load";
    case Loop::Work::upward:
      return "upward";
    case Loop::Work::bands:
      return "bands";
    case Loop::Work::norm:
      return "norm";
    case Loop::Work::pool:
      return "pool";
    case Loop::Work::head:
      return "head";
  }
  return "";
}

std::vector<Loop> loops_of(const Plan& plan, const std::vector<BufferRequest>& buffers) {
  return Builder(plan, buffers).build();
}

}  // namespace e2enet::plan
