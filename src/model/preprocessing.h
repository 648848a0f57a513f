// What a model asks of an image before its network sees it: one description, from the model file to the code that
// prepares slices (src/prepare).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace e2enet::model {

enum class NormalizationScheme {
  ct,      // clip to the given bounds, subtract the given mean, divide by the given standard deviation
  ct2,     // clip to the given bounds; mean and deviation of this image's voxels strictly inside them
  non_ct,  // this image's own mean and deviation
  none,
};

// A scheme's name in a model file, and which parameters stand beside it there. A new scheme is a line here and, in
// src/prepare/normalization.cc, what it does.
struct NormalizationSchemeEntry {
  NormalizationScheme scheme;
  const char* name;
  bool bounds;   // `clip`
  bool moments;  // `mean` and `sd`
};
inline constexpr NormalizationSchemeEntry kNormalizationSchemes[] = {
    {NormalizationScheme::ct, "CT", true, true},
    {NormalizationScheme::ct2, "CT2", true, false},
    {NormalizationScheme::non_ct, "nonCT", false, false},
    {NormalizationScheme::none, "noNorm", false, false},
};
const NormalizationSchemeEntry& entry_of(NormalizationScheme scheme);

// Of one channel. There is none without a scheme.
struct Normalization {
  explicit Normalization(NormalizationScheme which) : scheme(which) {}

  NormalizationScheme scheme;
  double clip_low = 0, clip_high = 0;
  double mean = 0, standard_deviation = 1;
  bool use_mask = false;  // zero outside the mask of nonzero voxels; non_ct: statistics over the mask only
};

struct Preprocessing {
  std::optional<std::array<double, 3>> spacing;  // D, H, W in mm, in the transposed frame; none: the image's own
  std::array<int, 3> transpose_forward{0, 1, 2};
  std::vector<Normalization> normalization;  // one a channel
  std::string orientation;                   // "RAS" and the like; empty: the file's own
};

}  // namespace e2enet::model
