// A model file, loaded and checked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "e2enet/export.h"

namespace e2enet {

namespace model {
class Network;
}

// A structure that has a left and a right one.
struct SidePair {
  std::string structure;  // the name without its side, in small letters, words separated by a space
  int left = 0;           // label values
  int right = 0;
};

// An E2ENet with its weights and everything that the pipeline needs to know: how to prepare an image, what the labels
// mean. Immutable and cheap to copy (copies share the weights); any number of threads may use one at the same time.
//
//   e2enet::Model model = e2enet::Model::load("hippocampus.safetensors");
//   for (const auto& [value, name] : model.labels()) std::cout << value << " " << name << "\n";
class E2ENET_API Model {
 public:
  // Reads a model file (docs/model-file.md) and validates every byte that will be used. Throws Error: cannot_read,
  // invalid_model, out_of_memory.
  static Model load(const std::string& path);
  // The same from the bytes of a model file, which are not needed afterwards. `name` stands for it in messages.
  static Model from_bytes(const void* bytes, std::size_t count, const std::string& name = "model");

  const std::string& name() const;  // the path, or the name that was given
  int input_channels() const;
  int classes() const;
  std::array<int, 3> patch_size() const;             // D, H, W in voxels
  const std::map<int, std::string>& labels() const;  // label value -> name; 0 is the background
  int largest_label() const;                         // the largest value that the model can write
  // Which labels are the left and the right of one structure: those that the model names as mirroring each other,
  // or else what the labels' names say ("left caudate", "caudate_l").
  std::vector<SidePair> side_pairs() const;
  std::int64_t parameters() const;         // kept weights, biases and norm parameters
  double flops_paper() const;              // for one patch, the paper's convention (docs/flops.md)
  double flops_executed() const;           // for one patch, what is really computed
  std::string configuration_json() const;  // the configuration of the model file, as JSON (docs/model-file.md)

  // Of the library.
  explicit Model(std::shared_ptr<const model::Network> network, const std::string& name);
  const std::shared_ptr<const model::Network>& network() const { return network_; }

 private:
  std::shared_ptr<const model::Network> network_;
  std::shared_ptr<const std::string> name_;  // shared, so that a copy asks for no memory
};

}  // namespace e2enet
