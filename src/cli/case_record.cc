#include "cli/case_record.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <vector>

#include "cli/arguments.h"
#include "cli/command_files.h"
#include "cli/text.h"
#include "e2enet/error.h"
#include "e2enet/files.h"
#include "e2enet/inspect.h"
#include "e2enet/machine.h"
#include "e2enet/version.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int kRecordVersion = 1;

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

// A folder of a DICOM series has one digest, of all its files: what `sha256sum` prints of them, sorted by name.
ordered_json digest_of_folder(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored)) files.push_back(entry->path().string());
  }
  if (error) throw Error(ErrorCode::cannot_read, folder + ": cannot be listed: " + error.message());
  std::sort(files.begin(), files.end());
  std::string all;
  std::int64_t bytes = 0;
  for (const std::string& file : files) {
    const FileDigest digest = digest_of_file(file, interrupted);
    bytes += digest.bytes;
    all += digest.sha256 + "  " + fs::path(file).lexically_relative(folder).string() + "\n";
  }
  return {{"path", folder}, {"files", files.size()}, {"bytes", bytes}, {"sha256", sha256_of(all)}};
}

ordered_json digests_of(const std::vector<std::string>& images) {
  ordered_json digests = ordered_json::array();
  for (const std::string& image : images) {
    if (fs::is_directory(image)) {
      digests.push_back(digest_of_folder(image));
      continue;
    }
    std::vector<std::string> files = {image};
    for (const std::string& partner : partner_candidates(image)) {
      if (!fs::exists(partner)) continue;
      files.push_back(partner);
      break;
    }
    for (const std::string& file : files) {
      const FileDigest digest = digest_of_file(file, interrupted);
      digests.push_back({{"path", file}, {"bytes", digest.bytes}, {"sha256", digest.sha256}});
    }
  }
  return digests;
}

// So that the peak that is recorded is this case's and not an earlier one's. Where the system does not let it be done,
// it is the process's.
void begin_new_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace

ordered_json read_record(const std::string& path) {
  if (path.empty() || !fs::is_regular_file(path)) return nullptr;
  ordered_json record = ordered_json::parse(read_text_file(path), nullptr, false);
  const bool sound = record.is_object() && record.contains("case") && record["case"].is_string() &&
                     record.contains("status") && record["status"].is_string();
  return sound ? record : ordered_json(nullptr);
}

CaseRecords::CaseRecords(const SegmentArguments& arguments, int threads) {
  if (arguments.record.empty()) return;
  options_ = {{"step", arguments.step},
              {"tta", arguments.mirror},
              {"precision", arguments.precision},
              {"roi", arguments.box},
              {"largest_component", arguments.largest_component},
              {"force", arguments.force},
              {"regrid", arguments.open.regrid},
              {"series", arguments.open.series}};
  provenance_["model"] = arguments.model;
  provenance_["model_sha256"] = digest_of_file(arguments.model, interrupted).sha256;
  provenance_["version"] = e2enet_version();
  provenance_["instruction_set"] = instruction_set();
  provenance_["options"] = options_;
  provenance_["memory"] = arguments.memory;
  provenance_["threads"] = threads;
  provenance_["host"] = host_name();
  provenance_["process_id"] = getpid();
}

ordered_json CaseRecords::head(const Job& job, const char* status) const {
  ordered_json record;
  record["record_version"] = kRecordVersion;
  record["case"] = job.name;
  record["status"] = status;
  record["tries"] = tries_;
  record["started"] = started_;
  record["images"] = job.images;
  record["labels_file"] = job.labels;
  record.update(provenance_);
  return record;
}

void CaseRecords::begin(const Job& job, int tries) {
  if (job.record.empty()) return;
  tries_ = tries + 1;
  started_ = utc_now();
  began_ = seconds_now();
  inputs_ = nullptr;
  write_text(job.record, json_text(head(job, record_status::kRunning)) + "\n");
  begin_new_peak();
}

void CaseRecords::opened(const Job& job) {
  if (!job.record.empty()) inputs_ = digests_of(job.images);
}

void CaseRecords::done(const Job& job, const ordered_json& result) {
  if (job.record.empty()) return;
  ordered_json record = head(job, record_status::kDone);
  record["inputs"] = inputs_;
  for (const auto& [key, value] : result.items()) {
    if (!record.contains(key)) record[key] = value;
  }
  record["seconds"] = seconds_now() - began_;
  record["peak_bytes"] = peak_resident_bytes();
  // At the end, where people look for it.
  for (const char* key : {"labels", "asymmetry"}) {
    if (!result.contains(key)) continue;
    record.erase(key);
    record[key] = result[key];
  }
  write_text(job.record, json_text(record) + "\n");
}

void CaseRecords::not_done(const Job& job, const char* status, const std::string& error) {
  if (job.record.empty()) return;
  if (std::string(status) == record_status::kInterrupted) --tries_;  // it was not the case's fault
  ordered_json record = head(job, status);
  record["error"] = error;
  record["inputs"] = inputs_;
  record["seconds"] = seconds_now() - began_;
  record["peak_bytes"] = peak_resident_bytes();
  write_text(job.record, json_text(record) + "\n");
}

void CaseRecords::give_up(const Job& job, const ordered_json& earlier, const std::string& error) {
  ordered_json record = earlier;
  record["status"] = record_status::kFailed;
  record["error"] = error;
  write_text(job.record, json_text(record) + "\n");
}

std::string CaseRecords::differs(const ordered_json& earlier) const {
  const std::string model = earlier.value("model_sha256", std::string());
  if (model != provenance_["model_sha256"]) {
    return "expected labels of the model with SHA-256 " + provenance_["model_sha256"].get<std::string>() +
           ", found those of " + model;
  }
  for (const auto& [key, wanted] : options_.items()) {
    const bool there =
        earlier.contains("options") && earlier["options"].is_object() && earlier["options"].contains(key);
    const ordered_json found = there ? earlier["options"][key] : ordered_json();
    if (found != wanted) return "expected labels made with " + key + " " + wanted.dump() + ", found " + found.dump();
  }
  return "";
}

}  // namespace e2enet::cli
