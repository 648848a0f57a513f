// e2enet segment: the main job.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/cases.h"
#include "cli/command_files.h"
#include "cli/commands.h"
#include "cli/dicom_table.h"
#include "cli/image_remarks.h"
#include "cli/network_run.h"
#include "cli/progress.h"
#include "cli/statistics_output.h"
#include "cli/text.h"
#include "e2enet/dicom.h"
#include "e2enet/error.h"
#include "e2enet/files.h"
#include "e2enet/json.h"
#include "e2enet/segmenter.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr char kDescription[] =
    "Segment an image, or every image of a folder\n"
    "\n"
    "Usage: e2enet segment -m MODEL -i IMAGE [IMAGE2 ...] -o LABELS [OPTIONS]\n"
    "       e2enet segment -m MODEL -i FOLDER -o FOLDER [OPTIONS]\n"
    "\n"
    "Reads NIfTI images (.nii, .nii.gz, .hdr/.img; one file a channel) or DICOM series (a folder, a list of\n"
    "files, or one multi-frame file a channel), and writes labels on the same voxels, with the image's own\n"
    "geometry; those of a DICOM series also as a DICOM segmentation (LABELS.dcm). A folder of NIfTI images\n"
    "has one file a case and channel, named CASE_0000.nii.gz, CASE_0001.nii.gz, ... up to the model's\n"
    "channels, or CASE.nii.gz; its labels become CASE.nii.gz in the output folder, and summary.json tells\n"
    "what was done and which files were left out. A case that fails is reported and does not stop the\n"
    "others; the exit code is 1 then.";

constexpr char kFooter[] =
    "Examples:\n"
    "  e2enet segment -m model.safetensors -i head.nii.gz -o labels.nii.gz\n"
    "  A DICOM series, with the labels as a DICOM segmentation on its slices (docs/dicom.md):\n"
    "    e2enet segment -m model.safetensors -i scan/ --series 4 -o labels.dcm\n"
    "  Two channels, a picture of the result and its volumes:\n"
    "    e2enet segment -m model.safetensors -i t1.nii.gz t2.nii.gz -o labels.nii.gz \\\n"
    "        --preview labels.png --statistics volumes.json\n"
    "  Only a box of the image:\n"
    "    e2enet segment -m model.safetensors -i head.nii.gz -o labels.nii.gz --roi 95:140,80:130,40:90\n"
    "  A folder, the second of four computers, going on where it stopped:\n"
    "    e2enet segment -m model.safetensors -i images/ -o labels/ --part 2/4 --continue";

LargestComponent parse_largest_component(const std::string& text) {
  if (text == "none") return LargestComponent::none;
  if (text == "all") return LargestComponent::all;
  return LargestComponent::model;
}

struct Arguments {
  CommonOptions common;
  std::string model;
  std::vector<std::string> images;
  std::string output;
  std::string precision = "f32";
  double step = 0.5;
  bool mirror = false;
  std::string largest_component = "model";
  bool force = false;
  std::string memory;
  std::string box;
  std::string probabilities;
  std::string preview;
  std::string statistics;
  bool keep_finished = false;
  bool dry_run = false;
  std::string part;
  OpenOptions open;
  std::string dicom_reference;
};

// One case and everything that becomes of it; empty names are not wanted.
struct Job {
  std::string name;
  std::vector<std::string> images;
  std::string problem;  // found before the start
  std::string labels;
  std::string probabilities;
  std::string preview;
  std::string statistics;
};

std::vector<std::pair<std::string, std::string>> outputs_of(const Job& job) {
  std::vector<std::pair<std::string, std::string>> outputs;
  const std::pair<const char*, const std::string*> all[] = {{"--output", &job.labels},
                                                            {"--probabilities", &job.probabilities},
                                                            {"--preview", &job.preview},
                                                            {"--statistics", &job.statistics}};
  for (const auto& [option, path] : all) {
    if (!path->empty()) outputs.emplace_back(option, *path);
  }
  return outputs;
}

// A file, or all that is in a DICOM folder: no slice may be written over.
void add_read(const std::string& role, const std::string& path, CommandFiles& files) {
  files.reads(role, path);
  std::error_code error;
  if (!fs::is_directory(path, error)) return;
  for (fs::recursive_directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored) && is_dicom(entry->path().string())) files.reads(role, entry->path().string());
  }
}

// Registers a case's files; in messages of a folder its name stands before the option's.
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

std::string volumes_line(const std::map<int, LabelStatistics>& statistics) {
  std::string line;
  std::size_t shown = 0;
  for (const auto& [label, of_label] : statistics) {
    if (++shown > 4) return line + ", ...";
    line += (line.empty() ? "" : ", ") + of_label.name + " " + fixed(of_label.ml, 2) + " mL";
  }
  return line;
}

class SegmentCommand {
 public:
  explicit SegmentCommand(const Arguments& arguments)
      : arguments_(arguments), display_(ProgressDisplay::style_for(arguments.common.quiet)) {}

  int run() {
    threads_ = use_threads(arguments_.common);
    if (!arguments_.box.empty()) box_ = parse_box(arguments_.box, "--roi");
    if (!arguments_.memory.empty()) memory_limit_ = parse_size(arguments_.memory, "--memory");
    const bool folder = arguments_.images.size() == 1 && fs::is_directory(arguments_.images[0]);
    dicom_ = folder ? is_dicom(arguments_.images[0]) : is_dicom(arguments_.images[0]) || any_folder();
    if (!dicom_ && (!arguments_.open.series.empty() || arguments_.open.regrid) && arguments_.dicom_reference.empty()) {
      throw UsageError(std::string(arguments_.open.regrid ? "--regrid" : "--series") +
                       ": expected a DICOM series as --image, found " + arguments_.images[0]);
    }
    if (!arguments_.dicom_reference.empty() && !ends_in_dcm(arguments_.output)) {
      throw UsageError("--dicom-reference: expected a DICOM segmentation (.dcm) as --output, found '" +
                       arguments_.output + "'");
    }
    return folder && !dicom_ ? run_folder() : run_image();
  }

 private:
  // Where one path is a folder, each is a series.
  bool any_folder() const {
    const bool any = std::any_of(arguments_.images.begin(), arguments_.images.end(),
                                 [](const std::string& image) { return fs::is_directory(image); });
    return any && std::all_of(arguments_.images.begin(), arguments_.images.end(), is_dicom);
  }

  int run_image() {
    if (arguments_.keep_finished || !arguments_.part.empty()) {
      throw UsageError(std::string(arguments_.keep_finished ? "--continue" : "--part") +
                       ": expected a folder as --image, found a file");
    }
    for (const std::string& image : arguments_.images) {
      if (!dicom_ && fs::is_directory(image))
        throw UsageError("--image: expected files or one folder, found several with " + image);
    }
    Job job;
    job.images = arguments_.images;
    job.name = image_stem(arguments_.images[0]);
    if (job.name.empty()) job.name = fs::path(arguments_.images[0]).filename().string();
    if (job.name.empty()) job.name = fs::path(arguments_.images[0]).parent_path().filename().string();  // "scan/"
    job.labels = arguments_.output;
    job.probabilities = arguments_.probabilities;
    job.preview = arguments_.preview;
    job.statistics = arguments_.statistics;
    require_image_ending("--output", job.labels);
    require_image_ending("--probabilities", job.probabilities);
    require_ending("--preview", job.preview, ".png");
    require_ending("--statistics", job.statistics, ".json");
    CommandFiles files;
    files.reads("--model", arguments_.model);
    add_inputs(job, "", files);
    if (!arguments_.dicom_reference.empty()) add_read("--dicom-reference", arguments_.dicom_reference, files);
    add_outputs(job, "", files);
    if (!arguments_.dry_run) files.require_writable();
    load_model();
    const int channels = channels_;
    if (!dicom_ && static_cast<int>(job.images.size()) != channels) {
      throw UsageError("--image: expected " + std::to_string(channels) + (channels == 1 ? " image" : " images") +
                       " (the model's channels), found " + std::to_string(job.images.size()));
    }
    const ordered_json result = process(job);
    if (arguments_.common.json) {
      std::cout << json_text(result) << "\n";
    } else if (!arguments_.common.quiet && !arguments_.dry_run) {
      std::cout << job.labels << "  (" << duration_text(result["seconds"]) << ")\n";
      Table table({{"label", Align::left}, {"voxels"}, {"mL"}});
      for (const auto& [label, of_label] : result["labels"].items()) {
        table.add({label + " " + of_label["name"].get<std::string>(),
                   std::to_string(of_label["voxels"].get<std::int64_t>()), fixed(of_label["ml"], 3)});
      }
      std::cout << table.text();
      if (!asymmetries_.empty()) std::cout << "\n" << asymmetry_table(asymmetries_);
      for (const auto& [option, path] : outputs_of(job)) {
        if (option != "--output") std::cout << path << "\n";
      }
    }
    return kDone;
  }

  struct FolderJobs {
    std::vector<Job> jobs;              // this part's, in order
    std::vector<std::string> left_out;  // files of the folder that are in no case
  };

  // Also makes sure that no output of any case, in this part or another, is an input or another output.
  FolderJobs jobs_of_folder(const std::string& summary_path, CommandFiles& files) {
    const std::string& folder = arguments_.images[0];
    FolderCases found = find_cases(folder, channels_);
    FolderJobs result;
    for (const std::string& path : found.left_out) {
      const auto outputs = folders_of_outputs();
      const bool output =
          std::any_of(outputs.begin(), outputs.end(), [&](const std::string& other) { return same_file(path, other); });
      if (!output) result.left_out.push_back(path);
    }
    if (found.cases.empty()) {
      throw Error(ErrorCode::cannot_read, folder + ": expected images (CASE_0000.nii.gz), found none");
    }
    std::vector<Job> all;
    for (const Case& one : found.cases) {
      const auto in = [](const std::string& where, const std::string& name) {
        return where.empty() ? std::string() : (fs::path(where) / name).string();
      };
      Job job;
      job.name = one.name;
      job.images = one.channels;
      job.problem = one.problem;
      job.labels = in(arguments_.output, job.name + ".nii.gz");
      job.probabilities = in(arguments_.probabilities, job.name + "_probabilities.nii.gz");
      job.preview = in(arguments_.preview, job.name + ".png");
      job.statistics = in(arguments_.statistics, job.name + "_statistics.json");
      all.push_back(std::move(job));
    }
    files.reads("--model", arguments_.model);
    for (const Job& job : all) add_inputs(job, "case " + job.name + ": ", files);
    for (const Job& job : all) add_outputs(job, "case " + job.name + ": ", files);
    files.writes("the summary", summary_path);
    for (const std::string& remark : found.remarks) display_.remark(remark);
    const std::string line = left_out_line(folder, result.left_out);
    if (!line.empty()) display_.remark(line);
    const Part part = arguments_.part.empty() ? Part{} : parse_part(arguments_.part, "--part");
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (static_cast<int>(i % static_cast<std::size_t>(part.parts)) == part.part - 1) {
        result.jobs.push_back(std::move(all[i]));
      }
    }
    return result;
  }

  std::vector<std::string> folders_of_outputs() const {
    std::vector<std::string> folders;
    for (const std::string* folder :
         {&arguments_.output, &arguments_.probabilities, &arguments_.preview, &arguments_.statistics}) {
      if (!folder->empty()) folders.push_back(*folder);
    }
    return folders;
  }

  void make_folder(const std::string& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error || !fs::is_directory(folder)) {
      throw Error(ErrorCode::cannot_write,
                  folder + ": the folder cannot be made: " + (error ? error.message() : "a file has its name"));
    }
    // What a run that was killed, or another that still works, has under way: never read, but better known.
    std::size_t unfinished = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
      const std::string name = entry.path().filename().string();
      unfinished += name[0] == '.' && entry.path().extension() == ".partial";
    }
    if (unfinished > 0) {
      display_.remark(folder + ": " + std::to_string(unfinished) +
                      " unfinished (.*.partial), of a run that was killed or of another that goes on");
    }
  }

  int run_folder() {
    for (const auto& [option, folder] :
         {std::pair("--output", &arguments_.output), std::pair("--probabilities", &arguments_.probabilities)}) {
      // The next run would take what is written for images.
      if (!folder->empty() && same_file(arguments_.images[0], *folder)) {
        throw UsageError(std::string(option) + ": expected another folder than --image, found " + *folder +
                         " for both");
      }
    }
    std::string summary_name = "summary.json";
    if (!arguments_.part.empty()) {  // computers that share a folder must not write one file
      const Part part = parse_part(arguments_.part, "--part");
      summary_name = "summary_part_" + std::to_string(part.part) + "_of_" + std::to_string(part.parts) + ".json";
    }
    const std::string summary_path = (fs::path(arguments_.output) / summary_name).string();
    load_model();  // which says what a case has to have
    CommandFiles files;
    const FolderJobs found = jobs_of_folder(summary_path, files);
    const std::vector<Job>& jobs = found.jobs;
    if (!arguments_.dry_run) {
      for (const std::string& folder : folders_of_outputs()) make_folder(folder);
      files.require_writable();
    }

    std::map<std::string, ordered_json> earlier;
    if (arguments_.keep_finished) earlier = earlier_results(summary_path, jobs);
    ordered_json results = ordered_json::array();
    std::size_t failed = 0, skipped = 0;
    const auto write_summary = [&] {
      ordered_json summary;
      summary["model"] = arguments_.model;
      summary["cases_failed"] = failed;
      summary["cases_not_done"] = jobs.size() - results.size();
      summary["cases"] = results;
      summary["left_out"] = found.left_out;
      if (!arguments_.dry_run) write_text(summary_path, json_text(summary) + "\n");
      return summary;
    };
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      const Job& job = jobs[i];
      if (arguments_.keep_finished && fs::exists(job.labels)) {  // files appear under their name only when complete
        ++skipped;
        const auto known = earlier.find(job.name);
        results.push_back(known != earlier.end() ? known->second
                                                 : ordered_json{{"case", job.name}, {"labels_file", job.labels}});
        continue;
      }
      prefix_ = "[" + std::to_string(i + 1) + "/" + std::to_string(jobs.size()) + "] ";
      try {
        stop_if_interrupted();
        if (!job.problem.empty()) throw Error(ErrorCode::invalid_image, job.problem);
        ordered_json result = process(job);
        display_.clear();
        if (!arguments_.common.quiet && !arguments_.common.json && !arguments_.dry_run) {
          std::cout << prefix_ << job.name << "  " << duration_text(result["seconds"]) << "  "
                    << volumes_line(statistics_) << std::endl;
        }
        results.push_back(std::move(result));
      } catch (const std::exception& problem) {
        display_.clear();
        const auto* error = dynamic_cast<const Error*>(&problem);
        if (error != nullptr && error->code() == ErrorCode::cancelled) {
          write_summary();
          throw;
        }
        ++failed;
        const std::string text =
            dynamic_cast<const std::bad_alloc*>(&problem) ? "the system gave no memory" : problem.what();
        std::cerr << "e2enet segment: error: " << one_line("case " + job.name + ": " + text) << std::endl;
        results.push_back({{"case", job.name}, {"error", text}});
      }
    }
    const ordered_json summary = write_summary();
    if (skipped > 0) display_.remark(std::to_string(skipped) + " finished before, left as they are");
    if (arguments_.common.json) std::cout << json_text(summary) << "\n";
    if (arguments_.dry_run && !arguments_.common.json) print_total(results);
    if (failed > 0) {
      std::cerr << "e2enet segment: error: " << failed << " of " << jobs.size() << " cases failed"
                << (arguments_.dry_run ? "" : ", see " + summary_path) << std::endl;
    }
    return failed > 0 ? kFailed : kDone;
  }

  static void print_total(const ordered_json& results) {
    double seconds = 0;
    std::int64_t peak = 0;
    for (const ordered_json& result : results) {
      if (!result.contains("seconds_network")) continue;
      seconds += result["seconds_network"].get<double>();
      peak = std::max(peak, result["peak_bytes"].get<std::int64_t>());
    }
    std::cout << "all cases: about " << duration_text(seconds) << ", " << bytes_text(peak) << " of memory at most"
              << std::endl;
  }

  // What an earlier summary says of these cases; a summary that cannot be read only lacks these details.
  static std::map<std::string, ordered_json> earlier_results(const std::string& path, const std::vector<Job>& jobs) {
    std::map<std::string, ordered_json> results;
    if (!fs::is_regular_file(path)) return results;
    const ordered_json summary = ordered_json::parse(read_text_file(path), nullptr, false);
    if (!summary.is_object() || !summary.contains("cases")) return results;
    std::map<std::string, ordered_json> by_text;
    for (const ordered_json& one : summary["cases"]) {
      if (one.is_object() && one.contains("case") && one["case"].is_string()) by_text[one["case"]] = one;
    }
    // Names that are not UTF-8 are altered in the summary, and two of them may have become one.
    std::map<std::string, int> named;
    for (const Job& job : jobs) ++named[valid_utf8(job.name)];
    for (const Job& job : jobs) {
      const auto found = by_text.find(valid_utf8(job.name));
      if (found != by_text.end() && named[found->first] == 1) results[job.name] = found->second;
    }
    return results;
  }

  void load_model() {
    Options options;
    options.threads = threads_;
    options.precision = parse_precision(arguments_.precision);
    options.step = arguments_.step;
    options.mirror = arguments_.mirror;
    options.largest_component = parse_largest_component(arguments_.largest_component);
    options.allow_implausible_spacing = arguments_.force;
    options.memory_limit = memory_limit_;
    Model model = Model::load(arguments_.model);
    channels_ = model.input_channels();
    try {
      segmenter_.emplace(std::move(model), options);
    } catch (const Error& error) {  // which names the option: "step: expected ..."
      if (error.code() != ErrorCode::invalid_argument) throw;
      throw UsageError(std::string("--") + error.what());
    }
  }

  // The box in the image's order of axes. Throws UsageError where it is not inside the image.
  std::optional<Box> box_in(const Shape& shape) const {
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

  // Reads, segments and writes one case. The labels get their name last: where they are, the case is finished.
  ordered_json process(const Job& job) {
    const auto start = Clock::now();
    const std::string head = prefix_ + job.name + ": ";
    display_.update(head + "reading", 0, 0, -1);
    const Image image = open(job.images);
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
      if (job.statistics.empty()) return;
      ordered_json statistics = result;
      add_labels(found, statistics);
      write_text(job.statistics, json_text(statistics) + "\n");
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

  // Where it is not clear which series is meant, all that there are stand under the error.
  Image open(const std::vector<std::string>& paths) {
    OpenOptions options = arguments_.open;
    if (!dicom_) options = {};
    try {
      return Image::open(paths, options);
    } catch (const Error& error) {
      if (dicom_ && std::string(error.what()).find(": series: expected") != std::string::npos) {
        display_.clear();
        std::cerr << dicom_table(list_dicom(paths));
      }
      throw;
    }
  }

  // As the library, but that its memory limit is called --memory here.
  Segmentation segment(const Image& image, const Request& request, const ProgressCallback& progress) {
    try {
      return segmenter_->segment(image, request, progress);
    } catch (const Error& error) {
      const std::string text = error.what(), field = "memory_limit";
      if (error.code() != ErrorCode::memory_limit || text.compare(0, field.size(), field) != 0) throw;
      throw Error(error.code(), "--memory" + text.substr(field.size()));
    }
  }

  static const char* stage_text(Progress::Stage stage) {
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
  static void add_labels(const ordered_json& found, ordered_json& result) {
    result["labels"] = found["labels"];
    if (found.contains("asymmetry")) result["asymmetry"] = found["asymmetry"];
  }

  // What would be done, instead of doing it.
  ordered_json dry_run(const Job& job, const Image& image, const Request& request) {
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
                << bytes_text(memory["prepared"]) << " prepared image, " << bytes_text(memory["network"])
                << " network, " << bytes_text(memory["probabilities"]) << " probabilities, "
                << bytes_text(memory["exporting"]) << " export, " << bytes_text(memory["kept"]) << " kept volumes, "
                << bytes_text(memory["image_until_end"]) << " image as stored; or "
                << bytes_text(memory["image"] + memory["preparing"]) << " while preparing\n"
                << "  all plans               ";
      std::string list;
      for (const Forecast::Way& one : forecast.ways) {
        list += (list.empty() ? "" : "; ") + one.name + " " + bytes_text(one.peak_bytes);
      }
      std::cout << list << std::endl;
    }
    return result;
  }

  const Arguments& arguments_;
  ProgressDisplay display_;
  VoxelBox box_;
  std::int64_t memory_limit_ = 0;  // bytes; 0: none
  std::string prefix_;
  int threads_ = 0;
  int channels_ = 0;
  std::optional<Segmenter> segmenter_;
  bool dicom_ = false;                         // the image is a DICOM series
  std::map<int, LabelStatistics> statistics_;  // of the last case
  std::vector<Asymmetry> asymmetries_;
};

}  // namespace

void add_segment(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *program.add_subcommand("segment", kDescription);
  command.group("Main commands");
  command.footer(kFooter);
  const char* const input = "Input and output";
  command.add_option("-m,--model", arguments->model, "Model file (.safetensors)")
      ->type_name("MODEL")
      ->required()
      ->group(input);
  command
      .add_option("-i,--image", arguments->images, "Image, one file a channel; a DICOM series; or a folder of cases")
      ->type_name("IMAGE...")
      ->required()
      ->group(input);
  command
      .add_option("-o,--output", arguments->output,
                  "Labels to write (.nii, .nii.gz, .hdr; .dcm: a DICOM segmentation); or a folder")
      ->type_name("LABELS")
      ->required()
      ->group(input);
  command
      .add_option("--probabilities", arguments->probabilities,
                  "Also write the classes' probabilities, as a 4D image; for a folder of cases, a folder")
      ->type_name("FILE")
      ->group(input);
  command
      .add_option("--preview", arguments->preview,
                  "Also write a picture (.png): three views with the labels in colour; for a folder of cases, a "
                  "folder")
      ->type_name("FILE.png")
      ->group(input);
  command
      .add_option("--statistics", arguments->statistics,
                  "Also write voxels, mL and mean intensity of each label; for a folder of cases, a folder")
      ->type_name("FILE.json")
      ->group(input);

  const char* const dicom = "DICOM series";
  command
      .add_option("--series", arguments->open.series,
                  "Which series is meant where there are several; one a channel (`e2enet dicom FOLDER` lists them)")
      ->type_name("UID|NUMBER...")
      ->group(dicom);
  command
      .add_flag("--regrid", arguments->open.regrid,
                "Take slices at uneven distances: the network sees interpolated ones; the labels in a DICOM "
                "segmentation are on the real ones")
      ->group(dicom);
  command
      .add_option("--dicom-reference", arguments->dicom_reference,
                  "For a NIfTI image: the series that it was converted from, on whose slices --output LABELS.dcm will "
                  "be (--series says which, where there are several)")
      ->type_name("SERIES")
      ->group(dicom);

  const char* const how = "How to segment";
  command
      .add_option("--step", arguments->step,
                  "Distance of neighbouring tiles, as a fraction of the patch: at most 1, and at least one voxel")
      ->type_name("FRACTION")
      ->capture_default_str()
      ->group(how);
  command
      .add_flag("--tta", arguments->mirror, "Average over mirrored copies of each tile: better, 2 to 8 times slower")
      ->group(how);
  add_precision_option(command, arguments->precision, how, AutomaticPrecision::yes);
  command
      .add_option("--roi", arguments->box,
                  "Segment only this box of voxels along the file's axes i, j, k, ends not included; an empty end "
                  "means the image's own. The labels keep the image's full size")
      ->type_name("X0:X1,Y0:Y1,Z0:Z1")
      ->group(how);
  command
      .add_option(
          "--memory", arguments->memory,
          "Use no more memory than this (600M, 2G), in the fastest way that fits, and refuse at once, before any "
          "work, an image for which there is none; three quarters of what is free unless told")
      ->type_name("SIZE")
      ->group(how);
  command
      .add_flag("--dry-run", arguments->dry_run,
                "Only say how long it would take, how much memory and how it would be done; nothing is written")
      ->group(how);
  command
      .add_flag("--largest-component{all}", arguments->largest_component,
                "Keep only the largest piece of each label. --largest-component=model: of the labels that the model "
                "names, as without this option; --largest-component=none: of none, whatever the model says")
      ->check([](const std::string& text) {
        return text == "model" || text == "none" || text == "all" ? std::string()
                                                                  : "expected model, none or all, found '" + text + "'";
      })
      ->group(how);

  add_force_option(command, arguments->force, how);

  const char* const many = "Folders of cases";
  command.add_flag("--continue", arguments->keep_finished, "Skip cases whose labels are there already")->group(many);
  command
      .add_option("--part", arguments->part,
                  "Do only the I-th of N parts of the cases (I from 1), to share a folder between computers")
      ->type_name("I/N")
      ->group(many);
  add_common_options(command, arguments->common, Json::yes);
  command.final_callback([arguments, &invocation] {
    // Whatever the patch; that of the model decides how small it may be.
    if (!(arguments->step > 0 && arguments->step <= 1)) {
      throw UsageError("--step: expected a fraction of the patch above 0 and at most 1, found " +
                       short_number_text(arguments->step));
    }
    if (!arguments->box.empty()) parse_box(arguments->box, "--roi");
    if (!arguments->part.empty()) parse_part(arguments->part, "--part");
    if (!arguments->memory.empty()) parse_size(arguments->memory, "--memory");
    invocation.run = [arguments] { return SegmentCommand(*arguments).run(); };
  });
}

}  // namespace e2enet::cli
