#include "model/flops.h"

#include "e2enet/error.h"

namespace e2enet::model {

Flops count_flops(const Network& network, const Layer& layer, const Extent& patch) {
  const LayerDescription& description = layer.description;
  const Extent extent = network.architecture().extent(patch, description.node.level);
  const double voxels = double(extent[0]) * extent[1] * extent[2];
  const double values = double(layer.kept()) * description.taps();
  switch (description.kind) {
    case LayerKind::head:
      if (description.node.level != 0) return {};
      return {2 * voxels * values, 2 * voxels * values};
    case LayerKind::upward_transposed:
      return {2 * voxels * values, 2 * voxels * values / description.taps()};
    case LayerKind::backbone_convolution:
    case LayerKind::fusion_convolution:
      return {2 * voxels * (values + description.outputs), 2 * voxels * values};
  }
  throw Error(ErrorCode::internal, "a kind of layer whose operations nobody counts");
}

Flops count_flops(const Network& network, const Extent& patch) {
  Flops total;
  for (const Layer& layer : network.layers()) {
    const Flops flops = count_flops(network, layer, patch);
    total.paper += flops.paper;
    total.executed += flops.executed;
  }
  return total;
}

std::int64_t count_parameters(const Network& network) {
  std::int64_t parameters = 0;
  for (const Layer& layer : network.layers()) parameters += layer.parameters();
  return parameters;
}

}  // namespace e2enet::model
