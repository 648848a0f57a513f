// A volume from its slices to its labels: survey, preprocess, tiles, export, with no probability volume in between.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "e2enet/segmenter.h"
#include "engine/engine.h"
#include "labels/label_export.h"
#include "prepare/prepared_window.h"
#include "prepare/preprocess.h"
#include "tiles/label_planes.h"
#include "tiles/sliding_window.h"

namespace e2enet::tiles {

imaging::LabelRule label_rule(const model::Configuration& configuration);

// The labels of which only the largest component is kept. Throws Error (invalid_argument) for a value that is none of
// the three.
std::vector<int> largest_component_labels(const model::Configuration& configuration, LargestComponent wanted);

// The largest label value that the model can write.
int largest_label(const model::Configuration& configuration);

// What is held of the image and of the volume that the network sees. The labels are the same, bit for bit.
enum class Holding {
  image,                  // the image as it is stored, also for what comes afterwards; the network's volume
  image_while_preparing,  // the image until the network's volume is there; whoever needs it later reads it again
  prepared,               // the network's volume; the image is read twice, some slices at a time
  window,  // the slices of the network's volume that a tile needs; the image is read twice, and once more
           // where its own statistics are needed. See imaging::PreparedWindow::possible()
};

// Whether the image is in memory from the first pass over it on.
inline bool keeps_image(Holding holding) {
  return holding == Holding::image || holding == Holding::image_while_preparing;
}

struct PipelineOptions {
  TilingOptions tiling;
  std::vector<int> largest_component;  // labels of which only the largest component is kept
  std::optional<Box> region;           // only these voxels are segmented, in the file's frame D, H, W
  bool probabilities = false;
  // Where probabilities are to be written, (classes, D, H, W) of the image, instead of to PipelineResult.
  float* probabilities_into = nullptr;
  int threads = 1;
  Holding holding = Holding::prepared;
  bool may_read_ahead = true;  // whether the sources may be read on another thread than the caller's
  bool read_ahead = false;     // one more thread reads the next slices
};

struct PipelineResult {
  bool empty_image = false;          // no voxel was not zero: all is background
  Shape network_shape{0, 0, 0};      // of the preprocessed volume, in the network's frame
  std::vector<float> probabilities;  // (classes, D, H, W) of the image, if asked for without a place
  std::int64_t runs = 0;             // of the network
  // Of the network's input, one a channel; where the model says what training had, else empty.
  std::vector<model::InputQuantiles> quantiles;
  double prepare_seconds = 0, network_seconds = 0, export_seconds = 0;
};

// `channels` are the image's, all of geometry.shape. With Holding::image they still hold their voxels afterwards
// (SliceSource::forget()). Throws Error: invalid_image, invalid_argument, cancelled, out_of_memory, and what the
// channels and the sink throw.
PipelineResult segment_volume(engine::Engine& engine, const Geometry& geometry,
                              const std::vector<imaging::SliceSource*>& channels, const PipelineOptions& options,
                              LabelSink& sink, const ProgressCallback& progress);

}  // namespace e2enet::tiles
