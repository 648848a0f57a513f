// Model files that lie, in every field that can: each is refused with an error that names the file and the field, and
// none takes the process with it. Run under the sanitizers this also shows that nothing is read out of bounds.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "e2enet/error.h"
#include "model/model_file.h"
#include "raw_model.h"
#include "support/sanitizers.h"
#include "support/skip.h"
#include "support/temporary_folder.h"

namespace {

using e2enet::Error;
using e2enet::ErrorCode;
using e2enet::test::RawModel;
using e2enet::test::TemporaryFolder;
using Json = nlohmann::ordered_json;

const char* name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::cannot_read:
      return "cannot_read";
    case ErrorCode::invalid_model:
      return "invalid_model";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::invalid_argument:
    case ErrorCode::cannot_write:
    case ErrorCode::invalid_image:
    case ErrorCode::memory_limit:
    case ErrorCode::cancelled:
    case ErrorCode::internal:
      break;
  }
  return "another code";
}

bool one_printable_line(const std::string& text) {
  for (const char c : text) {
    if (c < 0x20 || c > 0x7e) return false;
  }
  return text.size() < 500;
}

// The bytes must be refused as `code` with a message that names the file and has `field` in it.
void refused(const std::string& bytes, const std::string& field, ErrorCode code = ErrorCode::invalid_model) {
  static const TemporaryFolder folder;
  const std::string path = folder.file("strange.safetensors");
  e2enet::test::write_bytes(path, bytes);
  CAPTURE(field);
  try {
    e2enet::model::load_model_file(path);
    FAIL_CHECK("was loaded");
  } catch (const Error& error) {
    const std::string message = error.what();
    CAPTURE(message);
    CHECK(std::string(name_of(error.code())) == name_of(code));
    CHECK(message.find(path) == 0);
    CHECK(message.find(field) != std::string::npos);
    CHECK(one_printable_line(message));
  }
}

void refused(const RawModel& raw, const std::string& field) { refused(raw.bytes(), field); }

RawModel small() { return RawModel::parse(e2enet::test::small_model_bytes()); }

std::string with_header(const std::string& header) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header;
}

// A change to one tensor's entry of the header.
template <typename Value>
void entry_refused(const std::string& tensor, const char* key, const Value& value, const std::string& field) {
  RawModel raw = small();
  raw.header[tensor][key] = value;
  CAPTURE(tensor);
  CAPTURE(key);
  refused(raw, field);
}

const std::string kKernels = "fusion.1.1.0.kernels";
const std::string kConnectivity = "fusion.1.1.0.connectivity";

}  // namespace

TEST_CASE("the file that all the others are made from is taken") {
  const TemporaryFolder folder;
  e2enet::test::write_bytes(folder.file("model"), small().bytes());
  CHECK_NOTHROW(e2enet::model::load_model_file(folder.file("model")));
}

TEST_CASE("what is no readable file is refused") {
  const TemporaryFolder folder;
  const auto fails = [](const std::string& path, const std::string& text) {
    CAPTURE(path);
    try {
      e2enet::model::load_model_file(path);
      FAIL_CHECK("was loaded");
    } catch (const Error& error) {
      CHECK(std::string(name_of(error.code())) == "cannot_read");
      CHECK(std::string(error.what()).find(path) == 0);
      CHECK(std::string(error.what()).find(text) != std::string::npos);
    }
  };
  fails(folder.file("missing"), "No such file");
  fails(folder.path(), "folder");
  REQUIRE(mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  fails(folder.file("pipe"), "pipe");  // opening it would wait for ever
  fails("/dev/zero", "device");
}

TEST_CASE("a file cut short anywhere is refused") {
  const std::string whole = e2enet::test::small_model_bytes();
  std::uint64_t header = 0;
  std::memcpy(&header, whole.data(), 8);
  for (std::size_t size = 0; size < 8; ++size) refused(whole.substr(0, size), "size of the file");
  for (std::size_t size = 8; size < 8 + header; size += 97) refused(whole.substr(0, size), "length of the header");
  refused(whole.substr(0, 8 + header - 1), "length of the header");
  for (std::size_t size = 8 + header; size < whole.size(); size += 1009) refused(whole.substr(0, size), "data_offsets");
  refused(whole.substr(0, whole.size() - 1), "data_offsets");
  refused(whole.substr(0, whole.size() - 4), "data_offsets");
}

TEST_CASE("bytes behind the last tensor are refused") {
  refused(e2enet::test::small_model_bytes() + "x", "size of the file");
  refused(e2enet::test::small_model_bytes() + std::string(4096, '\0'), "size of the file");
}

TEST_CASE("a header length that the file cannot hold is refused before anything of that size is taken") {
  std::string bytes = e2enet::test::small_model_bytes();
  for (const std::uint64_t length : {std::uint64_t(bytes.size()) - 7, std::uint64_t(1) << 32, std::uint64_t(1) << 63,
                                     ~std::uint64_t(0), ~std::uint64_t(0) - 7}) {
    CAPTURE(length);
    bytes.replace(0, 8, reinterpret_cast<const char*>(&length), 8);
    refused(bytes, "length of the header");
  }
  // The right length with its bytes the wrong way round, as a big-endian writer would leave it.
  std::string swapped = e2enet::test::small_model_bytes();
  std::reverse(swapped.begin(), swapped.begin() + 8);
  refused(swapped, "length of the header");
}

TEST_CASE("a header that is not one JSON object with each key once is refused") {
  refused(with_header(""), "header");
  refused(with_header("{"), "header");
  refused(with_header("[1, 2]"), "header");
  refused(with_header("null"), "header");
  refused(with_header("{} {}"), "header");
  refused(with_header("{\"a\": \x01}"), "header");
  refused(with_header("{\"a\": NaN}"), "header");
  refused(with_header("{\"a\": 1e999}"), "header");
  refused(with_header("{\"a\": \"" + std::string(1'000'000, 'x')), "header");  // and the message does not repeat it all
  refused(with_header("\x80\x02}q\x00."), "header");                           // a pickle
  refused(with_header("{\"\xff\xfe\": {}}"), "header");                        // no UTF-8
  refused(with_header("{\"\xc3\": {}}"), "header");
  refused(with_header("{\"\xed\xa0\x80\": {}}"), "header");  // a lone surrogate
  refused(with_header(std::string("{}\0\0\0\0\0\0", 8)), "header");

  std::string twice = small().header.dump();
  twice.insert(twice.size() - 1, ",\"head.0.weight\":" + small().header["head.0.weight"].dump());
  refused(with_header(twice) + small().data, "\"head.0.weight\" twice");
  std::string key_twice = small().header.dump();
  key_twice.insert(key_twice.find("\"dtype\""), "\"dtype\":\"F32\",");
  refused(with_header(key_twice) + small().data, "\"dtype\" twice");
}

TEST_CASE("nesting and numbers of values that no model needs are refused, in header and configuration") {
  const std::string brackets(3'000'000, '[');
  refused(with_header(brackets), "levels");
  refused(with_header("{\"a\":" + brackets + std::string(brackets.size(), ']') + "}"), "levels");
  std::string objects;
  for (int i = 0; i < 500'000; ++i) objects += "{\"a\":";
  refused(with_header(objects), "levels");
  std::string zeros = "[0";
  for (int i = 0; i < 3'000'000; ++i) zeros += ",0";
  refused(with_header(zeros + "]"), "values");

  for (const char* key : {"provenance", "labels", "classes"}) {
    CAPTURE(key);
    RawModel raw = small();
    std::string text = raw.configuration().dump();
    const std::string quoted = std::string("\"") + key + "\":";
    text.replace(text.find(quoted), quoted.size(),
                 quoted + std::string(1'000'000, '[') + std::string(1'000'000, ']') + ",\"x\":");
    raw.set_configuration_text(text);
    refused(raw, "e2enet: expected JSON of at most");
  }
}

TEST_CASE("metadata without a configuration is refused") {
  for (const char* text : {"{}", R"({"format": "pt"})", R"({"e2enet": 1})", R"({"e2enet": {"format_version": 1}})",
                           "[]", "null", "\"e2enet\""}) {
    CAPTURE(text);
    RawModel raw = small();
    raw.header["__metadata__"] = Json::parse(text);
    refused(raw, "__metadata__");
  }
  RawModel none = small();
  none.header.erase("__metadata__");
  refused(none, "__metadata__");

  for (const char* text : {"", "x", "[]", "{", "1", "{\"classes\": 1, \"classes\": 2}", "{\"a\": \"\\ud800\"}"}) {
    CAPTURE(text);
    RawModel raw = small();
    raw.set_configuration_text(text);
    refused(raw, "e2enet");
  }
}

TEST_CASE("a tensor that is missing is refused by name") {
  const RawModel whole = small();
  for (const auto& [name, value] : whole.header.items()) {
    if (name == "__metadata__" || name == "head.2.weight") continue;  // the last head may be absent
    RawModel raw = whole;
    raw.remove(name);
    refused(raw, name == "head.1.weight" ? "\"head.2.weight\"" : "\"" + name + "\"");
  }
}

TEST_CASE("a tensor that the architecture does not know is refused by name") {
  for (const char* name :
       {"backbone.3.0.weight", "fusion.0.3.0.kernels", "head.3.weight", "weight", "", "head.0.bias"}) {
    RawModel raw = small();
    raw.append(name, "F32", {2}, std::string(8, '\0'));
    refused(raw, std::string("\"") + name + "\"");
  }
  RawModel raw = small();
  raw.append("line\nbreak \x1b[31m" + std::string(1000, 'y'), "F32", {}, std::string(4, '\0'));
  refused(raw, "line?break ?[31my");
}

TEST_CASE("an entry of the header that is not dtype, shape and data_offsets is refused") {
  for (const char* text : {"1", "null", "[]", "\"F32\"", "{}"}) {
    CAPTURE(text);
    RawModel raw = small();
    raw.header[kKernels] = Json::parse(text);
    refused(raw, kKernels);
  }
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    RawModel raw = small();
    raw.header[kKernels].erase(key);
    refused(raw, std::string("\"") + key + "\"");
    refused(raw, kKernels);
  }
}

TEST_CASE("a dtype that is another or none is refused") {
  for (const char* type : {"F16", "BF16", "F64", "I64", "U8", "BOOL", "f32", "", "F32\n"}) {
    entry_refused(kKernels, "dtype", type, kKernels + "\" dtype");
  }
  entry_refused(kKernels, "dtype", 32, kKernels + "\" dtype");
  entry_refused(kKernels, "dtype", nullptr, kKernels + "\" dtype");
  entry_refused(kKernels, "dtype", "I32", kKernels + "\" dtype");
  entry_refused(kConnectivity, "dtype", "F32", kConnectivity + "\" dtype");
  entry_refused("backbone.0.0.bias", "dtype", "I32", "backbone.0.0.bias\" dtype");
}

TEST_CASE("a shape that is another or none is refused") {
  const std::string weight = "backbone.1.0.weight";  // (8, 4, 3, 3)
  for (const char* shape : {"[4, 8, 3, 3]",
                            "[8, 36]",
                            "[288]",
                            "[8, 4, 9]",
                            "[8, 4, 1, 9]",
                            "[1, 8, 4, 3, 3]",
                            "[]",
                            "[8, 4, 3]",
                            "[8, 4, 3, 4]",
                            "[0, 4, 3, 3]",
                            "[-8, -4, 3, 3]",
                            "[8.0, 4, 3, 3]",
                            "[\"8\", 4, 3, 3]",
                            "[null, 4, 3, 3]",
                            "{}",
                            "288",
                            "\"8\"",
                            "[4294967304, 4, 3, 3]",
                            "[18446744073709551615, 4, 3, 3]",
                            "[18446744073709551624, 4, 3, 3]",
                            "[1099511627776, 1099511627776, 3, 3]",
                            "[4294967296, 4294967296, 1, 1]",
                            "[1e3, 4, 3, 3]"}) {
    CAPTURE(shape);
    entry_refused(weight, "shape", Json::parse(shape), "tensor \"" + weight + "\"");
  }
  // Counts of kept kernels that do not belong together, in files whose sizes are consistent.
  RawModel fewer = small();
  const auto kept = fewer.header[kKernels]["shape"][0].get<std::int64_t>();
  fewer.remove(kKernels);
  fewer.append(kKernels, "F32", {kept - 1, 3, 3}, std::string(static_cast<std::size_t>(kept - 1) * 36, '\0'));
  refused(fewer, kKernels + "\" shape");
  RawModel more = small();
  const std::int64_t pairs = 8 * (8 + 8 + 4) + 1;  // one more than outputs x inputs of x[1][1]
  more.remove(kConnectivity);
  more.append(kConnectivity, "I32", {pairs, 2}, std::string(static_cast<std::size_t>(pairs) * 8, '\0'));
  refused(more, kConnectivity + "\" shape");
  RawModel triples = small();
  triples.header[kConnectivity]["shape"] = {kept * 2 / 3, 3};
  refused(triples, kConnectivity);
}

TEST_CASE("byte ranges that overlap, leave gaps or leave the file are refused") {
  const RawModel whole = small();
  const std::size_t begin = whole.begin(kKernels);
  const std::size_t end = whole.header[kKernels]["data_offsets"][1].get<std::size_t>();
  const std::size_t size = whole.data.size();
  const std::vector<std::pair<Json, Json>> ranges = {
      {begin + 4, end + 4},
      {begin - 4, end - 4},
      {end, begin},
      {begin, end + 4},
      {begin, end - 4},
      {begin, begin},
      {0, end - begin},
      {size, size + end - begin},
      {begin, size + 4},
      {size - 4, size},
      {-4, end},
      {begin, -1},
      {0.5, end},
      {"0", end},
      {nullptr, end},
      {begin, 1e18},
      {std::uint64_t(1) << 40, (std::uint64_t(1) << 40) + end - begin},
      {~std::uint64_t(0) - 3, end},
      {begin, ~std::uint64_t(0)},
  };
  for (const auto& range : ranges) {
    const auto first = range.first, last = range.second;
    CAPTURE(first);
    CAPTURE(last);
    RawModel raw = whole;
    raw.header[kKernels]["data_offsets"] = Json::array({first, last});
    refused(raw, "data_offsets");
  }
  for (const char* text : {"[0]", "[0, 4, 8]", "{}", "0", "null"}) {
    entry_refused(kKernels, "data_offsets", Json::parse(text), kKernels + "\" data_offsets");
  }

  // Two tensors of one size that share their bytes; the rest moves down so that nothing but the overlap is wrong.
  RawModel shared = whole;
  shared.remove("backbone.0.0.norm_bias");
  shared.header["backbone.0.0.norm_bias"] = shared.header["backbone.0.0.norm_weight"];
  refused(shared, "data_offsets");

  RawModel gap = whole;
  gap.data.insert(begin, 4, '\0');
  for (auto& [name, value] : gap.header.items()) {
    if (name == "__metadata__" || value["data_offsets"][0] < begin) continue;
    for (auto& offset : value["data_offsets"]) offset = offset.get<std::size_t>() + 4;
  }
  refused(gap, "data_offsets");
}

TEST_CASE("tensors in another order in the file are taken: only their ranges count") {
  RawModel raw = small();
  const std::size_t begin = raw.begin(kKernels);
  const std::size_t size = raw.header[kKernels]["data_offsets"][1].get<std::size_t>() - begin;
  const Json shape = raw.header[kKernels]["shape"];
  const std::string kernels = raw.data.substr(begin, size);
  raw.remove(kKernels);
  raw.append(kKernels, "F32", shape.get<std::vector<std::int64_t>>(), kernels);
  const TemporaryFolder folder;
  e2enet::test::write_bytes(folder.file("model"), raw.bytes());
  CHECK_NOTHROW(e2enet::model::load_model_file(folder.file("model")));
}

TEST_CASE("connectivity out of range, unsorted or repeated is refused with its row") {
  const RawModel whole = small();
  const std::int32_t bad_outputs[] = {-1, 8, 1 << 24, INT32_MIN, INT32_MAX};
  for (const std::int32_t value : bad_outputs) {
    RawModel raw = whole;
    raw.put<std::int32_t>(kConnectivity, 2 * 3, value);
    refused(raw, kConnectivity + "\" row 3");
  }
  for (const std::int32_t value : {-1, 20, 1 << 24, INT32_MIN, INT32_MAX}) {
    RawModel raw = whole;
    raw.put<std::int32_t>(kConnectivity, 2 * 3 + 1, value);
    refused(raw, kConnectivity + "\" row 3");
  }
  const auto pair = [&](std::size_t row) {
    std::int64_t value = 0;
    std::memcpy(&value, whole.data.data() + whole.begin(kConnectivity) + row * 8, 8);
    return value;
  };
  RawModel twice = whole;
  twice.put(kConnectivity, 4, pair(3));
  refused(twice, kConnectivity + "\" row 4");
  RawModel unsorted = whole;
  unsorted.put(kConnectivity, 3, pair(4));
  unsorted.put(kConnectivity, 4, pair(3));
  refused(unsorted, kConnectivity + "\" row 4");

  // Every byte of the connectivity the wrong way round.
  RawModel swapped = whole;
  const std::size_t begin = swapped.begin(kConnectivity);
  const std::size_t end = swapped.header[kConnectivity]["data_offsets"][1].get<std::size_t>();
  for (std::size_t i = begin; i < end; i += 4) std::reverse(swapped.data.begin() + i, swapped.data.begin() + i + 4);
  refused(swapped, kConnectivity + "\" row");
}

TEST_CASE("weights that are not finite are refused, in every tensor") {
  const RawModel whole = small();
  for (const auto& [name, value] : whole.header.items()) {
    if (name == "__metadata__" || value["dtype"] == "I32") continue;
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
      const std::size_t count =
          (value["data_offsets"][1].get<std::size_t>() - value["data_offsets"][0].get<std::size_t>()) / 4;
      RawModel raw = whole;
      raw.put(name, count - 1, bad);
      refused(raw, "\"" + name + "\" value " + std::to_string(count - 1));
    }
  }
}

TEST_CASE("an architecture that its tensors are not of is refused") {
  const std::vector<std::pair<const char*, const char*>> changes = {
      {"input_channels", "2000"},
      {"classes", "30000"},
      {"base_features", "16384"},
      {"max_features", "8"},
      {"pool_strides", "[[2,2,2],[2,2,2]]"},
      {"pool_strides", "[[1,2,2]]"},
      {"pool_strides",
       "[[1,2,2],[2,2,2],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1]]"},
  };
  for (const auto& change : changes) {
    const auto key = change.first, text = change.second;
    CAPTURE(key);
    RawModel raw = small();
    Json configuration = raw.configuration();
    configuration[key] = Json::parse(text);
    if (std::string(key) == "input_channels") configuration["preprocessing"].erase("normalization");
    raw.set_configuration(configuration);
    refused(raw, "tensor");
  }
}

// The claim must be refused before it is believed: under this limit its memory could not be had.
TEST_CASE("what a header claims is not allocated") {
  if (e2enet::test::kAddressSanitizer || e2enet::test::kThreadSanitizer)
    E2ENET_SKIP("the sanitizer needs more address space than this test leaves");
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  long pages = 0;
  FILE* statm = std::fopen("/proc/self/statm", "r");
  REQUIRE(statm);
  REQUIRE(std::fscanf(statm, "%ld", &pages) == 1);
  std::fclose(statm);
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(pages) * 4096 + (rlim_t(64) << 20);

  const auto huge = [](const char* key, const char* value) {
    RawModel raw = small();
    Json configuration = raw.configuration();
    configuration[key] = Json::parse(value);
    raw.set_configuration(configuration);
    return raw.bytes();
  };
  RawModel shape = small();
  shape.header[kKernels]["shape"] = {1099511627776, 1, 1};
  shape.header[kKernels]["data_offsets"] = {0, 4398046511104};
  RawModel connectivity = small();
  connectivity.header[kConnectivity]["shape"] = {137438953472, 2};
  const std::string files[] = {huge("base_features", "16384"), huge("classes", "32767"), shape.bytes(),
                               connectivity.bytes()};
  REQUIRE(setrlimit(RLIMIT_AS, &tight) == 0);
  for (const std::string& file : files) refused(file, "tensor");
  setrlimit(RLIMIT_AS, &before);
}

// Whatever a file holds, it is loaded or refused with an Error.
TEST_CASE("thousands of random changes to a file never do worse than being refused") {
  const std::string whole = e2enet::test::small_model_bytes();
  std::uint64_t header = 0;
  std::memcpy(&header, whole.data(), 8);
  const TemporaryFolder folder;
  const std::string path = folder.file("changed.safetensors");
  int loaded = 0;
  int refusals = 0;
  for (std::uint32_t seed = 0; seed < 6000; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
    std::string bytes = whole;
    // Half of the changes in the header, where most of what can lie is said.
    const std::size_t reach = seed % 2 ? bytes.size() : 8 + header;
    const std::size_t changes = 1 + below(3);
    for (std::size_t i = 0; i < changes; ++i) {
      const std::size_t at = below(std::min(reach, bytes.size()));
      switch (below(6)) {
        case 0:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
          break;
        case 1:
          bytes[at] = static_cast<char>(below(256));
          break;
        case 2:
          bytes[at] = "0123456789-,:[]{}\"."[below(19)];
          break;
        case 3:
          bytes.erase(at, 1 + below(16));
          break;
        case 4:
          bytes.insert(at, bytes.substr(below(bytes.size()), 1 + below(16)));
          break;
        default:  // a digit for a digit: the header stays JSON, and lies
          for (std::size_t from = at; from < bytes.size(); ++from) {
            if (bytes[from] < '0' || bytes[from] > '9') continue;
            bytes[from] = static_cast<char>('0' + below(10));
            break;
          }
      }
    }
    e2enet::test::write_bytes(path, bytes);
    CAPTURE(seed);
    try {
      e2enet::model::load_model_file(path);
      ++loaded;
    } catch (const Error& error) {
      ++refusals;
      const std::string message = error.what();
      CAPTURE(message);
      CHECK(message.find(path) == 0);
      CHECK(one_printable_line(message));
    } catch (const std::exception& other) {
      FAIL_CHECK("not an Error: " << other.what());
    }
  }
  // Both must occur, or the test does not test.
  CHECK(loaded > 100);
  CHECK(refusals > 1000);
}
