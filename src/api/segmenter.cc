#include "e2enet/segmenter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <utility>

#include "api/errors.h"
#include "api/image.h"
#include "api/image_checks.h"
#include "api/patch.h"
#include "api/request_files.h"
#include "base/checked_size.h"
#include "base/parallel.h"
#include "base/platform/processor.h"
#include "base/process_memory.h"
#include "image/formats/formats.h"
#include "labels/label_counter.h"
#include "model/label_sides.h"
#include "report/preview.h"
#include "tiles/volume_pipeline.h"
#include "tiles/volume_plan.h"

namespace e2enet {
namespace {

using Clock = std::chrono::steady_clock;

const Error kNoMemoryToPlan(ErrorCode::out_of_memory, "no memory to plan the network");
const Error kNoMemoryToSegment(ErrorCode::out_of_memory, "no memory to segment an image of this size");

// What the program itself takes differs a little from one start to the next.
constexpr std::int64_t kDifference = 1 << 20;

void require_step(double step, const Extent& patch) {
  const std::string problem = tiles::step_problem(step, patch);
  if (!problem.empty()) throw Error(ErrorCode::invalid_argument, "step: " + problem);
}

// A memory size that is not below `bytes`, in whole MiB: "600M".
std::string limit_text(std::int64_t bytes) {
  constexpr std::int64_t kMiB = 1 << 20;
  return std::to_string(bytes / kMiB + (bytes % kMiB != 0)) + "M";
}

void require_box_inside(const Box& box, const Image& image) {
  const Shape& shape = image.geometry().shape;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (box.begin[axis] >= 0 && box.begin[axis] < box.end[axis] && box.end[axis] <= shape[axis]) continue;
    throw Error(ErrorCode::invalid_argument, "box: expected a box within the image's " + std::to_string(shape[axis]) +
                                                 " voxels along " + "DHW"[axis] + ", found " +
                                                 std::to_string(box.begin[axis]) + ":" + std::to_string(box.end[axis]));
  }
}

// Whether the label volume is needed as a whole. An array of the caller's counts, since its pages may be in RAM only
// once they are written.
bool keeps_labels(const Request& request) {
  return request.labels || request.labels_into || request.mean_intensities || !request.preview_file.empty();
}

bool keeps_probabilities(const Request& request) {
  return request.probabilities || request.probabilities_into || !request.probabilities_file.empty();
}

// The labels on their way to all who want them.
class LabelOutputs : public tiles::LabelSink {
 public:
  LabelOutputs(const Request& request, const Shape& shape, RequestFiles& files)
      : request_(request), slice_size_(shape[1] * shape[2]), files_(files) {
    volume_ = request.labels_into;
    if (volume_ || !keeps_labels(request)) return;
    kept_.resize(checked_count<std::uint16_t>("the labels", shape[0], shape[1], shape[2]));
    volume_ = kept_.data();
  }
  void consume(std::int64_t first_slice, std::int64_t slices, const std::uint16_t* labels) override {
    const std::int64_t count = slices * slice_size_;
    counter_.count(labels, count);
    if (volume_) std::copy_n(labels, count, volume_ + first_slice * slice_size_);
    if (files_.takes_labels()) files_.append_labels(labels, count);
    if (request_.on_labels) request_.on_labels(first_slice, slices, labels);
  }
  const imaging::LabelCounter& counter() const { return counter_; }
  // All labels, where they are kept as a whole.
  const std::uint16_t* volume() const { return volume_; }
  // Empty where the volume is the caller's array.
  std::vector<std::uint16_t>& kept() { return kept_; }

 private:
  const Request& request_;
  std::int64_t slice_size_;
  RequestFiles& files_;
  imaging::LabelCounter counter_;
  std::vector<std::uint16_t> kept_;
  std::uint16_t* volume_ = nullptr;
};

void report_writing(const ProgressCallback& progress, std::int64_t done) {
  if (progress && !progress({Progress::Stage::write, done, 1, done ? 0.0 : -1.0})) {
    throw Error(ErrorCode::cancelled, "cancelled by the caller");
  }
}

// How an image will be done, known before a voxel is read; it may turn out smaller once its empty borders are cut off.
struct CasePlan {
  std::vector<tiles::PlannedHolding> holdings;  // that are possible, fastest first
  tiles::PlannedHolding chosen;                 // the fastest within the limit, or the smallest where none is
  bool fits = false;
  std::int64_t limit = 0;
  kernels::Element precision = kernels::Element::f32;
  Extent network_extent{};
  std::int64_t runs = 0;
  std::int64_t smallest_peak = 0;  // of all holdings, one run at a time
};

}  // namespace

struct Segmenter::Implementation {
  Implementation(Model model, const Options& wanted);

  Segmentation segment(const Image& image, const Request& request, const ProgressCallback& progress);
  Forecast forecast(const Image& image, const Request& request);

  // Packs the network for this precision, unless that is how it is packed.
  void make_engine(kernels::Element precision);
  // What a network of this precision will be, or is.
  const plan::Plan& planned(kernels::Element precision) const;
  // The engine's, or where none was made yet the first that would be tried.
  const plan::Plan& current() const;
  tiles::PipelineOptions pipeline_options(const Image& image, const Request& request) const;
  CasePlan plan_with(kernels::Element precision, const Image& image, const Request& request) const;
  // Packs nothing. Refuses what cannot be segmented before anything is computed from it.
  CasePlan choose(const Image& image, const Request& request) const;
  double seconds_of_a_run();
  // What of an image and its labels is unlike what the model was trained on.
  std::vector<std::string> unlike_training(const Image& image, const tiles::PipelineResult& result,
                                           const std::map<int, LabelStatistics>& statistics) const;
  // Of this process with the kernels packed for this plan, but for what the network takes when it runs.
  std::int64_t process_bytes(const plan::Plan& of) const;

  Options options;
  std::shared_ptr<const model::Network> network;  // only where the engine may be made anew
  model::Configuration configuration;
  plan::PlanOptions plan;
  std::map<kernels::Element, plan::Plan> plans;  // of both precisions, where the image decides between them
  std::unique_ptr<engine::Engine> engine;        // where it does, made by the first image
  bool engine_ran = false;                       // and its memory is in RAM
  std::int64_t process_before_runs = 0;          // resident before the engine first ran
  std::int64_t process_without_engine = 0;
  std::map<kernels::Element, double> seconds_a_run;
};

Segmenter::Implementation::Implementation(Model model, const Options& wanted)
    : options(wanted), network(model.network()), configuration(network->configuration()) {
  { const Model given_back = std::move(model); }
  require_step(options.step, configuration.architecture.patch_size);
  tiles::largest_component_labels(configuration, options.largest_component);  // refuses what is no choice
  if (options.memory_limit < 0) {
    throw Error(ErrorCode::invalid_argument,
                "memory_limit: expected bytes, or 0, found " + std::to_string(options.memory_limit));
  }
  plan.threads = usable_threads(options.threads);
  if (options.precision != Precision::automatic) {
    make_engine(element_of(options.precision));
    return;
  }
  for (const kernels::Element precision : {kernels::Element::f32, kernels::Element::bf16}) {
    plan.storage = precision;
    plans.emplace(precision, plan::Plan(*network, plan));
  }
  engine::require_enough({options.arena.memory, options.arena.bytes}, planned(kernels::Element::f32));
  return_freed_memory();
  process_without_engine = resident_bytes();
}

const plan::Plan& Segmenter::Implementation::planned(kernels::Element precision) const {
  return engine && engine->plan().storage == precision ? engine->plan() : plans.at(precision);
}

const plan::Plan& Segmenter::Implementation::current() const {
  return engine ? engine->plan() : planned(kernels::Element::f32);
}

void Segmenter::Implementation::make_engine(kernels::Element precision) {
  if (engine && engine->plan().storage == precision) return;
  engine.reset();  // never two at once
  plan.storage = precision;
  const ThreadsOfCaller threads(options.parallel_for);
  engine = std::make_unique<engine::Engine>(*network, plan,
                                            engine::WorkingMemory{options.arena.memory, options.arena.bytes});
  engine_ran = platform::kMemoryIsHeldAtOnce;
  if (options.precision != Precision::automatic) network.reset();
  return_freed_memory();
  process_before_runs = resident_bytes() - (engine_ran ? static_cast<std::int64_t>(engine->plan().run_bytes()) : 0);
}

std::int64_t Segmenter::Implementation::process_bytes(const plan::Plan& of) const {
  const auto bytes_of = [](std::size_t bytes) { return static_cast<std::int64_t>(bytes); };
  std::int64_t without_runs = resident_bytes();
  if (engine && engine_ran) without_runs -= bytes_of(engine->plan().run_bytes());
  if (engine && engine->plan().storage == of.storage) return std::max(process_before_runs, without_runs);
  if (engine) without_runs -= bytes_of(engine->plan().packed_bytes);
  return std::max(process_without_engine, without_runs) + bytes_of(of.packed_bytes);
}

tiles::PipelineOptions Segmenter::Implementation::pipeline_options(const Image& image, const Request& request) const {
  tiles::PipelineOptions pipeline;
  pipeline.tiling.step = options.step;
  if (options.mirror) pipeline.tiling.mirror_axes = configuration.mirror_axes;
  pipeline.largest_component = tiles::largest_component_labels(configuration, options.largest_component);
  pipeline.region = request.box;
  pipeline.probabilities = keeps_probabilities(request);
  pipeline.probabilities_into = request.probabilities_into;
  pipeline.threads = current().threads;
  pipeline.may_read_ahead = image.implementation().may_read_ahead && !options.parallel_for;
  return pipeline;
}

CasePlan Segmenter::Implementation::plan_with(kernels::Element precision, const Image& image,
                                              const Request& request) const {
  const plan::Plan& network_plan = planned(precision);
  const tiles::PipelineOptions pipeline = pipeline_options(image, request);
  CasePlan result;
  try {
    result.network_extent = tiles::network_extent(configuration, image.geometry(), pipeline);
  } catch (const Error& error) {
    throw Error(error.code(), image.name() + ": " + error.what());
  }
  tiles::CallerNeeds needs;
  needs.image_bytes = image.implementation().stored_bytes;
  needs.open_bytes = image.implementation().open_bytes;
  needs.labels = keeps_labels(request);
  needs.probabilities = keeps_probabilities(request);
  if (!request.labels_file.empty()) {
    needs.label_file_bytes = imaging::label_file_bytes(request.labels_file, image.geometry().shape,
                                                       configuration.labels.size(), !request.dicom_reference.empty());
  }
  if (!request.preview_file.empty()) needs.preview_bytes = report::preview_bytes(image.geometry().shape);
  needs.intensities = request.mean_intensities;
  result.precision = precision;
  result.limit = options.memory_limit > 0 ? options.memory_limit : resident_bytes() + available_bytes() / 4 * 3;
  const std::int64_t process = process_bytes(network_plan);
  result.holdings = tiles::possible_holdings(network_plan, configuration, process, image.geometry(), pipeline, needs);
  result.smallest_peak = tiles::smallest(result.holdings).memory.peak();
  // Memory of the caller's holds one run, and progress must come from the caller's thread, which its own threads hide.
  if (!options.arena.memory && !options.parallel_for) {
    tiles::choose_runs_at_once(network_plan, configuration, process, image.geometry(), pipeline, needs, result.limit,
                               result.holdings);
  }
  const tiles::PlannedHolding* fastest = tiles::fastest_within(result.holdings, result.limit);
  result.fits = fastest != nullptr;
  result.chosen = fastest ? *fastest : tiles::smallest(result.holdings);
  result.runs = tiles::count_runs(result.network_extent, network_plan.patch, pipeline.tiling);
  return result;
}

CasePlan Segmenter::Implementation::choose(const Image& image, const Request& request) const {
  require_channels(image, configuration);
  if (request.box) require_box_inside(*request.box, image);
  if (!options.allow_implausible_spacing) require_plausible_spacing(image, configuration);
  if (options.precision != Precision::automatic) return plan_with(current().storage, image, request);
  const CasePlan result = plan_with(kernels::Element::f32, image, request);
  return result.fits ? result : plan_with(kernels::Element::bf16, image, request);
}

double Segmenter::Implementation::seconds_of_a_run() {
  double& seconds = seconds_a_run[engine->plan().storage];
  if (seconds > 0) return seconds;
  const Extent& patch = engine->plan().patch;
  const std::vector<float> noise = noise_patch(configuration.architecture.input_channels, patch);
  DropLogits sink;
  engine->run(view_of_patch(noise.data(), patch), sink);  // the first run gets the memory
  engine_ran = true;
  const Clock::time_point start = Clock::now();
  engine->run(view_of_patch(noise.data(), patch), sink);
  seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return seconds;
}

std::vector<std::string> Segmenter::Implementation::unlike_training(
    const Image& image, const tiles::PipelineResult& result, const std::map<int, LabelStatistics>& statistics) const {
  const Spacing spacing = configuration.preprocessing.spacing.value_or(
      tiles::network_frame(configuration, image.geometry()).spacing(image.geometry().spacing));
  std::array<double, 3> extent_mm{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    extent_mm[axis] = spacing[axis] * static_cast<double>(result.network_shape[axis]);
  }
  std::map<int, double> volumes_ml;
  for (const auto& [label, of_label] : statistics) volumes_ml[label] = of_label.ml;
  return model::differences(*configuration.training_images, extent_mm, result.quantiles, volumes_ml,
                            configuration.labels);
}

Forecast Segmenter::Implementation::forecast(const Image& image, const Request& request) {
  const ThreadsOfCaller threads(options.parallel_for);
  const CasePlan chosen = choose(image, request);
  make_engine(chosen.precision);  // to time a run of it
  Forecast forecast;
  forecast.fits = chosen.fits;
  forecast.limit_bytes = chosen.limit;
  forecast.peak_bytes = chosen.chosen.memory.peak();
  forecast.smallest_limit_bytes = chosen.smallest_peak + kDifference;
  forecast.way = tiles::holding_name(chosen.chosen.holding);
  forecast.precision = precision_of(chosen.precision);
  forecast.network_shape = {chosen.network_extent[0], chosen.network_extent[1], chosen.network_extent[2]};
  forecast.runs = chosen.runs;
  for (const tiles::PlannedHolding& one : chosen.holdings) {
    forecast.ways.push_back({tiles::holding_name(one.holding), one.memory.peak()});
  }
  const MemoryLedger& memory = chosen.chosen.memory;
  const auto held = [&](const std::string& part) {
    return part == "image_until_end" ? memory.of("image", WorkStage::finish) : memory.of(part);
  };
  // Every part has its place, also where it holds nothing this time.
  for (const char* part : {"process", "image", "image_until_end", "surveying", "preparing", "prepared", "network",
                           "probabilities", "exporting", "kept", "finishing"}) {
    forecast.memory.emplace_back(part, held(part));
  }
  forecast.seconds_a_run = seconds_of_a_run();
  forecast.seconds_network = forecast.seconds_a_run * static_cast<double>(chosen.runs);
  return forecast;
}

Segmentation Segmenter::Implementation::segment(const Image& image, const Request& request,
                                                const ProgressCallback& progress) {
  const Clock::time_point start = Clock::now();
  const ThreadsOfCaller threads(options.parallel_for);
  const CasePlan chosen = choose(image, request);
  if (!chosen.fits) {
    const std::string enough = limit_text(chosen.chosen.memory.peak() + kDifference);
    if (options.memory_limit > 0) {
      throw Error(ErrorCode::memory_limit, "memory_limit: expected at least " + enough + " for " + image.name() +
                                               ", found " + limit_text(options.memory_limit));
    }
    throw Error(ErrorCode::memory_limit, image.name() +
                                             ": expected three quarters of the free memory to be enough, found that " +
                                             limit_text(chosen.limit) + " are fewer than the " + enough +
                                             " needed (a memory limit of " + enough + " to try all the same)");
  }
  make_engine(chosen.precision);
  tiles::PipelineOptions pipeline = pipeline_options(image, request);
  pipeline.holding = chosen.chosen.holding;
  pipeline.tiling.side_by_side = chosen.chosen.runs_at_once;
  pipeline.read_ahead = tiles::reads_ahead(pipeline.holding, pipeline);
  const Geometry& geometry = image.geometry();
  const std::vector<imaging::SliceSource*> channels = image.implementation().sources();
  RequestFiles files(request, image, configuration, pipeline.threads);
  LabelOutputs outputs(request, geometry.shape, files);
  engine_ran = true;
  tiles::PipelineResult result = tiles::segment_volume(*engine, geometry, channels, pipeline, outputs, progress);
  report_writing(progress, 0);

  Segmentation segmentation;
  segmentation.geometry = geometry;
  segmentation.empty_image = result.empty_image;
  segmentation.remarks = image.remarks();
  segmentation.way = tiles::holding_name(chosen.chosen.holding);
  segmentation.precision = precision_of(chosen.precision);
  segmentation.planned_peak_bytes = chosen.chosen.memory.peak();
  segmentation.runs = result.runs;
  segmentation.statistics = outputs.counter().statistics(geometry, configuration.labels);
  segmentation.asymmetries = imaging::asymmetries(model::side_pairs(configuration), segmentation.statistics);
  for (Remark& remark : files.remarks(request, image)) segmentation.remarks.push_back(std::move(remark));
  if (configuration.training_images && !result.empty_image && !request.box) {
    for (const std::string& line : unlike_training(image, result, segmentation.statistics)) {
      segmentation.remarks.push_back({true, image.name(), line});
    }
  }
  files.write_probabilities(request.probabilities_into ? request.probabilities_into : result.probabilities.data(),
                            configuration.architecture.classes * geometry.voxels());
  files.draw_preview(image, outputs.volume(), configuration.labels);
  if (request.mean_intensities) {
    imaging::add_mean_intensities(channels, geometry.shape, outputs.volume(), segmentation.statistics);
  }
  for (imaging::SliceSource* channel : channels) channel->forget();
  if (request.labels) segmentation.labels = std::move(outputs.kept());
  if (request.probabilities) segmentation.probabilities = std::move(result.probabilities);
  segmentation.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  segmentation.seconds_prepare = result.prepare_seconds;
  segmentation.seconds_network = result.network_seconds;
  segmentation.seconds_export = result.export_seconds;
  if (request.before_files_appear) request.before_files_appear(segmentation);
  report_writing(progress, 1);
  files.commit();
  segmentation.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return segmentation;
}

Segmenter::Segmenter(Model model, const Options& options)
    : implementation_(
          with_errors(kNoMemoryToPlan, [&] { return std::make_unique<Implementation>(std::move(model), options); })) {}
Segmenter::~Segmenter() = default;
Segmenter::Segmenter(Segmenter&&) noexcept = default;
Segmenter& Segmenter::operator=(Segmenter&&) noexcept = default;

Segmentation Segmenter::segment(const Image& image, const Request& request, const ProgressCallback& progress) {
  // What a function of the caller's throws is its owner's and comes out as it is.
  std::exception_ptr of_caller;
  image.implementation().of_reader = nullptr;
  const auto kept = [&](const auto& function) {
    try {
      return function();
    } catch (...) {
      of_caller = std::current_exception();
      throw;
    }
  };
  try {
    return with_errors(kNoMemoryToSegment, [&] {
      ProgressCallback watched;
      if (progress) {
        watched = [&](const Progress& at) {
          try {
            return progress(at);
          } catch (...) {
            of_caller = std::current_exception();
            return false;
          }
        };
      }
      Request asked = request;
      if (request.on_labels) {
        asked.on_labels = [&](std::int64_t first_slice, std::int64_t slices, const std::uint16_t* labels) {
          kept([&] { request.on_labels(first_slice, slices, labels); });
        };
      }
      if (request.before_files_appear) {
        asked.before_files_appear = [&](const Segmentation& segmentation) {
          kept([&] { request.before_files_appear(segmentation); });
        };
      }
      return implementation_->segment(image, asked, watched);
    });
  } catch (const Error&) {  // perhaps since there is no memory: nothing here asks for any
    for (const auto& channel : image.implementation().channels) channel->forget();
    if (of_caller) std::rethrow_exception(of_caller);
    if (image.implementation().of_reader) std::rethrow_exception(std::exchange(image.implementation().of_reader, {}));
    throw;
  }
}

Forecast Segmenter::forecast(const Image& image, const Request& request) {
  return with_errors(kNoMemoryToSegment, [&] { return implementation_->forecast(image, request); });
}

int Segmenter::threads() const { return implementation_->current().threads; }
std::int64_t Segmenter::planned_peak_bytes() const {
  return static_cast<std::int64_t>(implementation_->current().peak_bytes());
}

}  // namespace e2enet
