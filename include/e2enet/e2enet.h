// e2enet: 3D medical image segmentation with E2ENet on machines without a GPU. Includes all of the public API.
#pragma once

#include "e2enet/error.h"
#include "e2enet/model.h"
#include "e2enet/segmenter.h"
#include "e2enet/volume.h"
