// A case's record: what was done with it, by what and with what, in a file of its own that is there as soon as its
// labels are. `segment --record` writes it, `segment --continue` and `collect` read it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/segment_arguments.h"
#include "cli/segment_job.h"

namespace e2enet::cli {

// "running": begun, and under way or broken off without a word; "interrupted": stopped by a signal, in good order.
namespace record_status {
constexpr const char* kDone = "done";
constexpr const char* kFailed = "failed";
constexpr const char* kRunning = "running";
constexpr const char* kInterrupted = "interrupted";
}  // namespace record_status

// What a record file holds, or null where there is none that can be read: a record that is damaged is no record.
nlohmann::ordered_json read_record(const std::string& path);

// Records of the cases of one call.
class CaseRecords {
 public:
  // Hashes the model, where records are wanted. Throws Error (cannot_read).
  CaseRecords(const SegmentArguments& arguments, int threads);

  // The case begins now; `tries` were made before. All do nothing for a job without a record, and throw Error
  // (cannot_write).
  void begin(const Job& job, int tries);
  // Its images are open: hashes them. From here on the library refuses an image that changes, so what is hashed is what
  // is segmented.
  void opened(const Job& job);
  // `result` is what `segment --json` says of the case.
  void done(const Job& job, const nlohmann::ordered_json& result);
  void not_done(const Job& job, const char* status, const std::string& error);
  // A case that is not tried again.
  void give_up(const Job& job, const nlohmann::ordered_json& earlier, const std::string& error);

  // Why labels that `earlier` tells of are not those that this call would make: another model or other options.
  // Empty where they are.
  std::string differs(const nlohmann::ordered_json& earlier) const;

 private:
  nlohmann::ordered_json head(const Job& job, const char* status) const;

  nlohmann::ordered_json options_;     // those that change labels
  nlohmann::ordered_json provenance_;  // what all records of a call have in common
  int tries_ = 0;                      // of the case under way, this one included
  std::string started_;
  nlohmann::ordered_json inputs_;
  double began_ = 0;
};

}  // namespace e2enet::cli
