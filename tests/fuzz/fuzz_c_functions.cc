// libFuzzer entry: whatever a caller in C passes as an image, as options and as a request, the call succeeds with
// labels that the model has, or returns an error with one line of text. Pointers are valid and as long as the shape and
// the strides say, which no library can check.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "e2enet/e2enet_c.h"
#include "input_bytes.h"
#include "model/random_model.h"
#include "support/temporary_folder.h"

namespace {

e2enet_model* model() {
  static e2enet_model* const loaded = [] {
    const e2enet::test::TemporaryFolder folder;
    const std::string path = folder.file("model");
    e2enet::model::write_random_model(R"({"classes": 3, "base_features": 2, "density": 0.5, "input_channels": 2,
        "pool_strides": [[1, 2, 2], [2, 2, 2]], "patch_size": [4, 8, 4], "labels": {"0": "background", "1": "a"},
        "preprocessing": {"spacing": [1.5, 1, 2], "orientation": "RAS",
                          "normalization": [{"scheme": "nonCT", "use_mask": true}, {"scheme": "nonCT"}]}})",
                                      "fuzz", 1, path);
    e2enet_model* result = nullptr;
    if (e2enet_model_load(path.c_str(), &result) != E2ENET_OK) std::abort();
    return result;
  }();
  return loaded;
}

void check(e2enet_status status) {
  if (status == E2ENET_OK) return;
  const std::string text = e2enet_last_error();
  if (text.empty() || text.find('\n') != std::string::npos) std::abort();
  if (status == E2ENET_INTERNAL) std::abort();
}

// Mostly numbers that make sense, so that what lies behind the checks is reached too.
double number(e2enet::test::InputBytes& input, double usual) {
  const unsigned how = input.take<std::uint8_t>();
  if (how < 160) return usual;
  if (how < 224) return usual * (1 + double(how - 160) / 16);
  return input.take<double>();
}

std::int64_t extent(e2enet::test::InputBytes& input) {
  const unsigned how = input.take<std::uint8_t>();
  if (how < 240) return 1 + how % 13;
  const std::int64_t value = input.take<std::int64_t>();
  // What would have to be refused, whatever the others are: there are no voxels for it.
  return value > 0 ? std::numeric_limits<std::int64_t>::max() - value % 1000 : value;
}

int stop(void* context, int, std::int64_t, std::int64_t, double) { return (*static_cast<int*>(context))-- > 0; }

int stop_labels(void* context, std::int64_t, std::int64_t, const std::uint16_t*) {
  return (*static_cast<int*>(context))-- <= 0;
}

constexpr std::size_t kBytes[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};  // of E2ENET_UINT8 to E2ENET_FLOAT64

// One channel as a caller may hold it: any type, any order of axes, each of them forwards or backwards, with gaps.
struct Channel {
  std::vector<unsigned char> bytes;
  const void* first = nullptr;
  int type = E2ENET_FLOAT32;
  std::int64_t strides[3] = {0, 0, 0};
};

Channel channel_of(e2enet::test::InputBytes& input, const std::int64_t shape[3]) {
  Channel channel;
  channel.type = input.take<std::uint8_t>() % 10;
  const unsigned how = input.take<std::uint8_t>();
  const auto bytes = static_cast<std::int64_t>(kBytes[channel.type]);
  int order[3] = {2, 1, 0};  // from the fastest axis to the slowest
  for (unsigned turns = how & 7; turns > 0; --turns) std::next_permutation(order, order + 3);
  std::int64_t stride = bytes + (how & 64 ? 3 : 0), from = 0;
  for (const int axis : order) {
    const bool backwards = how & (8u << axis);
    channel.strides[axis] = backwards ? -stride : stride;
    if (backwards) from += stride * (shape[axis] - 1);
    stride *= shape[axis];
  }
  channel.bytes.resize(static_cast<std::size_t>(stride + bytes));
  channel.first = channel.bytes.data() + from;
  const bool real = channel.type >= E2ENET_FLOAT32;
  for (std::int64_t d = 0; d < shape[0]; ++d) {
    for (std::int64_t h = 0; h < shape[1]; ++h) {
      for (std::int64_t w = 0; w < shape[2]; ++w) {
        unsigned char* const at =
            channel.bytes.data() + from + d * channel.strides[0] + h * channel.strides[1] + w * channel.strides[2];
        const unsigned value = input.take<std::uint8_t>();
        const double number = value < 250 || !real ? double(value) - 100 : input.take<double>();
        const auto small = static_cast<float>(number);
        if (channel.type == E2ENET_FLOAT32) {
          std::memcpy(at, &small, sizeof small);
        } else if (real) {
          std::memcpy(at, &number, sizeof number);
        } else {
          at[0] = static_cast<unsigned char>(value);
        }
      }
    }
  }
  return channel;
}

// Gives the same values as a channel of zeros and ones would, or fails.
struct Reader {
  std::int64_t slice = 0;
  int calls = 0;
};
int read_slices(void* context, int channel, std::int64_t first, std::int64_t count, float* values) {
  auto& reader = *static_cast<Reader*>(context);
  for (std::int64_t i = 0; i < count * reader.slice; ++i) values[i] = static_cast<float>((first + i + channel) % 5);
  return reader.calls-- > 0 ? 0 : 3;
}

// Everything that can be asked of what was found.
void look_at(const e2enet_segmentation* found, const std::vector<std::uint16_t>& labels) {
  for (int i = 0; i < e2enet_segmentation_label_count(found); ++i) {
    const int label = e2enet_segmentation_label(found, i);
    const std::int64_t voxels = std::count(labels.begin(), labels.end(), label);
    if (!labels.empty() && e2enet_segmentation_voxels(found, label) != voxels) std::abort();
  }
  e2enet_text* text = nullptr;
  if (e2enet_segmentation_json(found, &text) != E2ENET_OK || e2enet_text_string(text)[0] != '{') std::abort();
  e2enet_text_free(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  e2enet::test::InputBytes input(bytes, size);
  const char* name = e2enet_model_label_name(model(), input.take<int>());
  if (name && std::strlen(name) > 100) std::abort();

  e2enet_options* options = nullptr;
  check(e2enet_options_create(&options));
  const unsigned flags = input.take<std::uint8_t>();
  const unsigned more = input.take<std::uint8_t>();
  const double step = number(input, 0.5);
  const unsigned component = input.take<std::uint8_t>();
  const bool any_spacing = flags & 128;
  check(e2enet_options_set_precision(options, more & 1 ? static_cast<int>(more) - 40 : static_cast<int>(flags & 1)));
  check(e2enet_options_set_mirror(options, flags & 2));
  check(e2enet_options_set_threads(options, flags & 16 ? input.take<std::int8_t>() % 5 : 1));
  check(e2enet_options_set_step(options, step));
  check(e2enet_options_set_largest_component(
      options, component < 240 ? static_cast<int>(component % 3) : static_cast<int>(component) - 250));
  check(e2enet_options_set_allow_implausible_spacing(options, any_spacing));
  if (more & 2) check(e2enet_options_set_memory_limit(options, input.take<std::int64_t>()));
  e2enet_segmenter* segmenter = nullptr;
  const e2enet_status created = e2enet_segmenter_create(model(), flags & 32 ? nullptr : options, &segmenter);
  e2enet_options_free(options);
  check(created);
  if ((created == E2ENET_OK) != (segmenter != nullptr)) std::abort();
  // A tile a voxel is as small as steps get, and the patch has 4 voxels on its shorter axes.
  const bool step_makes_sense = step > 0.2499 && step <= 1;
  if (created == E2ENET_OK && !(flags & 32) && !step_makes_sense) std::abort();
  if (!segmenter) return 0;

  std::int64_t shape[3];
  double spacing[3], affine[16];
  std::int64_t voxels = 1;
  bool absurd = false;
  for (std::int64_t& axis : shape) {
    axis = extent(input);
    absurd = absurd || axis < 1 || axis > 13;
    if (!absurd) voxels *= axis;
  }
  for (double& along : spacing) along = number(input, 1);
  for (int i = 0; i < 16; ++i) affine[i] = number(input, i == 15 ? 1 : i % 5 == 0 ? spacing[2 - i / 5] : 0);
  // What is allowed and takes hours is not what this looks for. Without the option, spacings this large are refused.
  double tiles = 1;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double of_patch = flags & 32 ? 0.5 : step;
    tiles *= std::max(1.0, double(shape[axis]) * spacing[axis] / (4 * of_patch));
  }
  if (!absurd && tiles > 3000 && (any_spacing || tiles < 1e9)) {
    e2enet_segmenter_free(segmenter);
    return 0;
  }
  const unsigned channels = input.take<std::uint8_t>();
  const int count = channels < 224 ? 2 : static_cast<int>(channels) - 240;
  const std::int64_t one_voxel[3] = {1, 1, 1};
  Channel values[2];
  const void* firsts[16] = {};
  int types[16] = {};
  std::int64_t strides[48] = {};
  for (std::size_t c = 0; c < 2; ++c) {
    values[c] = channel_of(input, absurd ? one_voxel : shape);
    firsts[c] = values[c].first;
    types[c] = values[c].type;
    std::copy_n(values[c].strides, 3, strides + 3 * c);
  }
  if (channels == 223) firsts[1] = nullptr;
  if (channels == 221) types[1] = static_cast<int>(input.take<std::int8_t>());
  const bool type_is_none = channels == 221 && (types[1] < 0 || types[1] > 9);
  if (channels == 221 && !type_is_none) types[1] = values[1].type;
  Reader reader;
  reader.slice = absurd ? 0 : shape[1] * shape[2];
  reader.calls = input.take<std::uint8_t>();
  e2enet_image* image = nullptr;
  const bool from_function = more & 4;
  const e2enet_status made =
      from_function
          ? e2enet_image_from_slices(shape, more & 8 ? nullptr : spacing, more & 16 ? nullptr : affine, count,
                                     read_slices, &reader, nullptr, &image)
          : e2enet_image_from_arrays(shape, more & 8 ? nullptr : spacing, more & 16 ? nullptr : affine,
                                     channels == 222 ? nullptr : firsts, types, strides, count, "fuzzed", &image);
  check(made);
  if ((made == E2ENET_OK) != (image != nullptr)) std::abort();
  if (absurd && image && std::any_of(shape, shape + 3, [](std::int64_t axis) { return axis < 1 || axis > 32767; })) {
    std::abort();
  }
  if (type_is_none && image && !from_function) std::abort();
  if (!image || absurd) {
    e2enet_image_free(image);
    e2enet_segmenter_free(segmenter);
    return 0;
  }

  constexpr std::uint16_t kUntouched = 4711;
  std::vector<std::uint16_t> labels(static_cast<std::size_t>(voxels), kUntouched);
  std::vector<float> probabilities(flags & 8 ? 3 * labels.size() : 0);
  const unsigned wanted = input.take<std::uint8_t>();
  e2enet_request* request = nullptr;
  check(e2enet_request_create(&request));
  const bool too_short = wanted == 255;
  check(e2enet_request_set_labels(request, labels.data(), labels.size() - too_short));
  check(e2enet_request_set_probabilities(request, flags & 8 ? probabilities.data() : nullptr, probabilities.size()));
  int calls = flags & 64 ? static_cast<int>(input.take<std::uint8_t>()) : std::numeric_limits<int>::max();
  check(e2enet_request_set_progress(request, stop, &calls));
  int label_calls = static_cast<int>(input.take<std::uint8_t>());
  if (wanted & 1) check(e2enet_request_set_label_callback(request, stop_labels, &label_calls));
  check(e2enet_request_set_mean_intensities(request, wanted & 2));
  bool box_fits = true;
  if (wanted & 4) {
    std::int64_t begin[3], end[3];
    for (std::size_t axis = 0; axis < 3; ++axis) {
      begin[axis] = input.take<std::int8_t>() % 16;
      end[axis] = wanted & 8 ? input.take<std::int64_t>() : shape[axis];
      box_fits = box_fits && begin[axis] >= 0 && begin[axis] < end[axis] && end[axis] <= shape[axis];
    }
    check(e2enet_request_set_box(request, begin, end));
  }
  if (wanted & 16) {
    e2enet_forecast* forecast = nullptr;
    const e2enet_status foreseen = e2enet_segmenter_forecast(segmenter, image, request, &forecast);
    check(foreseen);
    if ((foreseen == E2ENET_OK) != (forecast != nullptr)) std::abort();
    if (forecast && e2enet_forecast_peak_bytes(forecast) <= 0) std::abort();
    e2enet_forecast_free(forecast);
  }

  e2enet_segmentation* found = nullptr;
  const e2enet_status status = e2enet_segment(segmenter, image, request, &found);
  check(status);
  if ((status == E2ENET_OK) != (found != nullptr)) std::abort();
  if (status == E2ENET_OK && (too_short || !box_fits)) std::abort();
  if (found) {
    look_at(found, labels);
    for (const std::uint16_t label : labels) {
      if (label > 2) std::abort();
    }
    for (const float probability : probabilities) {
      if (!(probability >= 0 && probability <= 1.0001f)) std::abort();
    }
  }
  e2enet_segmentation_free(found);
  e2enet_request_free(request);
  e2enet_image_free(image);
  e2enet_segmenter_free(segmenter);
  return 0;
}
