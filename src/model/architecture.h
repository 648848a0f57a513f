// What the network is: levels, nodes x[i][j], flows and layers (paper section 3; x[i][j] is level i, stage j).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/extent.h"

namespace e2enet::model {

struct Architecture {
  int input_channels = 1;
  int classes = 2;
  int base_features = 48;
  int max_features = 320;
  int groups = 5;                    // depth-shift groups
  std::vector<Stride> pool_strides;  // from level i to level i + 1
  Extent patch_size{0, 0, 0};

  int pooling_steps() const { return static_cast<int>(pool_strides.size()); }

  // f[i] = min(base_features * 2^i, max_features)
  int features(int level) const;

  // Extent of level `level` of a patch: the patch divided by the strides above it, rounded up as strided convolutions
  // do.
  Extent extent(const Extent& patch, int level) const;

  // What a patch must be a multiple of, so that every flow meets its node at the same extent.
  Extent patch_multiple() const;
};

struct Node {
  int level = 0;  // i
  int stage = 0;  // j
  bool operator==(const Node& other) const { return level == other.level && stage == other.stage; }
};

std::string node_name(const Node& node);  // "x[0][1]"

enum class LayerKind {
  backbone_convolution,  // block of x[i][0]: dense
  fusion_convolution,    // block of x[i][j], j > 0: sparse (DSFF)
  upward_transposed,     // from x[i+1][j-1] into x[i][j]: sparse (DSFF)
  head,                  // 1x1x1 on x[i][L-i]
};

const char* layer_kind_name(LayerKind kind);  // "backbone", "fusion", "upward", "head"

// How a part of a layer's input comes about.
enum class Flow {
  image,     // the patch
  feature,   // a node's newest feature as it is: of the block before, of the forward flow x[i][j-1], of the level above
  upward,    // the transposed convolution into the layer's node, of the given node
  downward,  // max pooling of the given node
};

// One part of a layer's (concatenated) input.
struct LayerSource {
  Flow flow = Flow::image;
  Node node;  // that it comes from; none for the image
  int channels = 0;
};

struct LayerDescription {
  LayerKind kind = LayerKind::backbone_convolution;
  Node node;      // the node that the layer computes or, for a head, reads
  int block = 0;  // of a convolution
  int outputs = 0;
  std::vector<LayerSource> sources;
  Stride stride{1, 1, 1};   // of the convolution; for a transposed convolution kernel and stride
  bool flows_down = false;  // the last block of a node that is read as a downward flow
  std::string name;         // prefix of its tensors in the model file: "fusion.0.1.0"

  std::vector<int> source_channels() const;
  int inputs() const;
  int taps() const;  // values per (output, input) kernel
  bool sparse() const { return kind == LayerKind::fusion_convolution || kind == LayerKind::upward_transposed; }
  bool convolution() const { return kind == LayerKind::backbone_convolution || kind == LayerKind::fusion_convolution; }
};

// The graph: every layer of the network and what it reads, in the order of the model file, which is one in which they
// can be computed: backbone by level, fusion by stage then level (each node's transposed convolution before its
// blocks), then heads 0 to heads - 1. Nothing else knows it: who needs the graph walks this list.
std::vector<LayerDescription> describe_layers(const Architecture& architecture, int heads);

// Deep supervision knows at most four heads, and a network has one per level of its last diagonal.
int largest_head_count(const Architecture& architecture);

}  // namespace e2enet::model
