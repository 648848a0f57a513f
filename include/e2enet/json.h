// What the library finds out, as JSON (RFC 8259, UTF-8, on one line): what `e2enet ... --json` writes, and what
// languages that call C read. Keys keep their names and meanings between versions, and new ones may come
// (docs/api-stability.md). JSON has no infinity and no NaN: null stands for a number that does not exist. Texts that
// are no UTF-8, as file names may be, have U+FFFD in place of each byte that is no part of a character.
//
// Every function throws Error (out_of_memory), and nothing else unless said so.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "e2enet/evaluate.h"
#include "e2enet/export.h"
#include "e2enet/image.h"
#include "e2enet/model.h"
#include "e2enet/patch_runner.h"
#include "e2enet/segmenter.h"
#include "e2enet/statistics.h"

namespace e2enet {

// "f32", "bf16" or "auto".
E2ENET_API const char* precision_name(Precision precision);

// What is in a model, and what running it on a patch takes: {"model", "parameters", "flops_paper", "flops_executed",
// "planned_peak_bytes", "planned_network_bytes", "patch", "threads", "precision", "instruction_set", "label_colors":
// {"1": "#4e79a7", ...} (those of previews), "configuration", "layers": [{"name", "kind", "inputs", "outputs",
// "kept_kernels", "density", "parameters", "flops_paper", "flops_executed"}, ...]}. Throws Error (invalid_argument),
// naming the option.
E2ENET_API std::string model_json(const Model& model, const PatchOptions& options = {});

// Where an image lies: {"shape", "spacing", "affine", "matrix", "orientation"}; shape and spacing (mm) along i, j, k,
// the order of a NIfTI file and the reverse of D, H, W; the affine as four rows.
E2ENET_API std::string geometry_json(const Image& image);

// ["FILE: ...", "warning: FILE: ...", ...]
E2ENET_API std::string remarks_json(const std::vector<Remark>& remarks);

// {"1": {"name", "voxels", "ml"}, ...}; with mean intensities also "mean_intensity" of the first channel, null where
// there are no voxels, and where there are several channels "mean_intensity_per_channel".
E2ENET_API std::string statistics_json(const std::map<int, LabelStatistics>& statistics, bool mean_intensities = false);

// [{"structure", "left_label", "right_label", "left_ml", "right_ml", "asymmetry_percent"}, ...]; the last is null where
// it is not defined.
E2ENET_API std::string asymmetry_json(const std::vector<Asymmetry>& asymmetries);

// {"empty_image", "remarks", "plan", "precision", "planned_peak_bytes", "voxel_ml", "runs", "seconds",
// "seconds_prepare", "seconds_network", "seconds_export", "labels", "asymmetry"}; the last two as above, and the last
// only where the model has structures with sides. Not the volumes themselves.
E2ENET_API std::string segmentation_json(const Segmentation& segmentation, bool mean_intensities = false);

// {"fits", "network_shape", "runs", "seconds_a_run", "seconds_network", "plan", "precision", "peak_bytes",
// "limit_bytes", "smallest_limit_bytes", "plans": [{"plan", "peak_bytes"}, ...], "memory": {part: bytes, ...}}
E2ENET_API std::string forecast_json(const Forecast& forecast);

// One case: {"1": {"name", "dice", "nsd", "hd95", "hd95_infinite", "prediction_voxels", "reference_voxels",
// "prediction_ml", "reference_ml"}, ...}; "name" only where `names` has one. "hd95" is null where it is infinite.
E2ENET_API std::string scores_json(const evaluate::CaseScores& scores, const std::map<int, std::string>& names = {});

// Of several cases: {"mean_dice", "mean_nsd", "mean_hd95", "pairs_scored", "pairs_not_scored", "hd95_infinite",
// "labels": {"1": {"name", "dice", "dice_sd", "nsd", "nsd_sd", "hd95", "hd95_sd", "hd95_infinite", "hd95_finite",
// "cases_scored", "cases_not_scored", "prediction_ml", "reference_ml"}, ...}}; "name" as above. Means and standard
// deviations; null where there are none or they are infinite.
E2ENET_API std::string summary_json(const evaluate::Summary& summary, const std::map<int, std::string>& names = {});

// The last patch of a runner: {"patch", "threads", "precision", "instruction_set", "parameters", "flops_paper",
// "flops_executed", "seconds", "bytes", "peak_bytes", "planned_peak_bytes", "layers": [{"name", "kernel", "reason",
// "density", "flops_paper", "flops_executed", "seconds", "bytes"}, ...]}; "reason" only where there is one, "layers" in
// the order in which they run.
E2ENET_API std::string profile_json(const PatchRunner& runner);

}  // namespace e2enet
