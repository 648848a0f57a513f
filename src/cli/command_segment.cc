// e2enet segment: the main job.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/case_list.h"
#include "cli/case_record.h"
#include "cli/cases.h"
#include "cli/command_files.h"
#include "cli/commands.h"
#include "cli/leftovers.h"
#include "cli/network_run.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/segment_arguments.h"
#include "cli/segment_case.h"
#include "cli/segment_job.h"
#include "cli/statistics_output.h"
#include "cli/text.h"
#include "e2enet/dicom.h"
#include "e2enet/error.h"
#include "e2enet/files.h"
#include "e2enet/segmenter.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr char kDescription[] =
    "Segment an image, or every image of a folder\n"
    "\n"
    "Usage: e2enet segment -m MODEL -i IMAGE [IMAGE2 ...] -o LABELS [OPTIONS]\n"
    "       e2enet segment -m MODEL -i FOLDER -o FOLDER [OPTIONS]\n"
    "       e2enet segment -m MODEL --cases LIST.csv -o FOLDER [OPTIONS]\n"
    "\n"
    "Reads NIfTI images (.nii, .nii.gz, .hdr/.img; one file a channel) or DICOM series (a folder, a list of\n"
    "files, or one multi-frame file a channel), and writes labels on the same voxels, with the image's own\n"
    "geometry; those of a DICOM series also as a DICOM segmentation (LABELS.dcm). A folder of NIfTI images\n"
    "has one file a case and channel, named CASE_0000.nii.gz, CASE_0001.nii.gz, ... up to the model's\n"
    "channels, or CASE.nii.gz; its labels become CASE.nii.gz in the output folder, and summary.json tells\n"
    "what was done and which files were left out. Folders in it that hold DICOM are cases too, one each. A\n"
    "case that fails is reported and does not stop the others; the exit code is 1 then. A list of cases names\n"
    "them where they are (docs/cohorts.md).";

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
    "  A folder of folders with a DICOM series each\n"
    "    e2enet segment -m model.safetensors -i scans/ -o segmentations/ --dicom-labels\n"
    "  A folder, the second of four computers, going on where it stopped:\n"
    "    e2enet segment -m model.safetensors -i images/ -o labels/ --part 2/4 --continue\n"
    "  A list of cases, with a record of each, going on where it stopped and failing no case twice:\n"
    "    e2enet segment -m model.safetensors --cases cases.csv -o labels/ --record records/ \\\n"
    "        --continue --tries 2";

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
  explicit SegmentCommand(const SegmentArguments& arguments)
      : arguments_(arguments), display_(ProgressDisplay::style_for(arguments.common.quiet)) {}

  int run() {
    if (!arguments_.cases.empty()) {
      if (!arguments_.dicom_reference.empty()) throw UsageError("--dicom-reference: expected one image, found a list");
      return run_cases();
    }
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
    // What lies in one folder may be a series or cases with one each: the labels' name tells.
    const bool of_cases = folder && !ends_in_dcm(arguments_.output) && image_stem(arguments_.output).empty();
    return folder && (!dicom_ || of_cases) ? run_cases() : run_image();
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
    if (arguments_.tries > 0) throw UsageError("--tries: expected a folder as --image, or --cases, found a file");
    for (const std::string& image : arguments_.images) {
      if (!dicom_ && fs::is_directory(image))
        throw UsageError("--image: expected files or one folder, found several with " + image);
    }
    Job job;
    job.images = arguments_.images;
    job.dicom = dicom_;
    job.name = image_stem(arguments_.images[0]);
    if (job.name.empty()) job.name = fs::path(arguments_.images[0]).filename().string();
    if (job.name.empty()) job.name = fs::path(arguments_.images[0]).parent_path().filename().string();  // "scan/"
    job.labels = arguments_.output;
    job.probabilities = arguments_.probabilities;
    job.preview = arguments_.preview;
    job.statistics = arguments_.statistics;
    job.record = arguments_.record;
    job.dicom = dicom_;
    require_image_ending("--output", job.labels);
    require_image_ending("--probabilities", job.probabilities);
    require_ending("--preview", job.preview, ".png");
    require_ending("--statistics", job.statistics, ".json");
    require_ending("--record", job.record, ".json");
    CommandFiles files;
    files.reads("--model", arguments_.model);
    add_inputs(job, "", files);
    if (!arguments_.dicom_reference.empty()) add_read("--dicom-reference", arguments_.dicom_reference, files);
    add_outputs(job, "", files);
    if (!arguments_.dry_run) files.require_writable();
    load_model();
    const int channels = case_->channels();
    if (!dicom_ && static_cast<int>(job.images.size()) != channels) {
      throw UsageError("--image: expected " + std::to_string(channels) + (channels == 1 ? " image" : " images") +
                       " (the model's channels), found " + std::to_string(job.images.size()));
    }
    const ordered_json result = process(job, 0);
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
      if (!case_->asymmetries().empty()) std::cout << "\n" << asymmetry_table(case_->asymmetries());
      for (const auto& [option, path] : outputs_of(job)) {
        if (option != "--output") std::cout << path << "\n";
      }
    }
    return kDone;
  }

  // Begins a case, does it and records what became of it; `tries` were made before.
  ordered_json process(const Job& job, int tries) {
    if (arguments_.dry_run) {
      if (!job.problem.empty()) throw Error(ErrorCode::invalid_image, job.problem);
      return case_->process(job, prefix_);
    }
    CaseRecords& records = case_->records();
    records.begin(job, tries);
    try {
      if (!job.problem.empty()) throw Error(ErrorCode::invalid_image, job.problem);
      return case_->process(job, prefix_);
    } catch (const std::exception& problem) {
      const auto* error = dynamic_cast<const Error*>(&problem);
      const bool stopped = error != nullptr && error->code() == ErrorCode::cancelled;
      try {
        records.not_done(job, stopped ? record_status::kInterrupted : record_status::kFailed, text_of(problem));
      } catch (const Error&) {  // why the case failed is the better thing to say
      }
      throw;
    }
  }

  static std::string text_of(const std::exception& problem) {
    return dynamic_cast<const std::bad_alloc*>(&problem) != nullptr ? "the system gave no memory" : problem.what();
  }

  struct CaseJobs {
    std::vector<Job> jobs;              // this part's, in order
    std::vector<std::string> left_out;  // files of the folder that are in no case
  };

  std::vector<Job> jobs_of_folder(std::vector<std::string>& left_out) {
    const std::string& folder = arguments_.images[0];
    FolderCases found = find_cases(folder, case_->channels());
    // Segmentations of an earlier run are DICOM too.
    const std::vector<std::string> output_folders = folders_of_outputs();
    found.cases.erase(std::remove_if(found.cases.begin(), found.cases.end(),
                                     [&](const Case& one) {
                                       return one.dicom && std::any_of(output_folders.begin(), output_folders.end(),
                                                                       [&](const std::string& output) {
                                                                         return same_file(one.channels[0], output);
                                                                       });
                                     }),
                      found.cases.end());
    for (const std::string& path : found.left_out) {
      const auto outputs = folders_of_outputs();
      const bool output =
          std::any_of(outputs.begin(), outputs.end(), [&](const std::string& other) { return same_file(path, other); });
      if (!output) left_out.push_back(path);
    }
    if (found.cases.empty()) {
      throw Error(
          ErrorCode::cannot_read,
          folder + ": expected images (CASE_0000.nii.gz)" +
              (dicom_ ? " or folders with a DICOM series each, found none (one series: -o NAME.dcm or NAME.nii.gz)"
                      : ", found none"));
    }
    std::vector<Job> all;
    for (const Case& one : found.cases) {
      Job job;
      job.name = one.name;
      job.images = one.channels;
      job.dicom = one.dicom;
      job.problem = one.problem;
      all.push_back(std::move(job));
    }
    for (const std::string& remark : found.remarks) display_.remark(remark);
    const std::string line = left_out_line(folder, left_out);
    if (!line.empty()) display_.remark(line);
    return all;
  }

  std::vector<Job> jobs_of_list() {
    std::vector<Job> all;
    for (const ListedCase& one : read_case_list(arguments_.cases)) {
      Job job;
      job.name = one.name;
      job.images = one.images;
      job.series = one.series;
      job.dicom = !one.images.empty() && std::all_of(one.images.begin(), one.images.end(), is_dicom);
      const auto channels = static_cast<std::size_t>(case_->channels());
      if (one.images.size() != channels) {
        job.problem = "expected the model's " + std::to_string(channels) + (channels == 1 ? " channel" : " channels") +
                      ", found " + std::to_string(one.images.size()) + " in " + arguments_.cases;
      } else if (!job.series.empty() && !job.dicom) {
        job.problem = "series: expected a DICOM series as image, found " + one.images[0];
      }
      all.push_back(std::move(job));
    }
    return all;
  }

  // Also makes sure that no output of any case, in this part or another, is an input or another output.
  CaseJobs find_jobs(const std::string& summary_path, CommandFiles& files) {
    CaseJobs result;
    std::vector<Job> all = arguments_.cases.empty() ? jobs_of_folder(result.left_out) : jobs_of_list();
    const auto in = [](const std::string& where, const std::string& name) {
      return where.empty() ? std::string() : (fs::path(where) / name).string();
    };
    for (Job& job : all) {
      job.labels = in(arguments_.output, job.name + (job.dicom && arguments_.dicom_labels ? ".dcm" : ".nii.gz"));
      job.probabilities = in(arguments_.probabilities, job.name + "_probabilities.nii.gz");
      job.preview = in(arguments_.preview, job.name + ".png");
      job.statistics = in(arguments_.statistics, job.name + "_statistics.json");
      job.record = in(arguments_.record, job.name + "_record.json");
    }
    files.reads("--model", arguments_.model);
    if (!arguments_.cases.empty()) files.reads("--cases", arguments_.cases);
    for (const Job& job : all) add_inputs(job, "case " + job.name + ": ", files);
    for (const Job& job : all) add_outputs(job, "case " + job.name + ": ", files);
    files.writes("the summary", summary_path);
    const Part part = arguments_.part.empty() ? Part{} : parse_part(arguments_.part, "--part");
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (static_cast<int>(i % static_cast<std::size_t>(part.parts)) == part.part - 1) {
        result.jobs.push_back(std::move(all[i]));
      }
    }
    return result;
  }

  // Every folder that gets an output; names of a list may have folders in them.
  std::set<std::string> folders_of(const std::vector<Job>& jobs) const {
    const std::vector<std::string> given = folders_of_outputs();
    std::set<std::string> folders(given.begin(), given.end());
    for (const Job& job : jobs) {
      for (const auto& [option, path] : outputs_of(job)) {
        if (job.name.find('/') != std::string::npos) folders.insert(fs::path(path).parent_path().string());
      }
    }
    return folders;
  }

  std::vector<std::string> folders_of_outputs() const {
    std::vector<std::string> folders;
    for (const std::string* folder : {&arguments_.output, &arguments_.probabilities, &arguments_.preview,
                                      &arguments_.statistics, &arguments_.record}) {
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
  }

  // What a run that was killed, or another that still works, has under way: never read, but better known.
  void remark_on_unfinished(const std::string& folder) {
    std::error_code error;
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

  // The folders of all outputs, and in them nothing unfinished of these cases where the work goes on.
  void prepare_folders(const std::vector<Job>& jobs, const CommandFiles& files) {
    const std::set<std::string> folders = folders_of(jobs);
    for (const std::string& folder : folders) make_folder(folder);
    files.require_writable();
    if (arguments_.keep_finished) {
      std::vector<std::string> outputs;
      for (const Job& job : jobs) {
        for (const auto& [option, path] : outputs_of(job)) outputs.push_back(path);
      }
      const std::size_t removed = remove_unfinished(outputs);
      if (removed > 0) display_.remark(std::to_string(removed) + " unfinished files of a run that was killed removed");
    }
    for (const std::string& folder : folders) remark_on_unfinished(folder);
  }

  std::string summary_name() const {
    std::string name = "summary";
    if (!arguments_.cases.empty()) name += "_" + fs::path(arguments_.cases).stem().string();
    if (!arguments_.part.empty()) {  // computers that share a folder must not write one file
      const Part part = parse_part(arguments_.part, "--part");
      name += "_part_" + std::to_string(part.part) + "_of_" + std::to_string(part.parts);
    }
    return name + ".json";
  }

  // What is known of a case from an earlier call, where this one goes on.
  struct Earlier {
    ordered_json record;  // null where there is none
    bool finished = false;
    int tries = 0;

    bool unsuccessful() const {
      return !finished && record.is_object() && record["status"] != record_status::kInterrupted;
    }
  };

  Earlier earlier(const Job& job) const {
    Earlier result;
    if (!arguments_.keep_finished) return result;
    const bool labels = fs::exists(job.labels);  // files appear under their name only when they are complete
    result.record = read_record(job.record);
    if (job.record.empty()) {
      result.finished = labels;
    } else if (result.record.is_object()) {
      result.finished = labels && result.record["status"] == record_status::kDone;
      result.tries = result.finished ? 0 : result.record.value("tries", 0);
    }
    return result;
  }

  // A case that went wrong as often as it may: its error, put down in its record.
  std::string give_up(const Job& job, const Earlier& before) {
    std::string error = before.record.value("error", std::string());
    if (before.record["status"] == record_status::kRunning) {
      error = "the process that worked on it was ended from outside, " + std::to_string(before.tries) +
              (before.tries == 1 ? " time" : " times") + ", last on " + before.record.value("host", std::string());
      if (!arguments_.dry_run) case_->records().give_up(job, before.record, error);
    }
    return error;
  }

  int run_cases() {
    for (const auto& [option, folder] :
         {std::pair("--output", &arguments_.output), std::pair("--probabilities", &arguments_.probabilities)}) {
      // The next run would take what is written for images.
      if (arguments_.cases.empty() && !folder->empty() && same_file(arguments_.images[0], *folder)) {
        throw UsageError(std::string(option) + ": expected another folder than --image, found " + *folder +
                         " for both");
      }
    }
    const std::string summary_path = (fs::path(arguments_.output) / summary_name()).string();
    load_model();  // which says what a case has to have
    CommandFiles files;
    CaseJobs found = find_jobs(summary_path, files);
    std::vector<Job>& jobs = found.jobs;
    if (!arguments_.dry_run) prepare_folders(jobs, files);
    // What went wrong before comes last: should it end this process too, the others are done.
    if (!arguments_.record.empty() && arguments_.keep_finished) {
      std::stable_partition(jobs.begin(), jobs.end(), [&](const Job& job) { return !earlier(job).unsuccessful(); });
    }

    std::map<std::string, ordered_json> in_summary;
    if (arguments_.keep_finished) in_summary = earlier_results(summary_path, jobs);
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
      const Earlier before = earlier(job);
      if (before.finished && before.record.is_null()) {
        ++skipped;
        const auto known = in_summary.find(job.name);
        results.push_back(known != in_summary.end() ? known->second
                                                    : ordered_json{{"case", job.name}, {"labels_file", job.labels}});
        continue;
      }
      const auto failed_with = [&](const std::string& text) {
        display_.clear();
        ++failed;
        std::cerr << "e2enet segment: error: " << one_line("case " + job.name + ": " + text) << std::endl;
        results.push_back({{"case", job.name}, {"images", job.images}, {"error", text}});
      };
      if (before.finished) {
        const std::string difference = case_->records().differs(before.record);
        if (difference.empty()) {
          ++skipped;
          results.push_back(before.record);
        } else {  // left as they are, with their record
          failed_with(job.labels + ": " + difference + " (another --output and --record, or no --continue)");
        }
        continue;
      }
      if (arguments_.tries > 0 && before.unsuccessful() && before.tries >= arguments_.tries) {
        failed_with(give_up(job, before));
        continue;
      }
      prefix_ = "[" + std::to_string(i + 1) + "/" + std::to_string(jobs.size()) + "] ";
      try {
        stop_if_interrupted();
        ordered_json result = process(job, before.tries);
        display_.clear();
        if (!arguments_.common.quiet && !arguments_.common.json && !arguments_.dry_run) {
          std::cout << prefix_ << job.name << "  " << duration_text(result["seconds"]) << "  "
                    << volumes_line(case_->statistics()) << std::endl;
        }
        results.push_back(std::move(result));
      } catch (const std::exception& problem) {
        const auto* error = dynamic_cast<const Error*>(&problem);
        if (error != nullptr && error->code() == ErrorCode::cancelled) {
          display_.clear();
          write_summary();
          throw;
        }
        failed_with(text_of(problem));
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

  void load_model() { case_.emplace(arguments_, display_); }

  const SegmentArguments& arguments_;
  ProgressDisplay display_;
  std::string prefix_;
  bool dicom_ = false;  // the image is a DICOM series
  std::optional<CaseOfSegment> case_;
};

}  // namespace

void add_segment(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<SegmentArguments>();
  Command command(program, "segment", kDescription, "Main commands", kFooter);
  const char* const input = "Input and output";
  command.add_option("-m,--model", arguments->model, "Model file (.safetensors)")
      .type_name("MODEL")
      .required()
      .group(input);
  command.add_option("-i,--image", arguments->images, "Image, one file a channel; a DICOM series; or a folder of cases")
      .type_name("IMAGE...")
      .group(input);
  command
      .add_option("-o,--output", arguments->output,
                  "Labels to write (.nii, .nii.gz, .hdr; .dcm: a DICOM segmentation); or a folder")
      .type_name("LABELS")
      .required()
      .group(input);
  command
      .add_option("--probabilities", arguments->probabilities,
                  "Also write the classes' probabilities, as a 4D image; for a folder of cases, a folder")
      .type_name("FILE")
      .group(input);
  command
      .add_option("--preview", arguments->preview,
                  "Also write a picture (.png): three views with the labels in colour; for a folder of cases, a "
                  "folder")
      .type_name("FILE.png")
      .group(input);
  command
      .add_option("--statistics", arguments->statistics,
                  "Also write voxels, mL and mean intensity of each label; for a folder of cases, a folder")
      .type_name("FILE.json")
      .group(input);

  command
      .add_option("--record", arguments->record,
                  "Also write what was done: SHA-256 of the model and the images, version, options, volumes, seconds, "
                  "memory; or why it failed. For a folder or list of cases, a folder (`e2enet collect` makes a table "
                  "of it)")
      .type_name("FILE.json")
      .group(input);

  const char* const dicom = "DICOM series";
  command
      .add_option("--series", arguments->open.series,
                  "Which series is meant where there are several; one a channel (`e2enet dicom FOLDER` lists them)")
      .type_name("UID|NUMBER...")
      .group(dicom);
  command
      .add_flag("--regrid", arguments->open.regrid,
                "Take slices at uneven distances: the network sees interpolated ones; the labels in a DICOM "
                "segmentation are on the real ones")
      .group(dicom);
  command
      .add_option("--dicom-reference", arguments->dicom_reference,
                  "For a NIfTI image: the series that it was converted from, on whose slices --output LABELS.dcm will "
                  "be (--series says which, where there are several)")
      .type_name("SERIES")
      .group(dicom);

  const char* const how = "How to segment";
  command
      .add_option("--step", arguments->step,
                  "Distance of neighbouring tiles, as a fraction of the patch: at most 1, and at least one voxel")
      .type_name("FRACTION")
      .show_default()
      .group(how);
  command.add_flag("--tta", arguments->mirror, "Average over mirrored copies of each tile: better, 2 to 8 times slower")
      .group(how);
  add_precision_option(command, arguments->precision, how, AutomaticPrecision::yes);
  command
      .add_option("--roi", arguments->box,
                  "Segment only this box of voxels along the file's axes i, j, k, ends not included; an empty end "
                  "means the image's own. The labels keep the image's full size")
      .type_name("X0:X1,Y0:Y1,Z0:Z1")
      .group(how);
  command
      .add_option(
          "--memory", arguments->memory,
          "Use no more memory than this (600M, 2G), in the fastest way that fits, and refuse at once, before any "
          "work, an image for which there is none; three quarters of what is free unless told")
      .type_name("SIZE")
      .group(how);
  command
      .add_flag("--dry-run", arguments->dry_run,
                "Only say how long it would take, how much memory and how it would be done; nothing is written")
      .group(how);
  command
      .add_flag("--largest-component{all}", arguments->largest_component,
                "Keep only the largest piece of each label. --largest-component=model: of the labels that the model "
                "names, as without this option; --largest-component=none: of none, whatever the model says")
      .check([](const std::string& text) {
        return text == "model" || text == "none" || text == "all" ? std::string()
                                                                  : "expected model, none or all, found '" + text + "'";
      })
      .group(how);

  add_force_option(command, arguments->force, how);

  const char* const many = "Folders and lists of cases";
  command
      .add_option("--cases", arguments->cases,
                  "Instead of --image: a list of cases. First line `case,image` (`image2`, ... for further channels; "
                  "`series` for DICOM), then a line a case")
      .type_name("LIST.csv")
      .group(many);
  command
      .add_flag("--dicom-labels", arguments->dicom_labels,
                "Labels of cases that are DICOM as DICOM segmentations on their slices, CASE.dcm, not as CASE.nii.gz")
      .group(many);
  command
      .add_flag("--continue", arguments->keep_finished,
                "Skip cases whose labels are there already (with --record: and their record, of the same model and "
                "options), and remove what a killed run left unfinished of the others")
      .group(many);
  command
      .add_option("--tries", arguments->tries,
                  "With --continue and --record: give a case up that failed, or whose process was killed, N times; "
                  "without end unless told")
      .type_name("N")
      .group(many);
  command
      .add_option("--part", arguments->part,
                  "Do only the I-th of N parts of the cases (I from 1), to share a folder between computers")
      .type_name("I/N")
      .group(many);
  add_common_options(command, arguments->common, Json::yes);
  command.on_parsed([arguments, &invocation] {
    // Whatever the patch; that of the model decides how small it may be.
    if (!(arguments->step > 0 && arguments->step <= 1)) {
      throw UsageError("--step: expected a fraction of the patch above 0 and at most 1, found " +
                       short_number_text(arguments->step));
    }
    if (arguments->images.empty() && arguments->cases.empty()) {
      throw UsageError("missing --image (see 'e2enet segment --help')");
    }
    if (!arguments->images.empty() && !arguments->cases.empty()) {
      throw UsageError("--cases: expected this or --image, found both");
    }
    if (arguments->tries < 0) {
      throw UsageError("--tries: expected a number above 0, found " + std::to_string(arguments->tries));
    }
    if (arguments->tries > 0 && (arguments->record.empty() || !arguments->keep_finished)) {
      throw UsageError("--tries: expected --record and --continue too, where the tries are counted");
    }
    if (!arguments->box.empty()) parse_box(arguments->box, "--roi");
    if (!arguments->part.empty()) parse_part(arguments->part, "--part");
    if (!arguments->memory.empty()) parse_size(arguments->memory, "--memory");
    invocation.run = [arguments] { return SegmentCommand(*arguments).run(); };
  });
}

}  // namespace e2enet::cli
