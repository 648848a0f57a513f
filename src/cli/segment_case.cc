#include "cli/segment_case.h"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/command_files.h"
#include "cli/dicom_table.h"
#include "cli/image_remarks.h"
#include "cli/network_run.h"
#include "cli/statistics_output.h"
#include "cli/text.h"
#include "e2enet/dicom.h"
#include "e2enet/error.h"
#include "e2enet/json.h"

namespace e2enet::cli {
namespace {

using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

LargestComponent parse_largest_component(const std::string& text) {
  if (text == "none") return LargestComponent::none;
  if (text == "all") return LargestComponent::all;
  return LargestComponent::model;
}

const char* stage_text(Progress::Stage stage) {
  switch (stage) {
    case Progress::Stage::prepare:
      return "preparing";
    case Progress::Stage::segment:
      return "segmenting";
    case Progress::Stage::export_labels:
      return "writing labels";
    case Progress::Stage::write:
      return "writing";
  }
  return "";
}

// Of the structures with sides only where there are some.
void add_labels(const ordered_json& found, ordered_json& result) {
  result["labels"] = found["labels"];
  if (found.contains("asymmetry")) result["asymmetry"] = found["asymmetry"];
}

}  // namespace

CaseOfSegment::CaseOfSegment(const SegmentArguments& arguments, ProgressDisplay& display)
    : arguments_(arguments), display_(display) {
  if (!arguments_.box.empty()) box_ = parse_box(arguments_.box, "--roi");
  Options options;
  options.threads = use_threads(arguments_.common);
  options.precision = parse_precision(arguments_.precision);
  options.step = arguments_.step;
  options.mirror = arguments_.mirror;
  options.largest_component = parse_largest_component(arguments_.largest_component);
  options.allow_implausible_spacing = arguments_.force;
  if (!arguments_.memory.empty()) options.memory_limit = parse_size(arguments_.memory, "--memory");
  Model model = Model::load(arguments_.model);
  channels_ = model.input_channels();
  records_.emplace(arguments_, options.threads);
  try {
    segmenter_.emplace(std::move(model), options);
  } catch (const Error& error) {  // which names the option: "step: expected ..."
    if (error.code() != ErrorCode::invalid_argument) throw;
    throw UsageError(std::string("--") + error.what());
  }
}

std::optional<Box> CaseOfSegment::box_in(const Shape& shape) const {
  if (arguments_.box.empty()) return std::nullopt;
  Box box;
  for (std::size_t axis = 0; axis < 3; ++axis) {  // i, j, k
    const std::size_t to = 2 - axis;
    box.begin[to] = std::max<std::int64_t>(box_.begin[axis], 0);
    box.end[to] = box_.end[axis] < 0 ? shape[to] : box_.end[axis];
    if (box.end[to] > shape[to] || box.begin[to] >= box.end[to]) {
      throw UsageError("--roi: expected a box within the image's " + shape_text({shape[2], shape[1], shape[0]}) +
                       " voxels, found " + std::to_string(box.begin[to]) + ":" + std::to_string(box.end[to]) +
                       " along " + "ijk"[axis]);
    }
  }
  return box;
}

ordered_json CaseOfSegment::process(const Job& job, const std::string& prefix) {
  const auto start = Clock::now();
  const std::string head = prefix + job.name + ": ";
  display_.update(head + "reading", 0, 0, -1);
  const Image image = open(job);
  show_remarks(display_, "segment", image.remarks());
  Request request;
  request.box = box_in(image.geometry().shape);
  request.labels = false;
  request.mean_intensities = !job.statistics.empty();
  request.labels_file = job.labels;
  request.dicom_reference = arguments_.dicom_reference;
  if (!arguments_.dicom_reference.empty() && !arguments_.open.series.empty()) {
    request.dicom_reference_series = arguments_.open.series[0];
  }
  request.probabilities_file = job.probabilities;
  request.preview_file = job.preview;
  if (arguments_.dry_run) return dry_run(job, image, request);
  records_->opened(job);
  ordered_json result, found;
  request.before_files_appear = [&](const Segmentation& segmented) {
    if (segmented.empty_image) {
      display_.remark("warning: " + job.images[0] + ": no voxel differs from zero; everything is background");
    }
    const auto of_image = static_cast<std::ptrdiff_t>(image.remarks().size());
    show_remarks(display_, "segment", {segmented.remarks.begin() + of_image, segmented.remarks.end()});
    statistics_ = segmented.statistics;
    asymmetries_ = segmented.asymmetries;
    result["case"] = job.name;
    result["images"] = job.images;
    result["geometry"] = parsed(geometry_json(image));
    found = parsed(segmentation_json(segmented, request.mean_intensities));
    result["remarks"] = found["remarks"];
    result["labels_file"] = job.labels;
    result["model"] = arguments_.model;
    for (const char* key : {"plan", "precision", "planned_peak_bytes", "voxel_ml"}) result[key] = found[key];
    if (job.statistics.empty() && job.record.empty()) return;
    ordered_json statistics = result;
    add_labels(found, statistics);
    if (!job.statistics.empty()) write_text(job.statistics, json_text(statistics) + "\n");
    records_->done(job, statistics);
  };
  const Segmentation segmented = segment(image, request, [&](const Progress& progress) {
    display_.update(head + stage_text(progress.stage), progress.done, progress.total, progress.seconds_left);
    return !interrupted();
  });
  display_.clear();
  result["seconds"] = std::chrono::duration<double>(Clock::now() - start).count();
  result["seconds_prepare"] = segmented.seconds_prepare;
  result["seconds_network"] = segmented.seconds_network;
  result["seconds_export"] = segmented.seconds_export;
  add_labels(found, result);
  return result;
}

Image CaseOfSegment::open(const Job& job) {
  OpenOptions options = arguments_.open;
  if (!job.dicom) options = {};
  if (job.dicom && !job.series.empty()) options.series = {job.series};
  try {
    return Image::open(job.images, options);
  } catch (const Error& error) {
    if (job.dicom && std::string(error.what()).find(": series: expected") != std::string::npos) {
      display_.clear();
      std::cerr << dicom_table(list_dicom(job.images));
    }
    throw;
  }
}

Segmentation CaseOfSegment::segment(const Image& image, const Request& request, const ProgressCallback& progress) {
  try {
    return segmenter_->segment(image, request, progress);
  } catch (const Error& error) {
    const std::string text = error.what(), field = "memory_limit";
    if (error.code() != ErrorCode::memory_limit || text.compare(0, field.size(), field) != 0) throw;
    throw Error(error.code(), "--memory" + text.substr(field.size()));
  }
}

ordered_json CaseOfSegment::dry_run(const Job& job, const Image& image, const Request& request) {
  const Forecast forecast = segmenter_->forecast(image, request);
  if (!forecast.fits) {  // said as the work itself would say it, which ends before it begins
    segment(image, request, {});
  }
  ordered_json result;
  result["case"] = job.name;
  result["images"] = job.images;
  result["geometry"] = parsed(geometry_json(image));
  result["remarks"] = parsed(remarks_json(image.remarks()));
  result.update(parsed(forecast_json(forecast)));
  for (const char* key : {"fits", "smallest_limit_bytes"}) result.erase(key);
  result["memory"].erase("image_until_end");
  std::map<std::string, std::int64_t> memory(forecast.memory.begin(), forecast.memory.end());
  display_.clear();
  if (!arguments_.common.json) {
    const std::string way =
        forecast.way + (forecast.precision == Precision::bf16 ? ", " + std::string(precision_name(forecast.precision))
                                                              : std::string());
    std::cout << job.images[0] << "\n"
              << "  volume for the network  "
              << shape_text({forecast.network_shape.begin(), forecast.network_shape.end()}) << " voxels at most\n"
              << "  runs of the network     " << forecast.runs << "\n"
              << "  time                    about " << duration_text(forecast.seconds_network) << " ("
              << duration_text(forecast.seconds_a_run) << " a run, measured now), and reading and writing\n"
              << "  plan                    " << way << ": the fastest within " << bytes_text(forecast.limit_bytes)
              << "\n"
              << "  memory                  " << bytes_text(forecast.peak_bytes)
              << " at most: " << bytes_text(memory["process"]) << " program and model, "
              << bytes_text(memory["prepared"]) << " prepared image, " << bytes_text(memory["network"]) << " network, "
              << bytes_text(memory["probabilities"]) << " probabilities, " << bytes_text(memory["exporting"])
              << " export, " << bytes_text(memory["kept"]) << " kept volumes, " << bytes_text(memory["image_until_end"])
              << " image as stored; or " << bytes_text(memory["image"] + memory["preparing"]) << " while preparing\n"
              << "  all plans               ";
    std::string list;
    for (const Forecast::Way& one : forecast.ways) {
      list += (list.empty() ? "" : "; ") + one.name + " " + bytes_text(one.peak_bytes);
    }
    std::cout << list << std::endl;
  }
  return result;
}

}  // namespace e2enet::cli
