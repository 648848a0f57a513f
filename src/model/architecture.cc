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

Extent Architecture::extent(const Extent& patch, int level) const {
  Extent extent = patch;
  for (int i = 0; i < level; ++i) {
    for (int axis = 0; axis < 3; ++axis)
      extent[axis] = (extent[axis] + pool_strides[i][axis] - 1) / pool_strides[i][axis];
  }
  return extent;
}

Extent Architecture::patch_multiple() const {
  Extent multiple{1, 1, 1};
  for (const Stride& stride : pool_strides) {
    for (int axis = 0; axis < 3; ++axis) multiple[axis] *= stride[axis];
  }
  return multiple;
}

std::string node_name(const Node& node) {
  return "x[" + std::to_string(node.level) + "][" + std::to_string(node.stage) + "]";
}

const char* layer_kind_name(LayerKind kind) {
  switch (kind) {
    case LayerKind::backbone_convolution:
      return "backbone";
    case LayerKind::fusion_convolution:
      return "fusion";
    case LayerKind::upward_transposed:
      return "upward";
    case LayerKind::head:
      return "head";
  }
  throw Error(ErrorCode::internal, "a kind of layer without a name");
}

std::vector<int> LayerDescription::source_channels() const {
  std::vector<int> channels;
  for (const LayerSource& source : sources) channels.push_back(source.channels);
  return channels;
}

int LayerDescription::inputs() const {
  return std::accumulate(sources.begin(), sources.end(), 0,
                         [](int sum, const LayerSource& source) { return sum + source.channels; });
}

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
  const auto source = [&](Flow flow, const Node& node) {
    return LayerSource{flow, node, architecture.features(node.level)};
  };
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
        layer.sources.push_back(source(Flow::feature, layer.node));
      } else if (level == 0) {
        layer.sources.push_back({Flow::image, {}, architecture.input_channels});
      } else {
        layer.sources.push_back(source(Flow::feature, {level - 1, 0}));
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
      up.sources.push_back(source(Flow::feature, {level + 1, stage - 1}));
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
        if (block == 0) {
          fusion.sources.push_back(source(Flow::feature, {level, stage - 1}));
          fusion.sources.push_back({Flow::upward, {level + 1, stage - 1}, features});
          if (level > 0) fusion.sources.push_back(source(Flow::downward, {level - 1, stage - 1}));
        } else {
          fusion.sources.push_back(source(Flow::feature, fusion.node));
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
    head.sources.push_back(source(Flow::feature, head.node));
    head.name = name("head", head.node, false);
    layers.push_back(head);
  }
  for (const LayerDescription& reader : layers) {
    for (const LayerSource& read : reader.sources) {
      if (read.flow != Flow::downward) continue;
      // From the end: the last block of the node comes first.
      const auto last = std::find_if(layers.rbegin(), layers.rend(), [&](const LayerDescription& layer) {
        return layer.convolution() && layer.node == read.node;
      });
      last->flows_down = true;
    }
  }
  return layers;
}

}  // namespace e2enet::model
