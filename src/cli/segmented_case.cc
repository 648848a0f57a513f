#include "cli/segmented_case.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/process_memory.h"
#include "cli/network_run.h"
#include "cli/text.h"
#include "e2enet/error.h"
#include "image/orientation.h"
#include "model/network.h"

namespace e2enet::cli {
namespace {

imaging::Box box_in(const VoxelBox& asked, const Shape& shape) {
  imaging::Box box;
  for (std::size_t axis = 0; axis < 3; ++axis) {  // i, j, k
    const std::size_t to = 2 - axis;
    box.begin[to] = std::max<std::int64_t>(asked.begin[axis], 0);
    box.end[to] = asked.end[axis] < 0 ? shape[to] : asked.end[axis];
    if (box.end[to] > shape[to] || box.begin[to] >= box.end[to]) {
      throw UsageError("--roi: expected a box within the image's " + shape_text({shape[2], shape[1], shape[0]}) +
                       " voxels, found " + std::to_string(box.begin[to]) + ":" + std::to_string(box.end[to]) +
                       " along " + "ijk"[axis]);
    }
  }
  return box;
}

}  // namespace

ImageFiles::ImageFiles(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    readers_.push_back(std::make_unique<imaging::ImageReader>(file));
    if (readers_.size() > 1) imaging::require_same_grid(*readers_.front(), *readers_.back());
  }
}

std::vector<imaging::SliceSource*> ImageFiles::sources() const {
  std::vector<imaging::SliceSource*> sources;
  for (const auto& reader : readers_) sources.push_back(reader.get());
  return sources;
}

std::vector<FileRemark> ImageFiles::remarks() const {
  std::vector<FileRemark> remarks;
  for (const auto& reader : readers_) add_remarks(remarks, reader->path(), reader->header());
  return remarks;
}

void require_plausible_spacing(const ImageFiles& image, const model::Configuration& configuration, bool allow) {
  const Geometry& geometry = image.geometry();
  const imaging::AxisMap frame = tiles::network_frame(configuration, geometry);
  const std::optional<Spacing>& wanted = configuration.preprocessing.spacing;
  if (!allow) imaging::require_plausible_spacing(image.name(), geometry, frame, wanted);
}

std::int64_t ImageFiles::stored_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& reader : readers_) bytes += reader->header().data_bytes();
  return bytes;
}

CaseSegmenter::CaseSegmenter(std::shared_ptr<const model::Network> network, const SegmentOptions& options)
    : network_(std::move(network)), configuration_(network_->configuration()), options_(options) {
  make_engine(options.plan.storage);
}

void CaseSegmenter::make_engine(kernels::Element precision) {
  if (engine_ && engine_->plan().storage == precision) return;
  engine_.reset();  // never two at once
  plan::PlanOptions plan = options_.plan;
  plan.storage = precision;
  engine_ = std::make_unique<engine::Engine>(*network_, plan);
  if (!options_.bf16_if_needed) network_.reset();
  return_freed_memory();
  process_bytes_ = resident_bytes();
}

tiles::PipelineOptions CaseSegmenter::pipeline_options(const ImageFiles& image, const CaseWishes& wishes) const {
  tiles::PipelineOptions pipeline;
  pipeline.tiling.step = options_.step;
  if (options_.mirror) pipeline.tiling.mirror_axes = configuration().mirror_axes;
  pipeline.largest_component = tiles::largest_component_labels(configuration(), options_.largest_component);
  const imaging::Box region = box_in(wishes.box, image.geometry().shape);
  if (wishes.box.begin != VoxelBox{}.begin || wishes.box.end != VoxelBox{}.end) pipeline.region = region;
  pipeline.probabilities = wishes.probabilities;
  pipeline.threads = engine_->plan().threads;
  return pipeline;
}

CasePlan CaseSegmenter::plan_with(kernels::Element precision, const ImageFiles& image, const CaseWishes& wishes,
                                  std::int64_t memory_limit) {
  require_plausible_spacing(image, configuration_, options_.allow_implausible_spacing);
  make_engine(precision);
  const tiles::PipelineOptions pipeline = pipeline_options(image, wishes);
  CasePlan plan;
  try {
    plan.network_extent = tiles::network_extent(configuration(), image.geometry(), pipeline);
  } catch (const Error& error) {
    throw Error(error.code(), image.name() + ": " + error.what());
  }
  tiles::CallerNeeds needs;
  needs.image_bytes = image.stored_bytes();
  needs.labels = wishes.keep_labels();
  needs.probabilities = wishes.probabilities;
  needs.preview = wishes.preview;
  needs.intensities = wishes.intensities;
  plan.precision = precision;
  plan.limit = memory_limit > 0 ? memory_limit : resident_bytes() + available_bytes() / 4 * 3;
  plan.holdings = tiles::possible_holdings(*engine_, process_bytes_, image.geometry(), pipeline, needs);
  const tiles::PlannedHolding* fastest = tiles::fastest_within(plan.holdings, plan.limit);
  plan.fits = fastest != nullptr;
  plan.chosen = fastest ? *fastest : tiles::smallest(plan.holdings);
  plan.runs = tiles::count_runs(plan.network_extent, engine_->plan().patch, pipeline.tiling);
  return plan;
}

CasePlan CaseSegmenter::choose(const ImageFiles& image, const CaseWishes& wishes, std::int64_t memory_limit) {
  const CasePlan plan = plan_with(options_.plan.storage, image, wishes, memory_limit);
  if (plan.fits || !options_.bf16_if_needed) return plan;
  return plan_with(kernels::Element::bf16, image, wishes, memory_limit);
}

double CaseSegmenter::seconds_of_a_run() {
  const model::Triple& patch = engine_->plan().patch;
  const std::vector<float> noise = noise_patch(configuration().architecture.input_channels, patch);
  DropLogits sink;
  engine_->run(view_of(noise.data(), patch), sink);  // the first run gets the memory
  const auto start = std::chrono::steady_clock::now();
  engine_->run(view_of(noise.data(), patch), sink);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

tiles::PipelineResult CaseSegmenter::segment(const ImageFiles& image, const CaseWishes& wishes, tiles::Holding holding,
                                             tiles::LabelSink& sink, const ProgressCallback& progress) {
  const std::vector<imaging::SliceSource*> sources = image.sources();
  if (static_cast<int>(sources.size()) != configuration().architecture.input_channels) {
    throw Error(ErrorCode::invalid_image, "number of images: expected one for each of the model's " +
                                              std::to_string(configuration().architecture.input_channels) +
                                              " channels, found " + std::to_string(sources.size()));
  }
  require_plausible_spacing(image, configuration_, options_.allow_implausible_spacing);
  tiles::PipelineOptions pipeline = pipeline_options(image, wishes);
  pipeline.holding = holding;
  pipeline.read_ahead = tiles::reads_ahead(holding, pipeline.threads);
  return tiles::segment_volume(*engine_, image.geometry(), sources, pipeline, sink, progress);
}

void LabelCounter::count(const std::uint16_t* labels, std::int64_t voxels) {
  for (std::int64_t i = 0; i < voxels; ++i) ++counts_[labels[i]];
}

std::map<int, LabelStatistics> LabelCounter::statistics(const Geometry& geometry,
                                                        const std::map<int, std::string>& names) const {
  std::map<int, LabelStatistics> statistics;
  for (const auto& [value, name] : names) {
    if (value != 0) statistics[value].name = name;
  }
  for (std::size_t value = 1; value < counts_.size(); ++value) {
    const auto label = static_cast<int>(value);
    if (counts_[value] == 0 && statistics.count(label) == 0) continue;
    LabelStatistics& of_label = statistics[label];
    if (of_label.name.empty()) of_label.name = "label " + std::to_string(label);
    of_label.voxels = counts_[value];
    of_label.ml = static_cast<double>(counts_[value]) * geometry.voxel_ml();
  }
  return statistics;
}

void add_mean_intensities(const ImageFiles& image, const std::vector<std::uint16_t>& labels,
                          std::map<int, LabelStatistics>& statistics) {
  const Shape& shape = image.geometry().shape;
  const std::int64_t slice_size = shape[1] * shape[2];
  std::vector<float> slice(static_cast<std::size_t>(slice_size));
  for (imaging::SliceSource* channel : image.sources()) {
    std::vector<double> totals(65536, 0);
    std::vector<std::int64_t> counts(65536, 0);
    for (std::int64_t d = 0; d < shape[0]; ++d) {
      channel->read(d, d + 1, slice.data());
      const std::uint16_t* label = labels.data() + d * slice_size;
      for (std::int64_t i = 0; i < slice_size; ++i) {
        const float value = slice[static_cast<std::size_t>(i)];
        if (label[i] == 0 || std::isnan(value)) continue;
        totals[label[i]] += static_cast<double>(value);
        ++counts[label[i]];
      }
    }
    for (auto& [value, of_label] : statistics) {
      const auto at = static_cast<std::size_t>(value);
      if (of_label.voxels > 0) of_label.mean_intensity.push_back(totals[at] / static_cast<double>(counts[at]));
    }
  }
}

nlohmann::ordered_json statistics_json(const std::map<int, LabelStatistics>& statistics, bool with_intensity) {
  const auto number = [](double value) -> nlohmann::ordered_json {
    if (!std::isfinite(value)) return nullptr;
    return value;
  };
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [label, of_label] : statistics) {
    nlohmann::ordered_json& entry = json[std::to_string(label)];
    entry["name"] = of_label.name;
    entry["voxels"] = of_label.voxels;
    entry["ml"] = of_label.ml;
    if (!with_intensity) continue;
    entry["mean_intensity"] = nullptr;
    if (!of_label.mean_intensity.empty()) entry["mean_intensity"] = number(of_label.mean_intensity[0]);
    if (of_label.mean_intensity.size() > 1) {
      for (const double value : of_label.mean_intensity) entry["mean_intensity_per_channel"].push_back(number(value));
    }
  }
  return json;
}

}  // namespace e2enet::cli
