#include "model/network.h"

#include <algorithm>
#include <utility>

#include "e2enet/error.h"

namespace e2enet::model {

std::int64_t Layer::parameters() const {
  const std::int64_t per_output = description.convolution() ? 3 : 0;  // bias and the norm's two
  return kept() * description.taps() + per_output * description.outputs;
}

Network::Network(Configuration configuration, std::vector<Layer> layers, AlignedBuffer storage)
    : configuration_(std::move(configuration)), layers_(std::move(layers)), storage_(std::move(storage)) {}

std::shared_ptr<const Network> Network::without_kernels() const {
  std::vector<Layer> layers = layers_;
  std::size_t floats = 0;
  // Calls visit(pointer, count) for each of the values that stay.
  const auto for_each_kept = [&](const auto& visit) {
    for (Layer& layer : layers) {
      const auto outputs = static_cast<std::size_t>(layer.description.outputs);
      if (layer.bias) visit(layer.bias, outputs);
      if (layer.norm_weight) visit(layer.norm_weight, outputs);
      if (layer.norm_bias) visit(layer.norm_bias, outputs);
      if (layer.values) visit(layer.values, static_cast<std::size_t>(layer.kept()) * layer.description.taps());
    }
  };
  for (Layer& layer : layers) {
    if (layer.description.kind == LayerKind::head) continue;
    layer.values = nullptr;
    layer.input = {};
  }
  for_each_kept([&](const float*, std::size_t count) { floats += count; });
  AlignedBuffer storage(floats * sizeof(float), "the model's norms and head");
  auto* to = reinterpret_cast<float*>(storage.data());
  for_each_kept([&](const float*& values, std::size_t count) {
    std::copy_n(values, count, to);
    values = to;
    to += count;
  });
  return std::make_shared<const Network>(configuration_, std::move(layers), std::move(storage));
}

std::int64_t Network::kernel_bytes() const {
  std::int64_t kept = 0;
  std::size_t connectivity = 0;
  for (const Layer& layer : layers_) {
    const auto outputs = std::int64_t{layer.description.outputs};
    kept += layer.description.convolution() ? 3 * outputs : 0;
    if (layer.description.kind == LayerKind::head) {
      kept += layer.kept() * layer.description.taps();
    } else {
      connectivity += layer.input.capacity() * sizeof(std::int32_t);
    }
  }
  return static_cast<std::int64_t>(storage_.size() + connectivity) - kept * std::int64_t{sizeof(float)};
}

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
