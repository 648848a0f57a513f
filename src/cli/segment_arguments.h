// What `segment` is asked for on the command line.
#pragma once

#include <string>
#include <vector>

#include "cli/arguments.h"
#include "e2enet/image.h"

namespace e2enet::cli {

struct SegmentArguments {
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
  std::string record;
  std::string cases;
  int tries = 0;  // without end
  bool keep_finished = false;
  bool dicom_labels = false;  // of folders and lists: labels of DICOM cases as DICOM segmentations
  bool dry_run = false;
  std::string part;
  OpenOptions open;
  std::string dicom_reference;
};

}  // namespace e2enet::cli
