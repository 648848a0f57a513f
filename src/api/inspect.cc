#include "e2enet/inspect.h"

#include "api/errors.h"
#include "api/image.h"
#include "api/image_checks.h"
#include "api/patch.h"
#include "base/parallel.h"
#include "base/simd/dispatch.h"
#include "e2enet/machine.h"
#include "model/flops.h"
#include "model/random_model.h"
#include "prepare/preprocess.h"
#include "tiles/volume_pipeline.h"

namespace e2enet {
namespace {

const Error kNoMemory(ErrorCode::out_of_memory, "no memory to inspect a model");
const Error kNoMemoryToPrepare(ErrorCode::out_of_memory, "no memory to prepare an image of this size");

Extent patch_of(const model::Network& network, const std::array<int, 3>& patch) {
  return patch == std::array<int, 3>{0, 0, 0} ? network.architecture().patch_size : Extent(patch);
}

}  // namespace

std::vector<LayerInfo> layers(const Model& model, const std::array<int, 3>& patch) {
  return with_errors(kNoMemory, [&] {
    const model::Network& network = *model.network();
    std::vector<LayerInfo> infos;
    for (const model::Layer& layer : network.layers()) {
      const model::Flops flops = model::count_flops(network, layer, patch_of(network, patch));
      LayerInfo info;
      info.name = layer.description.name;
      info.kind = model::layer_kind_name(layer.description.kind);
      info.inputs = layer.description.inputs();
      info.outputs = layer.description.outputs;
      info.kept_kernels = layer.kept();
      info.density = layer.density();
      info.parameters = layer.parameters();
      info.flops_paper = flops.paper;
      info.flops_executed = flops.executed;
      infos.push_back(std::move(info));
    }
    return infos;
  });
}

NetworkPlan plan_network(const Model& model, const PatchOptions& options) {
  return with_errors(kNoMemory, [&] {
    const model::Network& network = *model.network();
    const std::int64_t loaded = resident_bytes() - network.kernel_bytes();
    const plan::Plan plan(network, plan_options(options));
    const model::Flops flops = model::count_flops(network, plan.patch);
    NetworkPlan result;
    result.patch = plan.patch;
    result.threads = plan.threads;
    result.network_bytes = static_cast<std::int64_t>(plan.peak_bytes());
    result.process_bytes = planned_process_bytes(loaded, plan, network.architecture().input_channels);
    result.flops_paper = flops.paper;
    result.flops_executed = flops.executed;
    return result;
  });
}

NetworkShape network_shape(const Model& model) {
  return with_errors(kNoMemory, [&] {
    const model::Architecture& architecture = model.network()->architecture();
    NetworkShape shape;
    for (const Stride& stride : architecture.pool_strides) shape.pool_strides.push_back(stride);
    for (int level = 0; level <= architecture.pooling_steps(); ++level) {
      shape.features.push_back(architecture.features(level));
    }
    shape.depth_shift_groups = architecture.groups;
    shape.regions = model.network()->configuration().output == model::OutputKind::sigmoid;
    return shape;
  });
}

Prepared prepare(const Model& model, const Image& image, const Options& options) {
  return with_errors(kNoMemoryToPrepare, [&] {
    const model::Configuration& configuration = model.network()->configuration();
    require_channels(image, configuration);
    if (!options.allow_implausible_spacing) require_plausible_spacing(image, configuration);
    const ThreadsOfCaller of_caller(options.parallel_for);
    const int threads = usable_threads(options.threads);
    const model::Preprocessing& preprocessing = configuration.preprocessing;
    const std::vector<imaging::SliceSource*> channels = image.implementation().sources();
    imaging::SurveyOptions survey_options = imaging::PreprocessPlan::survey_options(image.geometry(), preprocessing);
    survey_options.threads = threads;
    imaging::Survey survey = imaging::survey_image(channels, survey_options);
    if (survey.empty()) {
      throw Error(ErrorCode::invalid_image, image.name() + ": expected voxels that differ from zero, found none");
    }
    const imaging::PreprocessPlan plan(image.geometry(), survey, preprocessing);
    const imaging::Preprocessed prepared = imaging::preprocess(plan, channels, survey, {1, 1, 1}, threads);
    Prepared result;
    result.shape = {prepared.channels, prepared.shape[0], prepared.shape[1], prepared.shape[2]};
    const std::int64_t values = prepared.channels * prepared.shape[0] * prepared.shape[1] * prepared.shape[2];
    result.voxels.assign(prepared.channel(0), prepared.channel(0) + values);
    return result;
  });
}

void write_random_model(const std::string& configuration_json, const std::string& source, std::uint64_t seed,
                        const std::string& path) {
  with_errors(kNoMemory, [&] { model::write_random_model(configuration_json, source, seed, path); });
}

std::string instruction_set() {
  return with_errors(kNoMemory, [] { return std::string(simd::instruction_set()); });
}

}  // namespace e2enet
