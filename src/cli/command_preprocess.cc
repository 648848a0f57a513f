// e2enet preprocess: what the network would see of a volume.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "cli/command_files.h"
#include "cli/commands.h"
#include "cli/network_run.h"
#include "cli/npy.h"
#include "cli/progress.h"
#include "cli/segmented_case.h"
#include "cli/text.h"
#include "e2enet/error.h"
#include "model/model_file.h"
#include "prepare/preprocess.h"
#include "tiles/volume_pipeline.h"

namespace e2enet::cli {
namespace {

constexpr char kDescription[] =
    "Write what the network would see of a volume\n"
    "\n"
    "Usage: e2enet preprocess -m MODEL -i IMAGE [IMAGE2 ...] -o X.npy [OPTIONS]\n"
    "\n"
    "Crops, transposes, resamples and normalises the image as the model asks for, and writes it as float32\n"
    "(channels, D, H, W), without the zeros that pad a volume smaller than the patch.";

constexpr char kFooter[] =
    "Examples:\n"
    "  e2enet preprocess -m model.safetensors -i head.nii.gz -o head.npy\n"
    "  e2enet preprocess -m model.safetensors -i t1.nii.gz t2.nii.gz -o both.npy";

struct Arguments {
  CommonOptions common;
  std::string model;
  std::vector<std::string> images;
  std::string output;
  bool force = false;
};

int run(const Arguments& arguments) {
  CommandFiles files;
  files.reads("--model", arguments.model);
  for (const std::string& image : arguments.images) files.reads("--image", image);
  files.writes("--output", arguments.output);
  files.require_writable();
  use_threads(arguments.common);
  const int threads = default_threads();
  const auto network = model::load_model_file(arguments.model);
  const int channels = network->architecture().input_channels;
  if (static_cast<int>(arguments.images.size()) != channels) {
    throw UsageError("--image: expected " + std::to_string(channels) + (channels == 1 ? " image" : " images") +
                     " (the model's channels), found " + std::to_string(arguments.images.size()));
  }
  const imaging::PreprocessingConfiguration configuration =
      tiles::preprocessing_configuration(network->configuration());
  const ImageFiles image(arguments.images);
  ProgressDisplay display(ProgressDisplay::style_for(arguments.common.quiet));
  show_remarks(display, "preprocess", image.remarks());
  require_plausible_spacing(image, network->configuration(), arguments.force);
  imaging::SurveyOptions options = imaging::PreprocessPlan::survey_options(image.geometry(), configuration);
  options.threads = threads;
  imaging::Survey survey = imaging::survey_image(image.sources(), options);
  if (survey.empty()) {
    throw Error(ErrorCode::invalid_image, arguments.images[0] + ": expected voxels that differ from zero, found none");
  }
  const imaging::PreprocessPlan plan(image.geometry(), survey, configuration);
  const imaging::Preprocessed prepared = imaging::preprocess(plan, image.sources(), survey, {1, 1, 1}, threads);
  const std::vector<std::int64_t> shape = {prepared.channels, prepared.shape[0], prepared.shape[1], prepared.shape[2]};
  stop_if_interrupted();
  write_npy(arguments.output, shape, prepared.channel(0));
  if (!arguments.common.quiet) std::cout << arguments.output << ": " << shape_text(shape) << "\n";
  return kDone;
}

}  // namespace

void add_preprocess(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *program.add_subcommand("preprocess", kDescription);
  command.group("For development");
  command.footer(kFooter);
  command.add_option("-m,--model", arguments->model, "Model file (.safetensors)")
      ->type_name("MODEL")
      ->required()
      ->group("Options");
  command.add_option("-i,--image", arguments->images, "Image, one file a channel")
      ->type_name("IMAGE...")
      ->required()
      ->group("Options");
  command.add_option("-o,--output", arguments->output, "Array to write")
      ->type_name("X.npy")
      ->required()
      ->group("Options");
  add_force_option(command, arguments->force, "Options");
  add_common_options(command, arguments->common, Json::no);
  command.final_callback([arguments, &invocation] { invocation.run = [arguments] { return run(*arguments); }; });
}

}  // namespace e2enet::cli
