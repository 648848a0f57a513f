// How much memory the segmentation of a volume takes, known before a voxel is read.
#pragma once

#include <cstdint>

#include "engine/engine.h"
#include "streaming/volume_pipeline.h"

namespace e2enet::streaming {

// Bytes, each the most that the stage can need: the crop is taken to be the whole region. Stages follow each other and
// their memory does not add up, but for the prepared image, which all of the network's stage holds.
struct MemoryEstimate {
  std::int64_t process = 0;        // what is resident already: the program, the model, packed kernels
  std::int64_t prepared = 0;       // the volume that the network sees, all channels
  std::int64_t preparing = 0;      // mask, windows of slices in double, buffers of files
  std::int64_t network = 0;        // features and scratch
  std::int64_t probabilities = 0;  // accumulated over the slices that tiles still reach
  std::int64_t exporting = 0;      // slices of labels and of resampled probabilities, the files being written
  std::int64_t kept = 0;           // label volumes and probabilities that the caller or the axis order asks for

  std::int64_t peak() const;
};

struct KeptVolumes {
  bool labels = false;         // by whoever takes the labels
  bool probabilities = false;  // at the image's resolution
};

// `process` is what was resident after the engine was made and before it ran. Throws Error (invalid_argument) for an
// orientation that the model gets wrong.
MemoryEstimate estimate_memory(const engine::Engine& engine, std::int64_t process, const Geometry& geometry,
                               const PipelineOptions& options, const KeptVolumes& kept);

// The network's extent for the whole region, and how often the network runs to fill it: tiles times mirrored copies.
Extent3 network_extent(const model::Configuration& configuration, const Geometry& geometry,
                       const PipelineOptions& options);
std::int64_t count_runs(const Extent3& volume, const model::Triple& patch, const TilingOptions& options);

}  // namespace e2enet::streaming
