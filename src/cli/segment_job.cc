#include "cli/segment_job.h"

#include <cctype>
#include <filesystem>

#include "cli/arguments.h"
#include "e2enet/dicom.h"
#include "e2enet/files.h"

namespace e2enet::cli {

namespace fs = std::filesystem;

std::vector<std::pair<std::string, std::string>> outputs_of(const Job& job) {
  std::vector<std::pair<std::string, std::string>> outputs;
  const std::pair<const char*, const std::string*> all[] = {{"--output", &job.labels},
                                                            {"--probabilities", &job.probabilities},
                                                            {"--preview", &job.preview},
                                                            {"--statistics", &job.statistics},
                                                            {"--record", &job.record}};
  for (const auto& [option, path] : all) {
    if (!path->empty()) outputs.emplace_back(option, *path);
  }
  return outputs;
}

void add_read(const std::string& role, const std::string& path, CommandFiles& files) {
  files.reads(role, path);
  std::error_code error;
  if (!fs::is_directory(path, error)) return;
  for (fs::recursive_directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored) && is_dicom(entry->path().string())) files.reads(role, entry->path().string());
  }
}

void add_inputs(const Job& job, const std::string& head, CommandFiles& files) {
  for (const std::string& image : job.images) add_read(head + "--image", image, files);
}
void add_outputs(const Job& job, const std::string& head, CommandFiles& files) {
  for (const auto& [option, path] : outputs_of(job)) files.writes(head + option, path);
}

bool ends_in_dcm(const std::string& path) {
  std::string ending = fs::path(path).extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return ending == ".dcm" && !fs::path(path).stem().empty();
}

void require_image_ending(const std::string& option, const std::string& path) {
  if (path.empty()) return;
  const ImageName name = parse_image_name(path);
  if (option == "--output" && ends_in_dcm(path)) return;
  if (name.kind != NameKind::none && !fs::path(name.stem).filename().empty()) return;
  throw UsageError(option + ": expected a file name ending in .nii.gz, .nii, .hdr or .img" +
                   (option == "--output" ? std::string(" (or .dcm for a DICOM segmentation)") : std::string()) +
                   ", found '" + path + "'");
}

void require_ending(const std::string& option, const std::string& path, const std::string& ending) {
  if (path.empty() || (path.size() > ending.size() && fs::path(path).extension() == ending)) return;
  throw UsageError(option + ": expected a file name ending in " + ending + ", found '" + path + "'");
}

}  // namespace e2enet::cli
