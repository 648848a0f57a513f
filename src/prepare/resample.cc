#include "prepare/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/checked_size.h"
#include "base/parallel.h"
#include "prepare/line_kernels.h"

namespace e2enet::imaging {
namespace {

// Input slices read and resampled in their plane together.
constexpr std::int64_t kStagedSlices = 8;

std::int64_t window_of_block(const AxisOperator& op) {
  std::int64_t window = 0;
  for (std::int64_t j = 0; j < op.output_size; ++j) {
    const std::int64_t last = std::min(j + kSlicesTogether, op.output_size) - 1;
    window =
        std::max(window, op.first[static_cast<std::size_t>(last)] + op.taps - op.first[static_cast<std::size_t>(j)]);
  }
  return window;
}

std::int64_t row_stride_of(const ResamplePlan& plan) {
  // An odd number of cache lines: rows at the same column do not fall into the same few cache sets.
  const std::int64_t lines = padded_to_lanes(plan.along[2].output_size) / kLanes;
  return (lines | 1) * kLanes;
}

// One thread's scratch, in doubles.
struct Scratch {
  explicit Scratch(const ResamplePlan& plan)
      : after(kRowsTogether * plan.along[2].input_size),
        between(after + kRowsTogether * plan.along[2].output_size),
        line(between + plan.along[1].input_size * row_stride_of(plan)),
        rows(line + row_stride_of(plan)),
        size(padded_to_lanes(rows + std::max(plan.along[0].taps, plan.along[1].taps))) {}

  // Interleaved rows before W (at 0) and after it, the plane between W and H, a row of floats, pointers to rows.
  std::int64_t after, between, line, rows, size;
};
static_assert(sizeof(const double*) <= sizeof(double));

std::int64_t doubles_of_slice(const ResamplePlan& plan) { return plan.along[1].output_size * row_stride_of(plan); }

}  // namespace

SliceResampler::SliceResampler(SliceSource& source, const ResamplePlan& plan, int threads)
    : source_(source),
      plan_(plan),
      threads_(threads > 0 ? threads : available_threads()),
      row_stride_(row_stride_of(plan)),
      ring_slices_(window_of_block(plan.along[0])),
      scratch_size_(Scratch(plan).size) {
  const auto doubles = [](std::int64_t count, std::int64_t each) {
    return checked_size("resampling", count, each, sizeof(double));
  };
  ring_ = AlignedBuffer(doubles(ring_slices_, doubles_of_slice(plan)), "slices under resampling");
  scratch_ = AlignedBuffer(doubles(scratch_size_, threads_), "resampling");
  if (!source.view(0, 1)) {
    staging_ = AlignedBuffer(checked_size("slices that are read", kStagedSlices, source.slice_size(), sizeof(float)),
                             "slices that are read");
  }
}

std::int64_t SliceResampler::working_bytes(const ResamplePlan& plan, const Shape& source_shape, bool in_memory,
                                           int threads) {
  const std::int64_t doubles = window_of_block(plan.along[0]) * doubles_of_slice(plan) + Scratch(plan).size * threads;
  const std::int64_t floats = in_memory ? 0 : kStagedSlices * source_shape[1] * source_shape[2];
  return doubles * static_cast<std::int64_t>(sizeof(double)) + floats * static_cast<std::int64_t>(sizeof(float));
}

double* SliceResampler::ring_slice(std::int64_t k) {
  return reinterpret_cast<double*>(ring_.data()) + k % ring_slices_ * plan_.along[1].output_size * row_stride_;
}

// Makes the ring hold slices [begin, end) of the box.
void SliceResampler::need_input(std::int64_t begin, std::int64_t end) {
  if (begin < ring_begin_ || begin > ring_end_) ring_begin_ = ring_end_ = begin;
  ring_begin_ = begin;
  while (ring_end_ < end) {
    const std::int64_t count = std::min(end - ring_end_, kStagedSlices);
    const std::int64_t first = ring_end_ + plan_.box.begin[0];
    const float* slices = source_.view(first, first + count);
    if (!slices) {
      float* staging = reinterpret_cast<float*>(staging_.data());
      source_.read(first, first + count, staging);
      slices = staging;
    }
    run_team(static_cast<int>(std::min<std::int64_t>(threads_, count)), [&](const Worker& worker) {
      double* scratch = reinterpret_cast<double*>(scratch_.data()) + worker.thread() * scratch_size_;
      worker.for_each(count, [&](std::int64_t i) {
        resample_in_plane(slices + i * source_.slice_size(), ring_slice(ring_end_ + i), scratch);
      });
    });
    ring_end_ += count;
  }
}

void SliceResampler::resample_in_plane(const float* slice, double* out, double* scratch) const {
  const AxisOperator &along_h = plan_.along[1], &along_w = plan_.along[2];
  const std::int64_t source_width = source_.shape()[2];
  const float* corner = slice + plan_.box.begin[1] * source_width + plan_.box.begin[2];
  const Scratch at(plan_);
  double* before = scratch;
  double* after = scratch + at.after;
  double* between = along_h.is_identity() ? out : scratch + at.between;

  for (std::int64_t row = 0; row < along_h.input_size; row += kRowsTogether) {
    const std::int64_t rows = std::min(kRowsTogether, along_h.input_size - row);
    const float* from = corner + row * source_width;
    if (along_w.is_identity()) {
      for (std::int64_t r = 0; r < rows; ++r) {
        double* to = between + (row + r) * row_stride_;
        for (std::int64_t x = 0; x < along_w.input_size; ++x) {
          const float value = from[r * source_width + x];
          to[x] = value != value ? 0.0 : static_cast<double>(value);
        }
        std::fill(to + along_w.input_size, to + row_stride_, 0.0);
      }
      continue;
    }
    for (std::int64_t x = 0; x < along_w.input_size; ++x) {
      for (std::int64_t r = 0; r < rows; ++r) {
        const float value = from[r * source_width + x];
        before[x * kRowsTogether + r] = value != value ? 0.0 : static_cast<double>(value);
      }
      for (std::int64_t r = rows; r < kRowsTogether; ++r) before[x * kRowsTogether + r] = 0.0;
    }
    filter_interleaved(before, along_w, after);
    for (std::int64_t r = 0; r < rows; ++r) {
      double* to = between + (row + r) * row_stride_;
      for (std::int64_t x = 0; x < along_w.output_size; ++x) to[x] = after[x * kRowsTogether + r];
      std::fill(to + along_w.output_size, to + row_stride_, 0.0);
    }
  }
  if (along_h.is_identity()) return;

  const double** rows = reinterpret_cast<const double**>(scratch + at.rows);
  for (std::int64_t j = 0; j < along_h.output_size; ++j) {
    const std::int64_t first = along_h.first[static_cast<std::size_t>(j)];
    for (std::int64_t t = 0; t < along_h.taps; ++t) rows[t] = between + (first + t) * row_stride_;
    filter_rows(rows, along_h.row(j), along_h.taps, row_stride_, out + j * row_stride_);
  }
}

void SliceResampler::read(std::int64_t begin, std::int64_t end, float* out) {
  const AxisOperator& along_d = plan_.along[0];
  const Shape shape = plan_.output_shape();
  const Scratch at(plan_);
  for (std::int64_t block = begin; block < end; block += kSlicesTogether) {
    const std::int64_t block_end = std::min(block + kSlicesTogether, end);
    need_input(along_d.first[static_cast<std::size_t>(block)],
               along_d.first[static_cast<std::size_t>(block_end - 1)] + along_d.taps);
    run_team(threads_, [&](const Worker& worker) {
      double* scratch = reinterpret_cast<double*>(scratch_.data()) + worker.thread() * scratch_size_;
      float* line = reinterpret_cast<float*>(scratch + at.line);
      const double** rows = reinterpret_cast<const double**>(scratch + at.rows);
      worker.for_each(shape[1], [&](std::int64_t h) {
        for (std::int64_t d = block; d < block_end; ++d) {
          const std::int64_t first = along_d.first[static_cast<std::size_t>(d)];
          for (std::int64_t t = 0; t < along_d.taps; ++t) {
            rows[t] = ring_slice(first + t) + h * row_stride_;
          }
          const std::size_t plane = plan_.clip_axis == 0   ? static_cast<std::size_t>(d)
                                    : plan_.clip_axis == 1 ? static_cast<std::size_t>(h)
                                                           : 0;
          const bool by_column = plan_.clip_axis == 2;
          const double low = by_column ? -HUGE_VAL : plan_.low[plane];
          const double high = by_column ? HUGE_VAL : plan_.high[plane];
          filter_rows_to_float(rows, along_d.row(d), along_d.taps, row_stride_, low, high, line);
          float* to = out + ((d - begin) * shape[1] + h) * shape[2];
          if (by_column) {
            for (std::int64_t x = 0; x < shape[2]; ++x) {
              const std::size_t column = static_cast<std::size_t>(x);
              to[x] =
                  static_cast<float>(std::clamp(static_cast<double>(line[x]), plan_.low[column], plan_.high[column]));
            }
          } else {
            std::memcpy(to, line, static_cast<std::size_t>(shape[2]) * sizeof(float));
          }
        }
      });
    });
  }
}

double SliceResampler::working_bytes(const ResamplingSizes& sizes, int threads) {
  // Slices already resampled along the other two axes wait under the window of the slowest. A crop's exact ratio
  // differs from that of the spacings by rounding its size, which only matters for small crops; and these are smaller
  // than the window itself.
  constexpr double kTaps = 46;
  const double ratio = sizes.spacing_ratio * kTaps / (kTaps - std::min(sizes.spacing_ratio / 2, kTaps / 2));
  const double taps = sizes.separate || sizes.spacing_ratio == 1 ? 2 : kTaps;
  const double waiting = std::min(double(sizes.region[0]), std::ceil(double(kSlicesTogether - 1) * ratio) + taps);
  const double row = 8 * (std::ceil(double(sizes.output[2]) / 8) + 1);
  const double scratch =
      16 * (double(sizes.region[2]) + double(sizes.output[2])) + double(sizes.region[1]) * row + 2 * row;
  const double staging = double(kSlicesTogether) * double(sizes.source[1]) * double(sizes.source[2]) * sizeof(float);
  return (waiting * double(sizes.output[1]) * row + threads * scratch) * sizeof(double) + staging;
}

}  // namespace e2enet::imaging
