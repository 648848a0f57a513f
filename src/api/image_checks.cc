#include "api/image_checks.h"

#include <string>

#include "e2enet/error.h"
#include "image/geometry.h"
#include "tiles/memory_estimate.h"

namespace e2enet {

void require_channels(const Image& image, const model::Configuration& configuration) {
  const int expected = configuration.architecture.input_channels;
  if (image.channels() == expected) return;
  throw Error(ErrorCode::invalid_image, image.name() + ": channels: expected " + std::to_string(expected) +
                                            " as the model has, found " + std::to_string(image.channels()));
}

void require_plausible_spacing(const Image& image, const model::Configuration& configuration) {
  imaging::require_plausible_spacing(image.name(), image.geometry(),
                                     tiles::network_frame(configuration, image.geometry()),
                                     configuration.preprocessing.spacing);
}

}  // namespace e2enet
