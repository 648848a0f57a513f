// The files that a command reads and writes, known before any work, so that nothing that is read is written over and no
// two outputs are one file.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

namespace e2enet::cli {

// Every file is compared with every other, whatever path leads to it: the other half of a .hdr/.img pair counts too,
// links are followed, hard links are one file, and names that do not exist yet are compared in their folder's real
// name.
//
//   CommandFiles files;
//   files.reads("the model", model);
//   files.reads("--image", image);
//   files.writes("--output", labels);
//   files.require_writable();
class CommandFiles {
 public:
  // `role` is how the user knows the file: "--image", "case a: --output". Both throw UsageError, naming both files and
  // roles, where an output is also an input or another output.
  void reads(const std::string& role, const std::string& path);
  // An empty path is no output.
  void writes(const std::string& role, const std::string& path);

  // Better told now than after an hour of work: throws Error (cannot_write) unless each output's folder exists and can
  // be written to, and what has its name is a file.
  void require_writable() const;

 private:
  struct Entry {
    std::string role;
    std::string named;   // as the user named it
    std::string actual;  // this file of it
    bool output = false;
  };
  void add(Entry entry);

  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> known_;  // by each name and number that identify a file
};

// Writes a file that appears whole. Throws Error (cannot_write).
void write_text(const std::string& path, const std::string& text);

}  // namespace e2enet::cli
