// What an image must be for a model before anything is computed from it.
#pragma once

#include "e2enet/image.h"
#include "model/configuration.h"

namespace e2enet {

// Throws Error (invalid_image) unless the image has the model's number of channels.
void require_channels(const Image& image, const model::Configuration& configuration);

// Throws Error (invalid_image), naming the image, where its spacing is implausible in itself or for the model.
void require_plausible_spacing(const Image& image, const model::Configuration& configuration);

}  // namespace e2enet
