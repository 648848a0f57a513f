#include "raw_model.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "model/random_model.h"
#include "support/temporary_folder.h"

namespace e2enet::test {

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path);
}

RawModel RawModel::parse(const std::string& bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  return {nlohmann::ordered_json::parse(bytes.substr(8, length)), bytes.substr(8 + length)};
}

std::string RawModel::bytes() const {
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + text + data;
}

nlohmann::ordered_json RawModel::configuration() const {
  return nlohmann::ordered_json::parse(header["__metadata__"]["e2enet"].get<std::string>());
}
void RawModel::set_configuration(const nlohmann::ordered_json& configuration) {
  set_configuration_text(configuration.dump());
}
void RawModel::set_configuration_text(const std::string& text) { header["__metadata__"]["e2enet"] = text; }

void RawModel::remove(const std::string& name) {
  const std::size_t at = begin(name);
  const std::size_t size = header[name]["data_offsets"][1].get<std::size_t>() - at;
  data.erase(at, size);
  header.erase(name);
  for (auto& [other, value] : header.items()) {
    if (other == "__metadata__" || value["data_offsets"][0] < at) continue;
    value["data_offsets"][0] = value["data_offsets"][0].get<std::size_t>() - size;
    value["data_offsets"][1] = value["data_offsets"][1].get<std::size_t>() - size;
  }
}

void RawModel::append(const std::string& name, const char* type, const std::vector<std::int64_t>& shape,
                      const std::string& bytes) {
  header[name] = {{"dtype", type}, {"shape", shape}, {"data_offsets", {data.size(), data.size() + bytes.size()}}};
  data += bytes;
}

std::string small_configuration() {
  return R"({"input_channels": 2, "classes": 3, "base_features": 4, "max_features": 12, "groups": 3,
             "pool_strides": [[1, 2, 2], [2, 2, 2]], "patch_size": [4, 8, 12], "density": 0.3,
             "fusion_density_by_level": {"0": 0.5},
             "labels": {"0": "background", "1": "liver", "2": "tumour"}, "mirror_axes": [1, 2], "mirrored_labels": [[2, 1]],
             "preprocessing": {"spacing": [2.5, 0.75, 0.75], "transpose_forward": [1, 0, 2], "orientation": "LPS",
                               "normalization": [{"scheme": "CT", "clip": [-100, 250.5], "mean": 40, "sd": 60.25},
                                                 {"scheme": "nonCT", "use_mask": true}]},
             "postprocessing": {"largest_component": [1]}, "algorithm_name": "liver finder",
             "label_concepts": {"1": {"category": ["123037004", "SCT", "Anatomical Structure"],
                                      "type": ["10200004", "SCT", "Liver"], "color": [1, 20, 255]}, "2": {}},
             "training_images": {"extent_mm": [[10, 20], [30.5, 40], [50, 50]],
                                 "input_quantiles": [[[-1, -0.5], [0, 0], [0, 1], [1, 2], [2, 3]],
                                                     [[-2, -1], [0, 1], [1, 1], [1, 2], [2, 4]]],
                                 "volumes_ml": {"1": [1000, 2000.5], "2": [0, 3]}},
             "provenance": {"data": "none", "licence": "CC0-1.0", "scores": {"dice": [0.5, 1]}}})";
}

std::string small_model_bytes() {
  static const std::string bytes = [] {
    const TemporaryFolder folder;
    model::write_random_model(small_configuration(), "small", 7, folder.file("small.safetensors"));
    return read_bytes(folder.file("small.safetensors"));
  }();
  return bytes;
}

}  // namespace e2enet::test
