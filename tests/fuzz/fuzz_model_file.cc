// libFuzzer entry: whatever a model file holds, it is loaded or refused with an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "e2enet/error.h"
#include "input_file.h"
#include "model/flops.h"
#include "model/model_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const e2enet::test::InputFile file("model.safetensors");
  file.write(bytes, size);
  try {
    const auto network = e2enet::model::load_model_file(file.path());
    // What was taken must be usable: every weight readable, every figure finite.
    double sum = 0;
    for (const auto& layer : network->layers()) {
      for (std::int64_t i = 0; i < layer.kept() * layer.description.taps(); ++i) sum += double(layer.values[i]);
      for (const std::int32_t input : layer.input) {
        if (input < 0 || input >= layer.description.inputs()) std::abort();
      }
    }
    const auto flops = count_flops(*network, network->architecture().patch_size);
    if (!(flops.paper >= 0) || !(flops.executed >= 0) || sum != sum) std::abort();
  } catch (const e2enet::Error&) {
  }
  return 0;
}
