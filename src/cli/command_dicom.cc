// e2enet dicom: which DICOM series are in a folder?
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/dicom_table.h"
#include "cli/options.h"
#include "cli/text.h"
#include "e2enet/dicom.h"

namespace e2enet::cli {
namespace {

using nlohmann::ordered_json;

constexpr char kDescription[] =
    "List the DICOM series of a folder\n"
    "\n"
    "Usage: e2enet dicom FOLDER|FILE [...] [OPTIONS]\n"
    "\n"
    "Files are told by content, folders in the folder are looked through too. For each series: number,\n"
    "description, modality, number of slices, whether it is a volume that `e2enet segment --series` takes\n"
    "(and if not, why), and UID.";

constexpr char kFooter[] =
    "Examples:\n"
    "  e2enet dicom scan/\n"
    "  e2enet dicom scan/ --json | jq -r '.series[] | select(.volume) | .uid'";

struct Arguments {
  CommonOptions common;
  std::vector<std::string> paths;
};

int run(const Arguments& arguments) {
  const DicomFolder folder = list_dicom(arguments.paths);
  if (arguments.common.json) {
    ordered_json json;
    json["series"] = ordered_json::array();
    for (const DicomSeries& series : folder.series) {
      const std::string why =
          !series.not_a_volume.empty() && series.problem.empty() ? series.not_a_volume : series.problem;
      json["series"].push_back({{"number", valid_utf8(series.number)},
                                {"description", valid_utf8(series.description)},
                                {"modality", valid_utf8(series.modality)},
                                {"slices", series.slices},
                                {"uid", valid_utf8(series.uid)},
                                {"study_uid", valid_utf8(series.study_uid)},
                                {"volume", series.volume && series.problem.empty()},
                                {"problem", valid_utf8(why)}});
    }
    json["other_files"] = folder.other_files;
    json["other_objects"] = folder.other_objects;
    std::cout << json_text(json) << "\n";
    return kDone;
  }
  if (folder.series.empty()) {
    std::cout << "no DICOM image\n";
  } else {
    std::cout << dicom_table(folder);
  }
  for (const DicomSeries& series : folder.series) {
    if (series.problem.empty() || !series.volume) continue;
    std::cout << "series " << one_line(valid_utf8(series.number.empty() ? series.uid : series.number)) << ": "
              << one_line(valid_utf8(series.problem)) << "\n";
  }
  if (!arguments.common.quiet && folder.other_files + folder.other_objects > 0) {
    std::cout << folder.other_files << " other files, " << folder.other_objects << " DICOM objects without pixels\n";
  }
  return kDone;
}

}  // namespace

void add_dicom(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  Command command(program, "dicom", kDescription, "Main commands", kFooter);
  command.add_option("folder", arguments->paths, "Folders and files to look through")
      .type_name("FOLDER")
      .required()
      .group("Options");
  add_common_options(command, arguments->common, Json::yes);
  command.on_parsed([arguments, &invocation] { invocation.run = [arguments] { return run(*arguments); }; });
}

}  // namespace e2enet::cli
