#include "model/model_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <new>
#include <set>

#include "base/atomic_file.h"
#include "e2enet/error.h"
#include "model/json_text.h"
#include "model/json_writer.h"

namespace e2enet::model {
namespace {

using Json = nlohmann::json;

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Model files are little endian and are read in place; a big-endian machine needs a swap here."
#endif

constexpr std::uint64_t kLargestHeader = 100'000'000;  // the safetensors format's own limit

struct TensorEntry {
  std::string name;
  bool integers = false;  // I32, otherwise F32
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // bytes from the start of the data
  std::uint64_t end = 0;
};

[[noreturn]] void refuse(const std::string& path, const std::string& what, const std::string& expected,
                         const std::string& found) {
  throw Error(ErrorCode::invalid_model, path + ": " + what + ": expected " + expected + ", found " + found);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

// The bytes of a model file, from a file or from memory.
class Reader {
 public:
  Reader(const void* bytes, std::size_t count, const std::string& name)
      : path_(name), memory_(static_cast<const char*>(bytes)), size_(count) {}
  explicit Reader(const std::string& path) : path_(path) {
    std::error_code problem;
    const std::filesystem::file_status status = std::filesystem::status(path, problem);
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
      throw Error(ErrorCode::cannot_read, path + ": expected a model file, found a " +
                                              (std::filesystem::is_directory(status) ? "folder" : "device or pipe"));
    }
    file_.open(path, std::ios::binary);
    if (!file_) throw Error(ErrorCode::cannot_read, path + ": cannot open the model file: " + std::strerror(errno));
    file_.seekg(0, std::ios::end);
    const auto size = file_.tellg();
    if (size < 0) throw Error(ErrorCode::cannot_read, path + ": cannot tell the size of the model file");
    size_ = static_cast<std::uint64_t>(size);
    file_.seekg(0);
  }

  void read(void* into, std::uint64_t bytes, const char* what) {
    if (memory_) {
      if (bytes > size_ - at_) {
        throw Error(ErrorCode::cannot_read, path_ + ": " + what + ": expected " + std::to_string(bytes) +
                                                " bytes, found " + std::to_string(size_ - at_));
      }
      std::memcpy(into, memory_ + at_, static_cast<std::size_t>(bytes));
      at_ += bytes;
      return;
    }
    file_.read(static_cast<char*>(into), static_cast<std::streamsize>(bytes));
    if (static_cast<std::uint64_t>(file_.gcount()) != bytes) {
      throw Error(ErrorCode::cannot_read, path_ + ": " + what + ": expected " + std::to_string(bytes) +
                                              " bytes, found " + std::to_string(file_.gcount()));
    }
  }
  std::uint64_t size() const { return size_; }

 private:
  const std::string& path_;
  std::ifstream file_;
  const char* memory_ = nullptr;
  std::uint64_t size_ = 0;
  std::uint64_t at_ = 0;  // in memory
};

std::string read_header_text(Reader& reader, const std::string& path) {
  if (reader.size() < 8) refuse(path, "size of the file", "at least 8 bytes", std::to_string(reader.size()));
  std::uint64_t length = 0;
  reader.read(&length, 8, "length of the header");
  if (length > kLargestHeader || length > reader.size() - 8) {
    refuse(path, "length of the header",
           "at most " + std::to_string(std::min(kLargestHeader, reader.size() - 8)) +
               " bytes (is this a .safetensors file?)",
           std::to_string(length));
  }
  std::string text(length, '\0');
  reader.read(text.data(), length, "header");
  return text;
}

std::uint64_t read_count(const Json& value, const std::string& path, const std::string& what) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > (std::uint64_t{1} << 40)) {
    refuse(path, what, "a whole number from 0 to 2^40",
           value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60));
  }
  return value.get<std::uint64_t>();
}

std::map<std::string, TensorEntry> read_entries(const Json& header, const std::string& path, std::uint64_t data_bytes) {
  std::map<std::string, TensorEntry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;
    const std::string what = "tensor \"" + printable(name) + "\"";
    if (!value.is_object()) refuse(path, what, "an object", value.type_name());
    for (const char* key : {"dtype", "shape", "data_offsets"}) {
      if (!value.contains(key)) refuse(path, what, std::string("the key \"") + key + "\"", "none");
    }
    TensorEntry entry;
    entry.name = name;
    const std::string type =
        value["dtype"].is_string() ? value["dtype"].get<std::string>() : value["dtype"].type_name();
    entry.integers = type == "I32";
    if (type != "F32" && type != "I32") refuse(path, what + " dtype", "F32 or I32", printable(type));
    const Json& shape = value["shape"];
    if (!shape.is_array() || shape.size() > 4) refuse(path, what + " shape", "a list of at most 4", shape.type_name());
    std::uint64_t count = 1;
    for (const Json& dimension : shape) {
      const std::uint64_t length = read_count(dimension, path, what + " shape");
      if (length && count > (std::uint64_t{1} << 40) / length)
        refuse(path, what + " shape", "at most 2^40 values", "more");
      count *= length;
      entry.shape.push_back(static_cast<std::int64_t>(length));
    }
    const Json& offsets = value["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2)
      refuse(path, what + " data_offsets", "[begin, end]", offsets.type_name());
    entry.begin = read_count(offsets[0], path, what + " data_offsets");
    entry.end = read_count(offsets[1], path, what + " data_offsets");
    const std::string range = "[" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + ")";
    if (entry.begin > entry.end || entry.end > data_bytes) {
      refuse(path, what + " data_offsets", "a range within the file's " + std::to_string(data_bytes) + " bytes of data",
             range);
    }
    if (entry.end - entry.begin != count * 4) {
      refuse(path, what + " data_offsets", std::to_string(count * 4) + " bytes for shape " + shape_text(entry.shape),
             range);
    }
    entries[name] = entry;
  }

  std::vector<const TensorEntry*> by_offset;
  for (const auto& [name, entry] : entries) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(), [](const TensorEntry* a, const TensorEntry* b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  std::uint64_t reached = 0;
  for (const TensorEntry* entry : by_offset) {
    if (entry->begin != reached) {
      refuse(path, "tensor \"" + printable(entry->name) + "\" data_offsets",
             "a begin at byte " + std::to_string(reached) + ", where the tensor before it ends",
             std::to_string(entry->begin));
    }
    reached = entry->end;
  }
  if (reached != data_bytes) {
    refuse(path, "size of the file", std::to_string(reached) + " bytes of data", std::to_string(data_bytes));
  }
  return entries;
}

// Hands out the tensors that the architecture asks for, one by one, and knows which were never asked for.
class TensorTable {
 public:
  TensorTable(const std::string& path, std::map<std::string, TensorEntry> entries)
      : path_(path), entries_(std::move(entries)) {}

  bool has(const std::string& name) const { return entries_.count(name) != 0; }

  // A dimension of -1 in `shape` takes any length.
  const TensorEntry& take(const std::string& name, bool integers, const std::vector<std::int64_t>& shape) {
    const auto at = entries_.find(name);
    if (at == entries_.end()) refuse(path_, "tensors", "a tensor \"" + name + "\"", "none of that name");
    const TensorEntry& entry = at->second;
    const std::string what = "tensor \"" + name + "\"";
    if (entry.integers != integers) refuse(path_, what + " dtype", integers ? "I32" : "F32", integers ? "F32" : "I32");
    bool fits = entry.shape.size() == shape.size();
    for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || shape[i] == entry.shape[i];
    if (!fits) {
      std::string expected = shape_text(shape);
      if (const auto any = expected.find("-1"); any != std::string::npos) expected.replace(any, 2, "any");
      refuse(path_, what + " shape", expected, shape_text(entry.shape));
    }
    taken_.insert(name);
    return entry;
  }
  void expect_all_taken() const {
    for (const auto& [name, entry] : entries_) {
      if (!taken_.count(name))
        refuse(path_, "tensors", "only those of the architecture", "\"" + printable(name) + "\"");
    }
  }
  const std::string& path() const { return path_; }

 private:
  const std::string& path_;
  std::map<std::string, TensorEntry> entries_;
  std::set<std::string> taken_;
};

std::vector<std::int64_t> kernel_shape(const LayerDescription& layer) {
  if (layer.kind == LayerKind::upward_transposed) return {layer.stride[0], layer.stride[1], layer.stride[2]};
  return {3, 3};
}

// Where a layer's tensors lie in the file; shapes and types are right, values are not yet read.
struct LayerTensors {
  const TensorEntry* values = nullptr;
  const TensorEntry* connectivity = nullptr;  // sparse layers only
  const TensorEntry* bias = nullptr;          // convolutions only, as the two below
  const TensorEntry* norm_weight = nullptr;
  const TensorEntry* norm_bias = nullptr;
};

LayerTensors find_tensors(TensorTable& table, const LayerDescription& description) {
  const std::int64_t outputs = description.outputs;
  const std::int64_t inputs = description.inputs();
  const std::string& name = description.name;
  LayerTensors tensors;
  if (description.sparse()) {
    tensors.connectivity = &table.take(name + ".connectivity", true, {-1, 2});
    const std::int64_t kept = tensors.connectivity->shape[0];
    if (kept > inputs * outputs) {
      refuse(table.path(), "tensor \"" + tensors.connectivity->name + "\" shape",
             "at most " + std::to_string(inputs * outputs) + " pairs", std::to_string(kept));
    }
    std::vector<std::int64_t> shape = kernel_shape(description);
    shape.insert(shape.begin(), kept);
    tensors.values = &table.take(name + ".kernels", false, shape);
  } else if (description.kind == LayerKind::head) {
    tensors.values = &table.take(name + ".weight", false, {outputs, inputs});
  } else {
    tensors.values = &table.take(name + ".weight", false, {outputs, inputs, 3, 3});
  }
  if (description.convolution()) {
    tensors.bias = &table.take(name + ".bias", false, {outputs});
    tensors.norm_weight = &table.take(name + ".norm_weight", false, {outputs});
    tensors.norm_bias = &table.take(name + ".norm_bias", false, {outputs});
  }
  return tensors;
}

// Checks and hands out the values of tensors.
class TensorData {
 public:
  TensorData(const std::string& path, const AlignedBuffer& data) : path_(path), data_(data) {}

  const float* floats(const TensorEntry* entry) const {
    if (!entry) return nullptr;
    const auto* values = reinterpret_cast<const float*>(data_.data() + entry->begin);
    const std::uint64_t count = (entry->end - entry->begin) / 4;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (!std::isfinite(values[i])) {
        refuse(path_, "tensor \"" + entry->name + "\" value " + std::to_string(i), "a finite number",
               std::to_string(values[i]));
      }
    }
    return values;
  }

  void read_connectivity(const TensorEntry& entry, Layer& layer) const {
    const auto* pairs = reinterpret_cast<const std::int32_t*>(data_.data() + entry.begin);
    const std::int64_t count = entry.shape[0];
    const std::int64_t outputs = layer.description.outputs;
    const std::int64_t inputs = layer.description.inputs();
    layer.input.resize(static_cast<std::size_t>(count));
    std::int64_t before = -1;
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t output = pairs[2 * k];
      const std::int64_t input = pairs[2 * k + 1];
      const auto refuse_row = [&](const std::string& expected) {
        refuse(path_, "tensor \"" + entry.name + "\" row " + std::to_string(k), expected,
               "(" + std::to_string(output) + ", " + std::to_string(input) + ")");
      };
      if (output < 0 || output >= outputs || input < 0 || input >= inputs) {
        refuse_row("output below " + std::to_string(outputs) + " and input below " + std::to_string(inputs));
      }
      if (output * inputs + input <= before) refuse_row("pairs in increasing order, each once");
      before = output * inputs + input;
      layer.row_begin[static_cast<std::size_t>(output) + 1] = static_cast<std::int32_t>(k + 1);
      layer.input[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(input);
    }
    // Outputs without a kernel begin where the one before them ends.
    for (std::size_t o = 1; o < layer.row_begin.size(); ++o) {
      layer.row_begin[o] = std::max(layer.row_begin[o], layer.row_begin[o - 1]);
    }
  }

 private:
  const std::string& path_;
  const AlignedBuffer& data_;
};

void keep_everything(Layer& layer) {
  const int inputs = layer.description.inputs();
  for (int output = 0; output < layer.description.outputs; ++output) {
    layer.row_begin[static_cast<std::size_t>(output) + 1] = (output + 1) * inputs;
    for (int input = 0; input < inputs; ++input) layer.input.push_back(input);
  }
}

Layer read_layer(const TensorData& data, const LayerDescription& description, const LayerTensors& tensors) {
  Layer layer;
  layer.description = description;
  layer.row_begin.assign(static_cast<std::size_t>(description.outputs) + 1, 0);
  if (tensors.connectivity) {
    data.read_connectivity(*tensors.connectivity, layer);
  } else {
    keep_everything(layer);
  }
  layer.values = data.floats(tensors.values);
  layer.bias = data.floats(tensors.bias);
  layer.norm_weight = data.floats(tensors.norm_weight);
  layer.norm_bias = data.floats(tensors.norm_bias);
  return layer;
}

std::shared_ptr<const Network> read_model(Reader& reader, const std::string& path) {
  const std::string header_text = read_header_text(reader, path);
  const std::uint64_t data_bytes = reader.size() - 8 - header_text.size();
  const JsonDocument document = parse_json(header_text, path + ": header");
  const Json& header = document.value();
  if (!header.is_object()) refuse(path, "header", "a JSON object", header.type_name());
  const auto metadata = header.find("__metadata__");
  if (metadata == header.end() || !metadata->is_object() || !metadata->contains("e2enet") ||
      !(*metadata)["e2enet"].is_string()) {
    refuse(path, "header.__metadata__", "a text under the key \"e2enet\" (an E2ENet model file)", "none");
  }
  Configuration configuration = parse_configuration((*metadata)["e2enet"].get<std::string>(), path, true);

  // All that the header says is checked against the architecture first: only a file that adds up is read into memory.
  TensorTable table(path, read_entries(header, path, data_bytes));
  int heads = 1;
  while (heads < largest_head_count(configuration.architecture) &&
         table.has("head." + std::to_string(heads) + ".weight")) {
    ++heads;
  }
  const std::vector<LayerDescription> descriptions = describe_layers(configuration.architecture, heads);
  std::vector<LayerTensors> tensors;
  for (const LayerDescription& description : descriptions) tensors.push_back(find_tensors(table, description));
  table.expect_all_taken();

  AlignedBuffer storage(data_bytes, "the model's weights");
  reader.read(storage.data(), data_bytes, "tensor data");
  const TensorData data(path, storage);
  std::vector<Layer> layers;
  for (std::size_t i = 0; i < descriptions.size(); ++i) {
    layers.push_back(read_layer(data, descriptions[i], tensors[i]));
  }
  return std::make_shared<const Network>(std::move(configuration), std::move(layers), std::move(storage));
}

}  // namespace

std::shared_ptr<const Network> load_model_file(const std::string& path) {
  try {
    Reader reader(path);
    return read_model(reader, path);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, path + ": no memory for a model of this size");
  }
}

std::shared_ptr<const Network> load_model(const void* bytes, std::size_t count, const std::string& name) {
  try {
    Reader reader(bytes, count, name);
    return read_model(reader, name);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, name + ": no memory for a model of this size");
  }
}

void write_model_file(const std::string& path, const Configuration& configuration, int heads,
                      const std::vector<LayerValues>& layers) {
  struct Piece {
    const void* data;
    std::size_t bytes;
  };
  std::vector<Piece> pieces;
  std::uint64_t offset = 0;
  JsonWriter header;  // tensors in the order of their data
  header.begin_object();
  header.key("__metadata__").begin_object().member("e2enet", configuration_text(configuration)).end_object();
  const auto add = [&](const std::string& name, const char* type, const std::vector<std::int64_t>& shape,
                       const void* data, std::size_t bytes) {
    header.key(name).begin_object().member("dtype", type).array("shape", shape);
    header.array("data_offsets", std::array<std::uint64_t, 2>{offset, offset + bytes}).end_object();
    pieces.push_back({data, bytes});
    offset += bytes;
  };
  const auto add_floats = [&](const std::string& name, std::vector<std::int64_t> shape,
                              const std::vector<float>& values) {
    add(name, "F32", shape, values.data(), values.size() * sizeof(float));
  };

  const std::vector<LayerDescription> descriptions = describe_layers(configuration.architecture, heads);
  for (std::size_t i = 0; i < descriptions.size(); ++i) {
    const LayerDescription& description = descriptions[i];
    const LayerValues& layer = layers.at(i);
    const std::int64_t outputs = description.outputs;
    if (description.sparse()) {
      const auto kept = static_cast<std::int64_t>(layer.connectivity.size() / 2);
      std::vector<std::int64_t> shape = kernel_shape(description);
      shape.insert(shape.begin(), kept);
      add_floats(description.name + ".kernels", shape, layer.values);
      add(description.name + ".connectivity", "I32", {kept, 2}, layer.connectivity.data(),
          layer.connectivity.size() * 4);
    } else if (description.kind == LayerKind::head) {
      add_floats(description.name + ".weight", {outputs, description.inputs()}, layer.values);
    } else {
      add_floats(description.name + ".weight", {outputs, description.inputs(), 3, 3}, layer.values);
    }
    if (description.convolution()) {
      add_floats(description.name + ".bias", {outputs}, layer.bias);
      add_floats(description.name + ".norm_weight", {outputs}, layer.norm_weight);
      add_floats(description.name + ".norm_bias", {outputs}, layer.norm_bias);
    }
  }
  std::string text = header.end_object().text();
  text.append((8 - text.size() % 8) % 8, ' ');

  AtomicFile file(path);
  const std::uint64_t length = text.size();
  file.write(&length, sizeof length);
  file.write(text.data(), text.size());
  for (const Piece& piece : pieces) file.write(piece.data, piece.bytes);
  file.commit();
}

}  // namespace e2enet::model
