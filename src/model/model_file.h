// Reads and writes model files (docs/model-file.md).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/network.h"

namespace e2enet::model {

// Reads and checks everything: sizes, offsets, overlaps, gaps, types, shapes, index ranges, finiteness. Throws Error
// (cannot_read, invalid_model, out_of_memory) naming the file and the tensor or key.
std::shared_ptr<const Network> load_model_file(const std::string& path);

// The same from the bytes of such a file; `name` stands for it in messages.
std::shared_ptr<const Network> load_model(const void* bytes, std::size_t count, const std::string& name);

// The values of one layer on their way to a file.
struct LayerValues {
  std::vector<std::int32_t> connectivity;  // (output, input) pairs, increasing; sparse layers only
  std::vector<float> values;               // taps per kept kernel; all outputs x inputs kernels for a dense layer
  std::vector<float> bias, norm_weight, norm_bias;
};

// Writes beside `path` first and renames then, so that a failure leaves what was there. `layers` are those of
// describe_layers(configuration.architecture, heads). Throws Error (cannot_write).
void write_model_file(const std::string& path, const Configuration& configuration, int heads,
                      const std::vector<LayerValues>& layers);

}  // namespace e2enet::model
