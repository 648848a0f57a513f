#include "e2enet/json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <string>

#include "api/errors.h"
#include "e2enet/inspect.h"
#include "e2enet/machine.h"
#include "model/json_writer.h"
#include "report/label_colors.h"

namespace e2enet {
namespace {

const Error kNoMemory(ErrorCode::out_of_memory, "no memory to write JSON");

template <typename Function>
std::string written(const Function& write) {
  return with_errors(kNoMemory, [&] {
    JsonWriter json;
    write(json);
    return json.text();
  });
}

// "#4e79a7"
std::string hexadecimal(const report::Color& color) {
  const auto byte = [](double value) { return static_cast<unsigned>(std::lround(std::clamp(value, 0.0, 255.0))); };
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", byte(color.red) & 255U, byte(color.green) & 255U,
                byte(color.blue) & 255U);
  return text;
}

void add_name(JsonWriter& json, int label, const std::map<int, std::string>& names) {
  const auto found = names.find(label);
  if (found != names.end() && !found->second.empty()) json.member("name", found->second);
}

void add_optional(JsonWriter& json, const char* key, const std::optional<double>& value) {
  json.key(key);
  if (value) {
    json.value(*value);
  } else {
    json.null();
  }
}

// Mean and standard deviation under `key` and `key`_sd; null where there is none.
void add_average(JsonWriter& json, const std::string& key, const evaluate::Average& average) {
  const bool exists = average.count > 0 && average.infinite == 0;
  add_optional(json, key.c_str(), exists ? std::optional<double>(average.mean) : std::nullopt);
  add_optional(json, (key + "_sd").c_str(), exists ? std::optional<double>(average.finite_sd) : std::nullopt);
}

}  // namespace

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return "f32";
    case Precision::bf16:
      return "bf16";
    case Precision::automatic:
      return "auto";
  }
  return "";
}

std::string model_json(const Model& model, const PatchOptions& options) {
  return written([&](JsonWriter& json) {
    const NetworkPlan plan = plan_network(model, options);
    json.begin_object();
    json.member("model", model.name());
    json.member("parameters", model.parameters());
    json.member("flops_paper", plan.flops_paper);
    json.member("flops_executed", plan.flops_executed);
    json.member("planned_peak_bytes", plan.process_bytes);
    json.member("planned_network_bytes", plan.network_bytes);
    json.array("patch", plan.patch);
    json.member("threads", plan.threads);
    json.member("precision", precision_name(options.precision));
    json.member("instruction_set", instruction_set());
    // Those of previews and DICOM segmentations.
    json.key("label_colors").begin_object();
    for (const auto& [label, color] : report::label_colors(model.labels())) {
      json.member(std::to_string(label).c_str(), hexadecimal(color));
    }
    json.end_object();
    json.key("configuration").raw(model.configuration_json());
    json.key("layers").begin_array();
    for (const LayerInfo& layer : layers(model, plan.patch)) {
      json.begin_object();
      json.member("name", layer.name);
      json.member("kind", layer.kind);
      json.member("inputs", layer.inputs);
      json.member("outputs", layer.outputs);
      json.member("kept_kernels", layer.kept_kernels);
      json.member("density", layer.density);
      json.member("parameters", layer.parameters);
      json.member("flops_paper", layer.flops_paper);
      json.member("flops_executed", layer.flops_executed);
      json.end_object();
    }
    json.end_array().end_object();
  });
}

std::string geometry_json(const Image& image) {
  return written([&](JsonWriter& json) {
    const Geometry& geometry = image.geometry();
    json.begin_object();
    json.array("shape", Shape{geometry.shape[2], geometry.shape[1], geometry.shape[0]});
    json.array("spacing", Spacing{geometry.spacing[2], geometry.spacing[1], geometry.spacing[0]});
    json.key("affine").begin_array();
    for (std::size_t row = 0; row < 4; ++row) {
      json.begin_array();
      for (std::size_t column = 0; column < 4; ++column) json.value(geometry.affine[4 * row + column]);
      json.end_array();
    }
    json.end_array();
    json.member("matrix", image.matrix());
    json.member("orientation", image.orientation());
    json.end_object();
  });
}

std::string remarks_json(const std::vector<Remark>& remarks) {
  return written([&](JsonWriter& json) {
    json.begin_array();
    for (const Remark& one : remarks) json.value((one.warning ? "warning: " : "") + one.source + ": " + one.text);
    json.end_array();
  });
}

std::string statistics_json(const std::map<int, LabelStatistics>& statistics, bool mean_intensities) {
  return written([&](JsonWriter& json) {
    json.begin_object();
    for (const auto& [label, of_label] : statistics) {
      json.key(std::to_string(label)).begin_object();
      json.member("name", of_label.name);
      json.member("voxels", of_label.voxels);
      json.member("ml", of_label.ml);
      if (mean_intensities) {
        const std::vector<double>& means = of_label.mean_intensity;
        add_optional(json, "mean_intensity", means.empty() ? std::nullopt : std::optional<double>(means[0]));
        if (means.size() > 1) json.array("mean_intensity_per_channel", means);
      }
      json.end_object();
    }
    json.end_object();
  });
}

std::string asymmetry_json(const std::vector<Asymmetry>& asymmetries) {
  return written([&](JsonWriter& json) {
    json.begin_array();
    for (const Asymmetry& one : asymmetries) {
      json.begin_object();
      json.member("structure", one.pair.structure);
      json.member("left_label", one.pair.left);
      json.member("right_label", one.pair.right);
      json.member("left_ml", one.left_ml);
      json.member("right_ml", one.right_ml);
      add_optional(json, "asymmetry_percent", one.percent());
      json.end_object();
    }
    json.end_array();
  });
}

std::string segmentation_json(const Segmentation& segmentation, bool mean_intensities) {
  return written([&](JsonWriter& json) {
    json.begin_object();
    json.member("empty_image", segmentation.empty_image);
    json.key("remarks").raw(remarks_json(segmentation.remarks));
    json.member("plan", segmentation.way);
    json.member("precision", precision_name(segmentation.precision));
    json.member("planned_peak_bytes", segmentation.planned_peak_bytes);
    json.member("voxel_ml", segmentation.geometry.voxel_ml());
    json.member("runs", segmentation.runs);
    json.member("seconds", segmentation.seconds);
    json.member("seconds_prepare", segmentation.seconds_prepare);
    json.member("seconds_network", segmentation.seconds_network);
    json.member("seconds_export", segmentation.seconds_export);
    json.key("labels").raw(statistics_json(segmentation.statistics, mean_intensities));
    if (!segmentation.asymmetries.empty()) json.key("asymmetry").raw(asymmetry_json(segmentation.asymmetries));
    json.end_object();
  });
}

std::string forecast_json(const Forecast& forecast) {
  return written([&](JsonWriter& json) {
    json.begin_object();
    json.member("fits", forecast.fits);
    json.array("network_shape", forecast.network_shape);
    json.member("runs", forecast.runs);
    json.member("seconds_a_run", forecast.seconds_a_run);
    json.member("seconds_network", forecast.seconds_network);
    json.member("plan", forecast.way);
    json.member("precision", precision_name(forecast.precision));
    json.member("peak_bytes", forecast.peak_bytes);
    json.member("limit_bytes", forecast.limit_bytes);
    json.member("smallest_limit_bytes", forecast.smallest_limit_bytes);
    json.key("plans").begin_array();
    for (const Forecast::Way& way : forecast.ways) {
      json.begin_object().member("plan", way.name).member("peak_bytes", way.peak_bytes).end_object();
    }
    json.end_array();
    json.key("memory").begin_object();
    for (const auto& [part, bytes] : forecast.memory) json.member(part.c_str(), bytes);
    json.end_object().end_object();
  });
}

std::string scores_json(const evaluate::CaseScores& scores, const std::map<int, std::string>& names) {
  return written([&](JsonWriter& json) {
    json.begin_object();
    for (const auto& [label, score] : scores) {
      json.key(std::to_string(label)).begin_object();
      add_name(json, label, names);
      add_optional(json, "dice", score.dice);
      add_optional(json, "nsd", score.nsd);
      add_optional(json, "hd95", score.hd95);
      json.member("hd95_infinite", score.hd95.has_value() && std::isinf(*score.hd95));
      json.member("prediction_voxels", score.prediction_voxels);
      json.member("reference_voxels", score.reference_voxels);
      json.member("prediction_ml", score.prediction_ml);
      json.member("reference_ml", score.reference_ml);
      json.end_object();
    }
    json.end_object();
  });
}

std::string summary_json(const evaluate::Summary& summary, const std::map<int, std::string>& names) {
  return written([&](JsonWriter& json) {
    json.begin_object();
    add_optional(json, "mean_dice", summary.mean_dice);
    add_optional(json, "mean_nsd", summary.mean_nsd);
    add_optional(json, "mean_hd95", summary.mean_hd95);
    json.member("pairs_scored", summary.pairs);
    json.member("pairs_not_scored", summary.not_scored);
    json.member("hd95_infinite", summary.hd95_infinite);
    json.key("labels").begin_object();
    for (const auto& [label, of_label] : summary.labels) {
      json.key(std::to_string(label)).begin_object();
      add_name(json, label, names);
      add_average(json, "dice", of_label.dice);
      add_average(json, "nsd", of_label.nsd);
      add_average(json, "hd95", of_label.hd95);
      json.member("hd95_infinite", of_label.hd95.infinite);
      const bool finite = of_label.hd95.count > of_label.hd95.infinite;
      add_optional(json, "hd95_finite", finite ? std::optional<double>(of_label.hd95.finite_mean) : std::nullopt);
      json.member("cases_scored", of_label.dice.count);
      json.member("cases_not_scored", of_label.not_scored);
      json.member("prediction_ml", of_label.prediction_ml.mean);
      json.member("reference_ml", of_label.reference_ml.mean);
      json.end_object();
    }
    json.end_object().end_object();
  });
}

std::string profile_json(const PatchRunner& runner) {
  return written([&](JsonWriter& json) {
    const std::int64_t peak = peak_resident_bytes();  // first: the rest takes memory of its own
    const std::vector<StepTime> steps = runner.step_times();
    double seconds = 0, bytes = 0;
    for (const StepTime& step : steps) {
      seconds += step.seconds;
      bytes += step.bytes;
    }
    json.begin_object();
    json.array("patch", runner.patch());
    json.member("threads", runner.threads());
    json.member("precision", precision_name(runner.precision()));
    json.member("instruction_set", instruction_set());
    json.member("parameters", runner.parameters());
    json.member("flops_paper", runner.flops_paper());
    json.member("flops_executed", runner.flops_executed());
    json.member("seconds", seconds);
    json.member("bytes", bytes);
    json.member("peak_bytes", peak);
    json.member("planned_peak_bytes", runner.planned_process_bytes());
    json.key("layers").begin_array();
    for (const StepTime& step : steps) {
      json.begin_object();
      json.member("name", step.name);
      json.member("kernel", step.kernel);
      if (!step.reason.empty()) json.member("reason", step.reason);
      json.member("density", step.density);
      json.member("flops_paper", step.flops_paper);
      json.member("flops_executed", step.flops_executed);
      json.member("seconds", step.seconds);
      json.member("bytes", step.bytes);
      json.end_object();
    }
    json.end_array();
    json.key("loops").begin_array();
    for (const PatchLoop& loop : runner.loops()) {
      json.begin_object();
      json.member("layer", loop.step);
      json.member("work", loop.work);
      json.member("items", loop.items);
      json.array("after", loop.after);
      json.array("beside", loop.beside);
      json.end_object();
    }
    json.end_array().end_object();
  });
}

}  // namespace e2enet
