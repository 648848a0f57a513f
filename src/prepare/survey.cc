#include "prepare/survey.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/aligned_buffer.h"
#include "base/checked_size.h"
#include "base/parallel.h"
#include "e2enet/error.h"
#include "image/formats/read_ahead.h"
#include "prepare/line_kernels.h"
#include "prepare/resample.h"

namespace e2enet::imaging {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

std::string shape_text(const Shape& s) {
  return std::to_string(s[0]) + " x " + std::to_string(s[1]) + " x " + std::to_string(s[2]);
}

// Range and count of the values that are neither 0 nor NaN, of planes across one axis.
struct PlaneRanges {
  explicit PlaneRanges(std::int64_t planes)
      : low(index(planes), kInfinity), high(index(planes), -kInfinity), values(index(planes), 0) {}
  void add(std::int64_t plane, float lowest, float highest, std::int64_t count) {
    if (count == 0) return;
    low[index(plane)] = std::min(low[index(plane)], lowest);
    high[index(plane)] = std::max(high[index(plane)], highest);
    values[index(plane)] += count;
  }
  std::vector<float> low, high;
  std::vector<std::int64_t> values;
};

// Reads the region again to say where the infinite values are that a pass over it has found.
[[noreturn]] void refuse_infinite(SliceSource& source, std::size_t channel, const Box& region) {
  const Shape shape = source.shape();
  std::vector<float> slice(index(source.slice_size()));
  std::int64_t count = 0;
  std::string first;
  for (std::int64_t d = region.begin[0]; d < region.end[0]; ++d) {
    source.read(d, d + 1, slice.data());
    for (std::int64_t h = region.begin[1]; h < region.end[1]; ++h) {
      for (std::int64_t w = region.begin[2]; w < region.end[2]; ++w) {
        if (!std::isinf(slice[index(h * shape[2] + w)])) continue;
        if (count++ > 0) continue;
        first = "(" + std::to_string(w) + ", " + std::to_string(h) + ", " + std::to_string(d) + ")";
      }
    }
  }
  const std::string where = source.name().empty() ? "channel " + std::to_string(channel) : source.name();
  throw Error(ErrorCode::invalid_image, where + ": voxels: expected finite values (of float32), found " +
                                            std::to_string(count) + " infinite, the first at (i, j, k) = " + first);
}

}  // namespace

double mask_bytes(const Shape& region) {
  return double(region[0]) * double(region[1]) * std::ceil(double(region[2]) / 64) * 8;  // a bit a voxel
}

double survey_bytes(const Shape& image, const Shape& region, bool mask, bool read_ahead) {
  const double image_slice = double(image[1]) * double(image[2]);
  double reading = double(kSlicesTogether) * image_slice * sizeof(float);
  if (read_ahead) reading += double(ReadAhead::working_bytes(image));
  if (!mask) return reading;
  // Holes are filled after the last slice is read; at worst every other voxel begins a run.
  const double filling = double(region[0]) * double(region[1]) * double(region[2]) * 2 + image_slice * 40;
  return 2 * mask_bytes(region) + std::max(reading, filling);
}

Survey survey_image(const std::vector<SliceSource*>& channels, const SurveyOptions& options) {
  const Shape image = channels.at(0)->shape();
  for (std::size_t c = 1; c < channels.size(); ++c) {
    if (channels[c]->shape() != image) {
      throw Error(ErrorCode::invalid_image, "channel " + std::to_string(c) + ": shape: expected " + shape_text(image) +
                                                " as channel 0, found " + shape_text(channels[c]->shape()));
    }
  }
  const int threads = options.threads > 0 ? options.threads : available_threads();
  Box region = options.region.value_or(Box{{0, 0, 0}, image});
  for (std::size_t a = 0; a < 3; ++a) {
    if (region.begin[a] < 0 || region.end[a] > image[a] || region.begin[a] >= region.end[a]) {
      throw Error(ErrorCode::invalid_argument,
                  "region of interest: expected a part of " + std::to_string(image[a]) + " voxels along axis " +
                      "DHW"[a] + ", found " + std::to_string(region.begin[a]) + ":" + std::to_string(region.end[a]));
    }
  }
  const Shape size = region.size();
  Survey survey;
  if (options.mask) survey.mask.emplace(size);

  std::vector<std::array<PlaneRanges, 3>> ranges;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    ranges.push_back({PlaneRanges(size[0]), PlaneRanges(size[1]), PlaneRanges(size[2])});
  }
  // Of the region: where the box lies.
  Shape low = size, high{0, 0, 0};

  // Summaries of the rows of the slices in work, and of columns for each thread.
  std::vector<RowSummary> rows(index(kSlicesTogether * size[1]));
  std::vector<PlaneRanges> columns;
  AlignedBuffer staging;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    std::optional<ReadAhead> ahead;
    if (options.pass.read_ahead) ahead.emplace(*channels[c], region.begin[0], region.end[0]);
    SliceSource& source = ahead ? *ahead : *channels[c];
    if (!channels[c]->view(0, 1) && staging.size() == 0) {
      staging =
          AlignedBuffer(checked_size("slices that are read", kSlicesTogether, channels[c]->slice_size(), sizeof(float)),
                        "slices that are read");
    }
    columns.assign(options.planes_across_width ? index(threads) : 0, PlaneRanges(size[2]));
    for (std::int64_t block = 0; block < size[0]; block += kSlicesTogether) {
      const std::int64_t count = std::min(kSlicesTogether, size[0] - block);
      const std::int64_t first = region.begin[0] + block;
      const float* slices = source.view(first, first + count);
      if (!slices) {
        source.read(first, first + count, reinterpret_cast<float*>(staging.data()));
        slices = reinterpret_cast<float*>(staging.data());
      }
      if (options.pass.progress) {
        options.pass.progress(static_cast<std::int64_t>(c) * size[0] + block,
                              static_cast<std::int64_t>(channels.size()) * size[0]);
      }
      run_team(std::min<int>(threads, static_cast<int>(count)), [&](const Worker& worker) {
        worker.for_each(count, [&](std::int64_t slice) {
          for (std::int64_t h = 0; h < size[1]; ++h) {
            const float* row =
                slices + slice * image[1] * image[2] + (region.begin[1] + h) * image[2] + region.begin[2];
            rows[index(slice * size[1] + h)] = summarise_row(row, size[2]);
            if (options.mask) survey.mask->add_nonzero(block + slice, h, row);
            if (options.planes_across_width) {
              PlaneRanges& mine = columns[index(worker.thread())];
              summarise_columns(row, size[2], mine.low.data(), mine.high.data(), mine.values.data());
            }
          }
        });
      });
      for (std::int64_t slice = 0; slice < count; ++slice) {
        for (std::int64_t h = 0; h < size[1]; ++h) {
          const RowSummary& row = rows[index(slice * size[1] + h)];
          if (row.first == row.end) continue;
          const std::int64_t at[3] = {block + slice, h, row.first};
          const std::int64_t end[3] = {block + slice + 1, h + 1, row.end};
          for (std::size_t a = 0; a < 3; ++a) {
            low[a] = std::min(low[a], at[a]);
            high[a] = std::max(high[a], end[a]);
          }
          ranges[c][0].add(block + slice, row.low, row.high, row.values);
          ranges[c][1].add(h, row.low, row.high, row.values);
        }
      }
    }
    for (const PlaneRanges& mine : columns) {
      for (std::int64_t w = 0; w < size[2]; ++w) {
        ranges[c][2].add(w, mine.low[index(w)], mine.high[index(w)], mine.values[index(w)]);
      }
    }
  }

  survey.channels.resize(channels.size());
  if (low[0] >= high[0]) {
    survey.mask.reset();
    return survey;
  }
  const Box in_region{low, high};
  for (std::size_t a = 0; a < 3; ++a) {
    survey.box.begin[a] = region.begin[a] + low[a];
    survey.box.end[a] = region.begin[a] + high[a];
  }
  const Shape box = survey.box.size();
  for (std::size_t c = 0; c < channels.size(); ++c) {
    Survey::Ranges& result = survey.channels[c];
    for (std::size_t a = 0; a < 3; ++a) {
      if (a == 2 && !options.planes_across_width) continue;
      const std::int64_t plane_size = box[0] * box[1] * box[2] / box[a];
      for (std::int64_t i = 0; i < box[a]; ++i) {
        const std::size_t at = index(low[a] + i);
        const PlaneRanges& plane = ranges[c][a];
        // Nothing outside the box has a value, so fewer values than voxels means that there is a zero inside.
        const bool zero = plane.values[at] < plane_size;
        result.low[a].push_back(zero ? std::min(plane.low[at], 0.0f) : plane.low[at]);
        result.high[a].push_back(zero ? std::max(plane.high[at], 0.0f) : plane.high[at]);
      }
    }
    result.lowest = *std::min_element(result.low[0].begin(), result.low[0].end());
    result.highest = *std::max_element(result.high[0].begin(), result.high[0].end());
    if (std::isinf(result.lowest) || std::isinf(result.highest)) refuse_infinite(*channels[c], c, region);
  }
  if (options.mask) {
    survey.mask = survey.mask->cropped(in_region);
    fill_holes(*survey.mask);
  }
  return survey;
}

}  // namespace e2enet::imaging
