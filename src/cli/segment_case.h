// A case of `segment` done, or forecast.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/case_record.h"
#include "cli/progress.h"
#include "cli/segment_arguments.h"
#include "cli/segment_job.h"
#include "e2enet/segmenter.h"

namespace e2enet::cli {

class CaseOfSegment {
 public:
  // Loads the model. What is given must outlive this. Throws Error, and UsageError for an option that the model does
  // not allow.
  CaseOfSegment(const SegmentArguments& arguments, ProgressDisplay& display);

  int channels() const { return channels_; }  // of the model
  CaseRecords& records() { return *records_; }

  // Reads, segments and writes one case; with --dry-run only says how it would be done. The labels get their name last:
  // where they are, the case is finished, and its record is there. `prefix` stands before the case's name where
  // progress is shown.
  nlohmann::ordered_json process(const Job& job, const std::string& prefix);

  // Of the last case.
  const std::map<int, LabelStatistics>& statistics() const { return statistics_; }
  const std::vector<Asymmetry>& asymmetries() const { return asymmetries_; }

 private:
  // The box in the image's order of axes. Throws UsageError where it is not inside the image.
  std::optional<Box> box_in(const Shape& shape) const;
  // Where it is not clear which series is meant, all that there are stand under the error.
  Image open(const Job& job);
  // As the library, but that its memory limit is called --memory here.
  Segmentation segment(const Image& image, const Request& request, const ProgressCallback& progress);
  // What would be done, instead of doing it.
  nlohmann::ordered_json dry_run(const Job& job, const Image& image, const Request& request);

  const SegmentArguments& arguments_;
  ProgressDisplay& display_;
  VoxelBox box_;
  int channels_ = 0;
  std::optional<Segmenter> segmenter_;
  std::optional<CaseRecords> records_;
  std::map<int, LabelStatistics> statistics_;
  std::vector<Asymmetry> asymmetries_;
};

}  // namespace e2enet::cli
