// A model file taken apart without the library's reader, so that tests can make it lie in one place at a time.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace e2enet::test {

std::string read_bytes(const std::string& path);
void write_bytes(const std::string& path, const std::string& bytes);

struct RawModel {
  nlohmann::ordered_json header;
  std::string data;

  static RawModel parse(const std::string& bytes);
  std::string bytes() const;  // with the header padded to a multiple of eight bytes

  nlohmann::ordered_json configuration() const;
  void set_configuration(const nlohmann::ordered_json& configuration);
  void set_configuration_text(const std::string& text);

  // Takes a tensor out and closes the gap, or puts one in at the end: the file around it stays consistent.
  void remove(const std::string& name);
  void append(const std::string& name, const char* type, const std::vector<std::int64_t>& shape,
              const std::string& bytes);

  std::size_t begin(const std::string& name) const { return header[name]["data_offsets"][0].get<std::size_t>(); }
  template <typename T>
  void put(const std::string& name, std::size_t index, T value) {
    data.replace(begin(name) + index * sizeof(T), sizeof(T), reinterpret_cast<const char*>(&value), sizeof(T));
  }
};

// A small network with every kind of layer: two levels of pooling (one anisotropic), all heads, sparse layers.
std::string small_configuration();
// A valid file of it, as the library writes it.
std::string small_model_bytes();

}  // namespace e2enet::test
