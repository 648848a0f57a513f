// e2enet preprocess: what the network would see of a volume.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "cli/command_files.h"
#include "cli/commands.h"
#include "cli/image_remarks.h"
#include "cli/network_run.h"
#include "cli/npy.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/segment_job.h"
#include "cli/text.h"
#include "e2enet/inspect.h"

namespace e2enet::cli {
namespace {

constexpr char kDescription[] =
    "Write what the network would see of a volume\n"
    "\n"
    "Usage: e2enet preprocess -m MODEL -i IMAGE [IMAGE2 ...] -o X.npy [OPTIONS]\n"
    "\n"
    "IMAGE is a NIfTI file a channel, or a DICOM series as for `segment`.\n"
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
  OpenOptions open;
};

int run(const Arguments& arguments) {
  CommandFiles files;
  files.reads("--model", arguments.model);
  for (const std::string& image : arguments.images) add_read("--image", image, files);
  files.writes("--output", arguments.output);
  files.require_writable();
  Options options;
  options.threads = use_threads(arguments.common);
  options.allow_implausible_spacing = arguments.force;
  const Model model = Model::load(arguments.model);
  const int channels = model.input_channels();
  const Image image = Image::open(arguments.images, arguments.open);
  if (image.channels() != channels) {
    throw UsageError("--image: expected " + std::to_string(channels) + (channels == 1 ? " image" : " images") +
                     " (the model's channels), found " + std::to_string(image.channels()));
  }
  ProgressDisplay display(ProgressDisplay::style_for(arguments.common.quiet));
  show_remarks(display, "preprocess", image.remarks());
  const Prepared prepared = prepare(model, image, options);
  const std::vector<std::int64_t> shape(prepared.shape.begin(), prepared.shape.end());
  stop_if_interrupted();
  write_npy(arguments.output, shape, prepared.voxels.data());
  if (!arguments.common.quiet) std::cout << arguments.output << ": " << shape_text(shape) << "\n";
  return kDone;
}

}  // namespace

void add_preprocess(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  Command command(program, "preprocess", kDescription, "For development", kFooter);
  command.add_option("-m,--model", arguments->model, "Model file (.safetensors)")
      .type_name("MODEL")
      .required()
      .group("Options");
  command.add_option("-i,--image", arguments->images, "Image, one file a channel; a DICOM series")
      .type_name("IMAGE...")
      .required()
      .group("Options");
  command.add_option("-o,--output", arguments->output, "Array to write").type_name("X.npy").required().group("Options");
  command.add_option("--series", arguments->open.series, "Of DICOM: which series is meant, one a channel")
      .type_name("UID|NUMBER...")
      .group("Options");
  command.add_flag("--regrid", arguments->open.regrid, "Of DICOM: take slices at uneven distances").group("Options");
  add_force_option(command, arguments->force, "Options");
  add_common_options(command, arguments->common, Json::no);
  command.on_parsed([arguments, &invocation] { invocation.run = [arguments] { return run(*arguments); }; });
}

}  // namespace e2enet::cli
