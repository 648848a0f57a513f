// A first pass over an image: where its voxels are, and their ranges.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "e2enet/volume.h"
#include "image/slice_source.h"
#include "prepare/mask.h"

namespace e2enet::imaging {

// What one pass over an image finds out. In the frame of the file.
struct Survey {
  Box box;  // around all voxels that are not 0 (NaN is not) in some channel, within the region
  bool empty() const { return box.empty(); }

  // Lowest and highest value in the box, NaN counting as 0: of each plane across D, H and (if asked for) W.
  struct Ranges {
    std::array<std::vector<float>, 3> low, high;
    float lowest = 0, highest = 0;
  };
  std::vector<Ranges> channels;
  std::optional<BitVolume> mask;  // of the box, holes filled, if asked for
};

// How a pass over an image is made; nothing here changes what it finds.
struct PassOptions {
  bool read_ahead = false;  // the next slices are read on one more thread while the last ones are worked on
  // Called now and then with the slices done so far and all of them, channels counted each. What it throws ends the
  // pass.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

struct SurveyOptions {
  std::optional<Box> region;  // only these voxels count, as if the image ended there
  bool mask = false;
  bool planes_across_width = false;
  int threads = 0;
  PassOptions pass;
};

// What survey_image() takes at the most for a region of an image: slices that are read, and where a mask is asked for
// its bits and what filling its holes takes at worst.
double survey_bytes(const Shape& image, const Shape& region, bool mask, bool read_ahead);
// Of the mask that stays.
double mask_bytes(const Shape& region);

// Throws Error (invalid_image) where the channels' shapes differ or values are infinite, naming the file, the first
// such voxel and their number.
Survey survey_image(const std::vector<SliceSource*>& channels, const SurveyOptions& options);

}  // namespace e2enet::imaging
