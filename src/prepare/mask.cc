#include "prepare/mask.h"

#include <hwy/base.h>

#include <algorithm>

#include "base/checked_size.h"
#include "image/runs.h"

namespace e2enet::imaging {
namespace {

// The number of the lowest bit that is set; one is.
std::int64_t lowest_bit(std::uint64_t word) {
  return static_cast<std::int64_t>(hwy::Num0BitsBelowLS1Bit_Nonzero64(word));
}

}  // namespace

BitVolume::BitVolume(const Shape& shape) : shape_(shape), words_in_row_((shape[2] + 63) / 64) {
  words_.assign(checked_count<std::uint64_t>("the mask", shape[0], shape[1], words_in_row_), 0);
}

void BitVolume::add_nonzero(std::int64_t d, std::int64_t h, const float* values) {
  std::uint64_t* words = row(d, h);
  for (std::int64_t w = 0; w < shape_[2]; w += 64) {
    const std::int64_t count = std::min<std::int64_t>(64, shape_[2] - w);
    std::uint64_t word = 0;
    for (std::int64_t i = 0; i < count; ++i) word |= static_cast<std::uint64_t>(values[w + i] != 0) << i;
    words[w / 64] |= word;
  }
}

BitVolume BitVolume::cropped(const Box& box) const {
  BitVolume result(box.size());
  for (std::int64_t d = 0; d < result.shape_[0]; ++d) {
    for (std::int64_t h = 0; h < result.shape_[1]; ++h) {
      std::uint64_t* words = result.row(d, h);
      const std::uint64_t* from = row(d + box.begin[0], h + box.begin[1]);
      for (std::int64_t w = 0; w < result.shape_[2]; ++w) {
        const std::int64_t at = w + box.begin[2];
        words[w / 64] |= (from[at / 64] >> (at % 64) & 1) << (w % 64);
      }
    }
  }
  return result;
}

void fill_holes(BitVolume& mask) {
  const Shape shape = mask.shape();
  const auto background_runs = [&](std::int64_t d, std::int64_t h, std::vector<Run>& runs) {
    const std::uint64_t* words = mask.row(d, h);
    for (std::int64_t w = 0; w < shape[2];) {
      const std::uint64_t rest = words[w / 64] >> (w % 64);
      if (rest & 1) {  // inside: go on after the set bits of this word
        const std::uint64_t unset = ~rest;
        w += unset == 0 ? 64 : std::min<std::int64_t>(lowest_bit(unset), 64 - w % 64);
        continue;
      }
      Run run;
      run.begin = w;
      while (w < shape[2]) {
        const std::uint64_t ahead = words[w / 64] >> (w % 64);
        if (ahead == 0) {
          w += 64 - w % 64;
          continue;
        }
        w += lowest_bit(ahead);
        break;
      }
      w = std::min(w, shape[2]);
      run.end = w;
      runs.push_back(run);
    }
  };

  RunForest forest;
  const std::uint32_t outside = forest.add();
  join_runs(shape, forest, background_runs, [&](std::int64_t d, std::int64_t h, const Run& run) {
    const bool at_border =
        d == 0 || d + 1 == shape[0] || h == 0 || h + 1 == shape[1] || run.begin == 0 || run.end == shape[2];
    if (at_border) forest.join(run.id, outside);
  });
  // The same scan again, with the same ids; a row is changed only after its runs were listed.
  std::uint32_t id = outside;
  std::vector<Run> runs;
  for (std::int64_t d = 0; d < shape[0]; ++d) {
    for (std::int64_t h = 0; h < shape[1]; ++h) {
      runs.clear();
      background_runs(d, h, runs);
      for (const Run& run : runs) {
        if (forest.root(++id) == outside) continue;
        for (std::int64_t w = run.begin; w < run.end; ++w) mask.row(d, h)[w / 64] |= std::uint64_t{1} << (w % 64);
      }
    }
  }
}

MaskResampler::MaskResampler(BitVolume mask, const std::array<AxisOperator, 3>& along, const AxisMap& frame)
    : mask_(std::move(mask)), along_(along), frame_(frame) {}

void MaskResampler::slice(std::int64_t d, std::uint8_t* out) const {
  const Shape output = shape();
  const std::array<std::int64_t, 3> taps{along_[0].taps, along_[1].taps, along_[2].taps};
  std::array<std::int64_t, 3> first{along_[0].first[static_cast<std::size_t>(d)], 0, 0};
  std::array<const double*, 3> weights{along_[0].row(d), nullptr, nullptr};
  const std::int64_t corners = taps[0] * taps[1] * taps[2];
  for (std::int64_t h = 0; h < output[1]; ++h) {
    first[1] = along_[1].first[static_cast<std::size_t>(h)];
    weights[1] = along_[1].row(h);
    for (std::int64_t w = 0; w < output[2]; ++w) {
      first[2] = along_[2].first[static_cast<std::size_t>(w)];
      weights[2] = along_[2].row(w);
      std::int64_t set = 0;
      for (std::int64_t i = 0; i < taps[0]; ++i) {
        for (std::int64_t j = 0; j < taps[1]; ++j) {
          for (std::int64_t k = 0; k < taps[2]; ++k) set += mask_.get(first[0] + i, first[1] + j, first[2] + k);
        }
      }
      std::uint8_t& result = out[h * output[2] + w];
      if (set == 0 || set == corners) {  // nearly everywhere: the weights add up to 1
        result = set != 0;
        continue;
      }
      double inside = 0, outside = 0;
      const std::array<int, 3>& axis = frame_.source;
      for (std::int64_t c = 0; c < corners; ++c) {
        // Corner c in the order of the network's axes.
        std::array<std::int64_t, 3> at;
        double product = 1;
        std::int64_t rest = c;
        std::array<std::int64_t, 3> in_network;
        for (int a = 2; a >= 0; --a) {
          const std::int64_t count = taps[static_cast<std::size_t>(axis[a])];
          in_network[a] = rest % count;
          rest /= count;
        }
        for (int a = 0; a < 3; ++a) {
          const std::size_t f = static_cast<std::size_t>(axis[a]);
          at[f] = frame_.flip[a] ? taps[f] - 1 - in_network[a] : in_network[a];
          product *= weights[f][at[f]];
        }
        (mask_.get(first[0] + at[0], first[1] + at[1], first[2] + at[2]) ? inside : outside) += product;
      }
      result = inside >= 0.5 || outside < 0.5;
    }
  }
}

}  // namespace e2enet::imaging
