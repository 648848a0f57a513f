#include "model/network.h"

#include <utility>

#include "e2enet/error.h"

namespace e2enet::model {

std::int64_t Layer::parameters() const {
  const std::int64_t per_output = description.convolution() ? 3 : 0;  // bias and the norm's two
  return kept() * description.taps() + per_output * description.outputs;
}

Network::Network(Configuration configuration, std::vector<Layer> layers, AlignedBuffer storage)
    : configuration_(std::move(configuration)), layers_(std::move(layers)), storage_(std::move(storage)) {}

const Layer& Network::find(LayerKind kind, const Node& node, int block) const {
  for (const Layer& layer : layers_) {
    if (layer.description.kind == kind && layer.description.node == node && layer.description.block == block)
      return layer;
  }
  throw Error(ErrorCode::internal, "the network has no such layer");
}

const Layer& Network::convolution(const Node& node, int block) const {
  return find(node.stage == 0 ? LayerKind::backbone_convolution : LayerKind::fusion_convolution, node, block);
}
const Layer& Network::upward(const Node& node) const { return find(LayerKind::upward_transposed, node, 0); }
const Layer& Network::head() const {
  return find(LayerKind::head, {0, configuration_.architecture.pooling_steps()}, 0);
}

}  // namespace e2enet::model
