#include "model/architecture.h"

#include <algorithm>
#include <numeric>

#include "e2enet/error.h"

namespace e2enet::model {

int Architecture::features(int level) const {
  std::int64_t features = base_features;
  for (int i = 0; i < level && features < max_features; ++i) features *= 2;
  return static_cast<int>(std::min<std::int64_t>(features, max_features));
}

Triple Architecture::extent(const Triple& patch, int level) const {
  Triple extent = patch;
  for (int i = 0; i < level; ++i) {
    for (int axis = 0; axis < 3; ++axis)
      extent[axis] = (extent[axis] + pool_strides[i][axis] - 1) / pool_strides[i][axis];
  }
  return extent;
}

Triple Architecture::patch_multiple() const {
  Triple multiple{1, 1, 1};
  for (const Triple& stride : pool_strides) {
    for (int axis = 0; axis < 3; ++axis) multiple[axis] *= stride[axis];
  }
  return multiple;
}

int LayerDescription::inputs() const { return std::accumulate(source_channels.begin(), source_channels.end(), 0); }

int LayerDescription::taps() const {
  switch (kind) {
    case LayerKind::upward_transposed:
      return stride[0] * stride[1] * stride[2];
    case LayerKind::head:
      return 1;
    case LayerKind::backbone_convolution:
    case LayerKind::fusion_convolution:
      return 9;
  }
  throw Error(ErrorCode::internal, "a kind of layer without a number of taps");
}

int largest_head_count(const Architecture& architecture) { return std::min(4, architecture.pooling_steps() + 1); }

std::vector<LayerDescription> describe_layers(const Architecture& architecture, int heads) {
  const int depth = architecture.pooling_steps();
  std::vector<LayerDescription> layers;
  const auto name = [](const char* group, const Node& node, bool with_stage) {
    std::string text = std::string(group) + "." + std::to_string(node.level);
    if (with_stage) text += "." + std::to_string(node.stage);
    return text;
  };

  for (int level = 0; level <= depth; ++level) {
    const int features = architecture.features(level);
    for (int block = 0; block < 2; ++block) {
      LayerDescription layer;
      layer.kind = LayerKind::backbone_convolution;
      layer.node = {level, 0};
      layer.block = block;
      layer.outputs = features;
      if (block == 1) {
        layer.source_channels = std::vector<int>{features};
      } else if (level == 0) {
        layer.source_channels = std::vector<int>{architecture.input_channels};
      } else {
        layer.source_channels = std::vector<int>{architecture.features(level - 1)};
        layer.stride = architecture.pool_strides[level - 1];
      }
      layer.name = name("backbone", layer.node, false) + "." + std::to_string(block);
      layers.push_back(layer);
    }
  }
  for (int stage = 1; stage <= depth; ++stage) {
    for (int level = 0; level <= depth - stage; ++level) {
      const int features = architecture.features(level);
      LayerDescription up;
      up.kind = LayerKind::upward_transposed;
      up.node = {level, stage};
      up.outputs = features;
      up.source_channels = std::vector<int>{architecture.features(level + 1)};
      up.stride = architecture.pool_strides[level];
      up.name = name("up", up.node, true);
      layers.push_back(up);

      const int blocks = level + stage == depth ? 2 : 1;
      for (int block = 0; block < blocks; ++block) {
        LayerDescription fusion;
        fusion.kind = LayerKind::fusion_convolution;
        fusion.node = {level, stage};
        fusion.block = block;
        fusion.outputs = features;
        fusion.source_channels = std::vector<int>{features};
        if (block == 0) {
          fusion.source_channels.push_back(features);
          if (level > 0) fusion.source_channels.push_back(architecture.features(level - 1));
        }
        fusion.name = name("fusion", fusion.node, true) + "." + std::to_string(block);
        layers.push_back(fusion);
      }
    }
  }
  for (int level = 0; level < heads; ++level) {
    LayerDescription head;
    head.kind = LayerKind::head;
    head.node = {level, depth - level};
    head.outputs = architecture.classes;
    head.source_channels = std::vector<int>{architecture.features(level)};
    head.name = name("head", head.node, false);
    layers.push_back(head);
  }
  return layers;
}

}  // namespace e2enet::model
