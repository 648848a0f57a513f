// A model file, loaded and checked.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace e2enet {

class Segmenter;
namespace model {
class Network;
}

// An E2ENet with its weights and everything that the pipeline needs to know: how to prepare an image, what the labels
// mean. Immutable and cheap to copy (copies share the weights); any number of threads may use one at the same time.
//
//   e2enet::Model model = e2enet::Model::load("hippocampus.safetensors");
//   for (const auto& [value, name] : model.labels()) std::cout << value << " " << name << "\n";
class Model {
 public:
  // Reads a model file (docs/model-file.md) and validates every byte that will be used. Throws Error: cannot_read,
  // invalid_model, out_of_memory.
  static Model load(const std::string& path);

  int input_channels() const;
  int classes() const;
  std::array<int, 3> patch_size() const;             // D, H, W in voxels
  const std::map<int, std::string>& labels() const;  // label value -> name; 0 is the background
  std::int64_t parameters() const;                   // kept weights, biases and norm parameters
  double flops_paper() const;                        // for one patch, the paper's convention (docs/flops.md)
  double flops_executed() const;                     // for one patch, what is really computed

 private:
  friend class Segmenter;
  explicit Model(std::shared_ptr<const model::Network> network);
  std::shared_ptr<const model::Network> network_;
};

}  // namespace e2enet
