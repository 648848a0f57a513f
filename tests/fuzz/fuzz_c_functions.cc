// libFuzzer entry: whatever a caller in C passes as an image and as options, the call succeeds with labels that the
// model has, or returns an error with one line of text and leaves the labels as they were. Pointers are valid and as
// long as the shape says, which no library can check.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  e2enet::test::InputBytes input(bytes, size);
  const char* name = e2enet_model_label_name(model(), input.take<int>());
  if (name && std::strlen(name) > 100) std::abort();

  e2enet_options options;
  e2enet_options_default(&options);
  const unsigned flags = input.take<std::uint8_t>();
  options.bf16 = flags & 1;
  options.mirror = flags & 2;
  options.probabilities = flags & 8;
  options.threads = flags & 16 ? input.take<std::int8_t>() % 5 : 1;
  options.step = number(input, 0.5);
  const unsigned component = input.take<std::uint8_t>();
  options.largest_component = component < 240 ? static_cast<int>(component % 3) : static_cast<int>(component) - 250;
  options.allow_implausible_spacing = flags & 128;
  e2enet_segmenter* segmenter = nullptr;
  const e2enet_status created = e2enet_segmenter_create(model(), flags & 32 ? nullptr : &options, &segmenter);
  check(created);
  if ((created == E2ENET_OK) != (segmenter != nullptr)) std::abort();
  // A tile a voxel is as small as steps get, and the patch has 4 voxels on its shorter axes.
  const bool step_makes_sense = options.step > 0.2499 && options.step <= 1;
  if (created == E2ENET_OK && !(flags & 32) && !step_makes_sense) std::abort();
  if (!segmenter) return 0;

  e2enet_image image;
  std::int64_t voxels = 1;
  bool absurd = false;
  for (std::int64_t& axis : image.shape) {
    axis = extent(input);
    absurd = absurd || axis < 1 || axis > 13;
    if (!absurd) voxels *= axis;
  }
  for (double& spacing : image.spacing) spacing = number(input, 1);
  for (int i = 0; i < 16; ++i) image.affine[i] = number(input, i == 15 ? 1 : i % 5 == 0 ? image.spacing[2 - i / 5] : 0);
  // What is allowed and takes hours is not what this looks for. Without the option, spacings this large are refused.
  double tiles = 1;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double step = flags & 32 ? 0.5 : options.step;
    tiles *= std::max(1.0, double(image.shape[axis]) * image.spacing[axis] / (4 * step));
  }
  if (!absurd && tiles > 3000 && (options.allow_implausible_spacing || tiles < 1e9)) {
    e2enet_segmenter_free(segmenter);
    return 0;
  }
  const unsigned channels = input.take<std::uint8_t>();
  image.channels = channels < 224 ? 2 : static_cast<int>(channels) - 240;
  const std::size_t count = static_cast<std::size_t>(absurd ? 1 : voxels);
  std::vector<float> values[2];
  for (auto& channel : values) {
    channel.resize(count);
    for (float& value : channel) {
      const unsigned how = input.take<std::uint8_t>();
      value = how < 250 ? float(how) - 100 : input.take<float>();
    }
  }
  const float* pointers[16] = {values[0].data(), values[1].data()};
  if (channels == 223) pointers[1] = nullptr;
  image.voxels = channels == 222 ? nullptr : pointers;

  constexpr std::uint16_t kUntouched = 4711;
  std::vector<std::uint16_t> labels(count, kUntouched);
  std::vector<float> probabilities(flags & 8 && !(flags & 32) ? 3 * count : 0);
  int calls = flags & 64 ? static_cast<int>(input.take<std::uint8_t>()) : std::numeric_limits<int>::max();
  const e2enet_status status = e2enet_segment(segmenter, &image, labels.data(),
                                              probabilities.empty() ? nullptr : probabilities.data(), stop, &calls);
  check(status);
  if (absurd && status == E2ENET_OK) std::abort();
  for (const std::uint16_t label : labels) {
    if (status == E2ENET_OK ? label > 2 : label != kUntouched) std::abort();
  }
  for (const float probability : probabilities) {
    if (!(probability >= 0 && probability <= 1.0001f)) std::abort();
  }
  e2enet_segmenter_free(segmenter);
  return 0;
}
