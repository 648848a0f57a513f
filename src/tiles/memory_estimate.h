// How much memory the segmentation of a volume takes, known before a voxel is read.
#pragma once

#include <cstdint>

#include "engine/engine.h"
#include "tiles/volume_pipeline.h"

namespace e2enet::tiles {

// Bytes, each the most that there can be: the crop is taken to be the whole region. Stages follow each other, so their
// memory does not add up.
struct MemoryEstimate {
  // What is there all the time: the program, the model, packed kernels, buffers of open files.
  std::int64_t process = 0;
  // The image's voxels as they are stored, and how much of that stays until the end.
  std::int64_t image = 0;
  std::int64_t image_until_end = 0;

  // Each stage's own: looking through the image for its box; resampling it, with all that is prepared so far.
  std::int64_t surveying = 0;
  std::int64_t preparing = 0;
  // The stage of the network.
  std::int64_t prepared = 0;       // the volume that the network sees, all channels; or the window over it
  std::int64_t network = 0;        // features and scratch; they stay until the end
  std::int64_t probabilities = 0;  // accumulated over the slices that tiles still reach
  std::int64_t exporting = 0;      // slices of labels and of resampled probabilities, the files being written
  std::int64_t kept = 0;           // label volumes and probabilities that the caller or the axis order asks for
  // After it: pictures, mean intensities.
  std::int64_t finishing = 0;

  std::int64_t peak() const;
};

// What whoever asks for a segmentation holds or wants besides.
struct CallerNeeds {
  std::int64_t image_bytes = 0;  // of all channels as they are stored: what Holding::image takes
  bool labels = false;           // the label volume is kept
  bool probabilities = false;    // at the image's resolution
  bool preview = false;          // a picture of labels and image
  bool intensities = false;      // the mean of each label

  bool image_afterwards() const { return preview || intensities; }
};

// `process` is what was resident after the engine was made and before it ran. The holding is that of `options`. Throws
// Error (invalid_argument) for an orientation that the model gets wrong, and what network_extent() throws.
MemoryEstimate estimate_memory(const engine::Engine& engine, std::int64_t process, const Geometry& geometry,
                               const PipelineOptions& options, const CallerNeeds& needs);

// How the network's axes lie in the file's.
imaging::AxisMap network_frame(const model::Configuration& configuration, const Geometry& geometry);

// The network's extent for the whole region (Error (invalid_image) where the spacing makes it larger than any memory),
// and how often the network runs to fill it: tiles times mirrored copies.
Extent network_extent(const model::Configuration& configuration, const Geometry& geometry,
                      const PipelineOptions& options);
std::int64_t count_runs(const Extent& volume, const Extent& patch, const TilingOptions& options);

}  // namespace e2enet::tiles
