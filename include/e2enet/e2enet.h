// e2enet: 3D medical image segmentation with E2ENet on machines without a GPU. Includes all of the public API but the C
// functions (e2enet_c.h).
#pragma once

#include "e2enet/dicom.h"
#include "e2enet/error.h"
#include "e2enet/evaluate.h"
#include "e2enet/files.h"
#include "e2enet/image.h"
#include "e2enet/inspect.h"
#include "e2enet/json.h"
#include "e2enet/machine.h"
#include "e2enet/model.h"
#include "e2enet/patch_runner.h"
#include "e2enet/preview.h"
#include "e2enet/segmenter.h"
#include "e2enet/statistics.h"
#include "e2enet/version.h"
#include "e2enet/volume.h"
