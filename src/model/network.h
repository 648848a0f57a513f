// A network with its weights: immutable, shared by everyone who runs it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/configuration.h"

namespace e2enet::model {

// Weights of a layer. Dense layers are held in the same form, with every kernel kept.
struct Layer {
  LayerDescription description;
  std::vector<std::int32_t> row_begin;  // kept kernels of output o: [row_begin[o], row_begin[o + 1])
  std::vector<std::int32_t> input;      // input channel of each kept kernel, increasing within an output
  const float* values = nullptr;        // description.taps() values a kept kernel
  const float* bias = nullptr;          // convolutions only, as the two below
  const float* norm_weight = nullptr;
  const float* norm_bias = nullptr;

  std::int64_t kept() const { return row_begin.back(); }
  double density() const { return double(kept()) / (double(description.outputs) * description.inputs()); }
  std::int64_t parameters() const;
};

class Network {
 public:
  Network(Configuration configuration, std::vector<Layer> layers, AlignedBuffer storage);

  const Configuration& configuration() const { return configuration_; }
  const Architecture& architecture() const { return configuration_.architecture; }
  const std::vector<Layer>& layers() const { return layers_; }

  // The same network without the kernels of its convolutions, plain and transposed: what a plan still needs when it has
  // packed them. Their layers keep connectivity as counts only: `values` is nullptr and `input` empty.
  std::shared_ptr<const Network> without_kernels() const;
  // Bytes that it takes less.
  std::int64_t kernel_bytes() const;

  const Layer& convolution(const Node& node, int block) const;
  const Layer& upward(const Node& node) const;  // the transposed convolution into `node`
  const Layer& head() const;                    // head 0

 private:
  const Layer& find(LayerKind kind, const Node& node, int block) const;

  Configuration configuration_;
  std::vector<Layer> layers_;
  AlignedBuffer storage_;  // what the layers' pointers point into
};

}  // namespace e2enet::model
