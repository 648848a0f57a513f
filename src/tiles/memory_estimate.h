// How much memory the segmentation of a volume takes, known before a voxel is read.
#pragma once

#include <cstdint>

#include "base/memory_ledger.h"
#include "model/configuration.h"
#include "plan/plan.h"
#include "tiles/volume_pipeline.h"

namespace e2enet::tiles {

// What whoever asks for a segmentation holds or wants besides.
struct CallerNeeds {
  std::int64_t image_bytes = 0;  // of all channels as they are stored: what Holding::image takes
  std::int64_t open_bytes = 0;   // of the buffers of open files
  bool labels = false;           // the label volume is kept
  bool probabilities = false;    // at the image's resolution
  double label_file_bytes = 0;   // of a file of labels that is being written
  double preview_bytes = 0;      // what a picture of labels and image takes, if one is wanted
  bool intensities = false;      // the mean of each label

  bool image_afterwards() const { return preview_bytes > 0 || intensities; }
};

// What each part takes, each the most that there can be: the crop is taken to be the whole region. `process` is what is
// resident once the kernels are packed and before the network runs. The holding is that of `options`. Throws Error
// (invalid_argument) for an orientation that the model gets wrong, and what network_extent() throws.
//
// Parts: process (the program, the model, packed kernels, buffers of open files), image (as it is stored), surveying,
// preparing (all that is prepared so far included), prepared (the volume that the network sees, or the window over it),
// network (features and scratch), probabilities (over the slices that tiles still reach), exporting (slices of labels
// and probabilities, the files being written), kept (volumes that the caller or the axis order asks for), finishing
// (pictures, mean intensities).
MemoryLedger book_memory(const plan::Plan& plan, const model::Configuration& configuration, std::int64_t process,
                         const Geometry& geometry, const PipelineOptions& options, const CallerNeeds& needs);

// How the network's axes lie in the file's.
imaging::AxisMap network_frame(const model::Configuration& configuration, const Geometry& geometry);

// The network's extent for the whole region (Error (invalid_image) where the spacing makes it larger than any memory),
// and how often the network runs to fill it: tiles times mirrored copies.
Extent network_extent(const model::Configuration& configuration, const Geometry& geometry,
                      const PipelineOptions& options);
std::int64_t count_runs(const Extent& volume, const Extent& patch, const TilingOptions& options);

}  // namespace e2enet::tiles
