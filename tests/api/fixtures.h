// Small models and images for tests of the public API.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "e2enet/e2enet.h"
#include "model/random_model.h"
#include "support/temporary_folder.h"

namespace e2enet::test {

inline Model random_model(const std::string& configuration) {
  const TemporaryFolder folder;
  model::write_random_model(configuration, "test", 11, folder.file("model"));
  return Model::load(folder.file("model"));
}

// Two channels, three classes, patch 8x16x12, two poolings, sparse. `extra` is put into the configuration: keys with a
// leading comma.
inline Model small_model(const std::string& extra = "") {
  return random_model(R"({"classes": 3, "base_features": 6, "density": 0.4, "input_channels": 2,
                          "pool_strides": [[1, 2, 2], [2, 2, 2]], "patch_size": [8, 16, 12])" +
                      extra + "}");
}

// Channels of float32 in memory, and where they lie: what tests change before an Image is made of it.
struct TestView {
  Geometry geometry;
  std::vector<const float*> channels;

  operator Image() const {  // NOLINT: so that tests read as calls of the API do
    std::vector<ArrayView> arrays;
    for (const float* channel : channels) arrays.push_back({channel});
    return Image::from_arrays(geometry, arrays);
  }
};

// An image in memory: smooth structure and noise, zero near the border.
struct TestImage {
  std::vector<std::vector<float>> channels;
  TestView view;

  explicit TestImage(const Shape& shape, int count = 2, std::uint32_t seed = 1) {
    std::mt19937 random(seed);
    view.geometry.shape = shape;
    for (int c = 0; c < count; ++c) {
      std::vector<float> values;
      for (std::int64_t d = 0; d < shape[0]; ++d) {
        for (std::int64_t h = 0; h < shape[1]; ++h) {
          for (std::int64_t w = 0; w < shape[2]; ++w) {
            const bool border = w == 0 && shape[2] > 4;
            const double smooth =
                std::sin(0.3 * double(d + c)) + std::cos(0.2 * double(h)) * std::sin(0.25 * double(w));
            values.push_back(border ? 0.0f : float(100 * smooth + double(random() % 1000) * 0.03));
          }
        }
      }
      channels.push_back(std::move(values));
    }
    for (const std::vector<float>& channel : channels) view.channels.push_back(channel.data());
  }
  TestImage(const TestImage&) = delete;

  std::size_t voxels() const { return static_cast<std::size_t>(view.geometry.voxels()); }
};

}  // namespace e2enet::test
