// One case of `segment`: what is read and what becomes of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/command_files.h"

namespace e2enet::cli {

// One case and everything that becomes of it; empty names are not wanted.
struct Job {
  std::string name;
  std::vector<std::string> images;
  std::string problem;  // found before the start
  bool dicom = false;   // the images are DICOM series
  std::string series;   // of a list of cases: which one is meant
  std::string labels;
  std::string probabilities;
  std::string preview;
  std::string statistics;
  std::string record;
};

// Option and path of each that is wanted.
std::vector<std::pair<std::string, std::string>> outputs_of(const Job& job);

// Registers a case's files; in messages of a folder its name stands before the option's.
void add_inputs(const Job& job, const std::string& head, CommandFiles& files);
void add_outputs(const Job& job, const std::string& head, CommandFiles& files);
// A file, or all that is in a DICOM folder: no slice may be written over.
void add_read(const std::string& role, const std::string& path, CommandFiles& files);

bool ends_in_dcm(const std::string& path);

// Both throw UsageError, and take an empty path for one that is not wanted.
void require_image_ending(const std::string& option, const std::string& path);
void require_ending(const std::string& option, const std::string& path, const std::string& ending);

}  // namespace e2enet::cli
