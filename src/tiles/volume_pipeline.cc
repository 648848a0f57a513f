#include "tiles/volume_pipeline.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include "base/checked_size.h"
#include "base/parallel.h"
#include "e2enet/error.h"
#include "tiles/label_planes.h"
#include "tiles/value_sample.h"
#include "tiles/volume_extent.h"

namespace e2enet::tiles {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The volume that the network sees, prepared as it is asked for.
class WindowInput : public InputVolume {
 public:
  WindowInput(imaging::PreparedWindow& window, std::optional<ValueSample>& sample) : window_(window), sample_(sample) {}
  Slices slices(int begin, int end) override {
    const Clock::time_point start = Clock::now();
    const float* data = window_.slices(begin, end);
    if (sample_) sample_->take(begin, end, data, window_.channel_stride());
    seconds_ += seconds_since(start);
    return {data, static_cast<std::ptrdiff_t>(window_.channel_stride())};  // within one block of memory
  }
  double seconds() const { return seconds_; }

 private:
  imaging::PreparedWindow& window_;
  std::optional<ValueSample>& sample_;
  double seconds_ = 0;
};

void report(const ProgressCallback& progress, Progress::Stage stage, std::int64_t done, std::int64_t total,
            double left) {
  if (progress && !progress({stage, done, total, left})) throw Error(ErrorCode::cancelled, "cancelled by the caller");
}

// The place for probabilities, with background everywhere, which it is outside of the crop; null where none are wanted.
float* background_probabilities(const PipelineOptions& options, const model::Configuration& configuration,
                                const Geometry& geometry, PipelineResult& result) {
  if (!options.probabilities) return nullptr;
  const std::size_t count =
      checked_count<float>("the probabilities", configuration.architecture.classes, geometry.voxels());
  float* const place = options.probabilities_into;
  if (place) {
    std::fill_n(place, count, 0.0f);
  } else {
    result.probabilities.assign(count, 0.0f);
  }
  float* const probabilities = place ? place : result.probabilities.data();
  if (configuration.output == model::OutputKind::softmax) std::fill_n(probabilities, geometry.voxels(), 1.0f);
  return probabilities;
}

void write_empty(const Geometry& geometry, LabelSink& sink) {
  const std::vector<std::uint16_t> slice(std::size_t(geometry.shape[1] * geometry.shape[2]), 0);
  for (std::int64_t k = 0; k < geometry.shape[0]; ++k) sink.consume(k, 1, slice.data());
}

}  // namespace

imaging::LabelRule label_rule(const model::Configuration& configuration) {
  imaging::LabelRule rule;
  rule.regions = configuration.output == model::OutputKind::sigmoid;
  rule.region_order = configuration.region_order;
  return rule;
}

std::vector<int> largest_component_labels(const model::Configuration& configuration, LargestComponent wanted) {
  switch (wanted) {
    case LargestComponent::model:
      return configuration.largest_component;
    case LargestComponent::none:
      return {};
    case LargestComponent::all: {
      std::vector<int> labels;
      for (const auto& [value, name] : configuration.labels) {
        if (value != 0) labels.push_back(value);
      }
      return labels;
    }
  }
  throw Error(ErrorCode::invalid_argument, "largest_component: expected model, none or all, found the number " +
                                               std::to_string(static_cast<int>(wanted)));
}

int largest_label(const model::Configuration& configuration) {
  return label_rule(configuration).largest_label(configuration.architecture.classes);
}

PipelineResult segment_volume(engine::Engine& engine, const Geometry& geometry,
                              const std::vector<imaging::SliceSource*>& channels, const PipelineOptions& options,
                              LabelSink& sink, const ProgressCallback& progress) {
  const model::Configuration& configuration = engine.network().configuration();
  const int classes = configuration.architecture.classes;
  if (int(channels.size()) != configuration.architecture.input_channels) {
    throw Error(ErrorCode::invalid_image, "the image's channels: expected " +
                                              std::to_string(configuration.architecture.input_channels) +
                                              " as the model has, found " + std::to_string(channels.size()));
  }
  PipelineResult result;
  Clock::time_point start = Clock::now();
  if (keeps_image(options.holding)) {
    for (imaging::SliceSource* channel : channels) channel->keep();
  }
  // Surveying is the first half of the stage.
  constexpr std::int64_t kSteps = 200;
  const auto report_pass = [&](std::int64_t first_step) {
    return [&progress, first_step](std::int64_t done, std::int64_t total) {
      report(progress, Progress::Stage::prepare, first_step + done * (kSteps / 2) / total, kSteps, -1);
    };
  };
  report(progress, Progress::Stage::prepare, 0, kSteps, -1);
  const model::Preprocessing& preprocessing = configuration.preprocessing;
  imaging::SurveyOptions survey_options = imaging::PreprocessPlan::survey_options(geometry, preprocessing);
  survey_options.region = options.region;
  survey_options.threads = options.threads;
  survey_options.pass.read_ahead = options.read_ahead;
  survey_options.pass.progress = report_pass(0);
  imaging::Survey survey = imaging::survey_image(channels, survey_options);
  const auto forget_image = [&] {
    for (imaging::SliceSource* channel : channels) channel->forget();
  };
  if (survey.empty()) {
    if (options.holding == Holding::image_while_preparing) forget_image();
    result.empty_image = true;
    write_empty(geometry, sink);
    background_probabilities(options, configuration, geometry, result);
    return result;
  }
  const imaging::PreprocessPlan plan(geometry, survey, preprocessing);
  result.network_shape = plan.shape();
  const Extent volume = volume_extent(plan.shape());
  imaging::PassOptions pass;
  pass.read_ahead = options.read_ahead;
  pass.progress = report_pass(kSteps / 2);
  imaging::Preprocessed prepared;
  std::optional<ValueSample> sample;
  if (configuration.training_images) sample.emplace(plan.shape(), configuration.architecture.input_channels);
  std::optional<imaging::PreparedWindow> prepared_window;
  std::optional<WindowInput> window_input;
  if (options.holding == Holding::window) {
    prepared_window.emplace(plan, channels, survey, std::min(engine.plan().patch[0], volume[0]), options.threads, pass);
    window_input.emplace(*prepared_window, sample);
  } else {
    prepared = imaging::preprocess(plan, channels, survey, {1, 1, 1}, options.threads, pass);
    if (sample) sample->take(0, volume[0], prepared.channel(0), plan.shape()[0] * plan.shape()[1] * plan.shape()[2]);
  }
  if (options.holding == Holding::image_while_preparing) forget_image();
  result.prepare_seconds = seconds_since(start);
  report(progress, Progress::Stage::prepare, kSteps, kSteps, -1);

  SlidingWindow window(engine, options.tiling, volume);
  result.runs = window.runs();
  const imaging::LabelExport exporter(plan, label_rule(configuration), classes);
  LabelCollector collector(exporter, geometry.shape, options.largest_component, plan.box().begin[0], sink);
  ExportSlices exported(exporter, plan, collector, background_probabilities(options, configuration, geometry, result),
                        options.threads);

  start = Clock::now();
  const auto after_tile = [&](std::int64_t done, std::int64_t total) {
    const double left = done ? seconds_since(start) / double(done) * double(total - done) : -1;
    return !progress || progress({Progress::Stage::segment, done, total, left});
  };
  if (window_input) {
    window.run(*window_input, exported, after_tile);
    result.prepare_seconds += window_input->seconds();
  } else {
    window.run(prepared.channel(0), exported, after_tile);
  }
  if (sample) result.quantiles = sample->quantiles();
  result.export_seconds = exported.seconds();
  result.network_seconds = seconds_since(start) - result.export_seconds - (window_input ? window_input->seconds() : 0);
  report(progress, Progress::Stage::export_labels, 0, 1, -1);
  start = Clock::now();
  collector.finish();
  result.export_seconds += seconds_since(start);
  report(progress, Progress::Stage::export_labels, 1, 1, 0);
  return result;
}

}  // namespace e2enet::tiles
