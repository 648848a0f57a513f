// Runs the built program as a user would, in a folder of its own that is removed afterwards.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "support/nifti_images.h"
#include "support/sanitizers.h"

namespace e2enet::test {

struct Result {
  int code = -1;  // exit code; 128 + signal if it was killed
  std::string output;
  std::string errors;
  std::int64_t peak_bytes =
      0;  // the largest resident memory of the process, at least what its parent had when it was started
};

// Whether a process's memory is its own: under a sanitizer most of it is not.
constexpr bool kMemoryIsMeasured = !kAddressSanitizer && !kThreadSanitizer;

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

class Workshop {
 public:
  Workshop() {
    char name[] = "/tmp/e2enet-test-XXXXXX";
    folder_ = mkdtemp(name);
    streams_ = folder_ + ".streams";
    std::filesystem::create_directory(streams_);
  }
  ~Workshop() {
    std::error_code ignored;
    std::filesystem::permissions(folder_, std::filesystem::perms::owner_all, ignored);
    std::filesystem::remove_all(folder_, ignored);
    std::filesystem::remove_all(streams_, ignored);
  }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  // Names of everything in the folder, relative to it.
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_)) {
      if (!entry.is_directory()) names.insert(entry.path().lexically_relative(folder_).string());
    }
    return names;
  }

  // Runs the program in the folder; its streams are files, so it sees no terminal. `prepare` is called in the new
  // process before the program.
  Result run(const std::vector<std::string>& arguments, const std::function<void()>& prepare = {}) const {
    return wait(start(arguments, prepare));
  }

  // The same in two steps, for one program at a time.
  pid_t start(const std::vector<std::string>& arguments, const std::function<void()>& prepare = {}) const {
    const pid_t child = fork();
    if (child == 0) {
      // What whoever runs the tests ignores must not decide.
      for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(signal, SIG_DFL);
      if (chdir(folder_.c_str()) != 0) _exit(127);
      dup2(open(out().c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
      dup2(open(err().c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
      if (prepare) prepare();
      std::vector<char*> argv;
      std::string program = E2ENET_PROGRAM;
      argv.push_back(program.data());
      std::vector<std::string> copies = arguments;
      for (std::string& argument : copies) argv.push_back(argument.data());
      argv.push_back(nullptr);
      execv(program.c_str(), argv.data());
      _exit(127);
    }
    return child;
  }
  Result wait(pid_t child) const {
    int status = 0;
    rusage usage{};
    wait4(child, &status, 0, &usage);
    Result result;
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result.output = read_file(out());
    result.errors = read_file(err());
    result.peak_bytes = std::int64_t{usage.ru_maxrss} * 1024;
    return result;
  }

  // A network of 3 classes that runs in milliseconds.
  void make_model(const std::string& name, int channels = 1) const {
    write_file(path("config.json"), R"({"input_channels": )" + std::to_string(channels) +
                                        R"(, "classes": 3, "base_features": 4, "patch_size": [8, 16, 16],
                      "pool_strides": [[1, 2, 2], [2, 2, 2]], "density": 0.5,
                      "labels": {"0": "background", "1": "first", "2": "second"}})");
    run({"random", "-o", name, "--config", "config.json", "--seed", "3"});
    std::filesystem::remove(path("config.json"));
  }

  // Noise with an oblique affine, so that geometry that is lost would show.
  static imaging::NiftiHeader make_image(const std::string& path, unsigned seed = 1,
                                         const Shape& shape = {11, 20, 18}) {
    Geometry geometry;
    geometry.shape = shape;
    geometry.spacing = {2.0, 1.0, 1.5};
    geometry.affine = {-1.5, 0, 0, 40, 0, 0.8, -1.2, -3.25, 0, 0.6, 1.6, 7, 0, 0, 0, 1};
    const imaging::NiftiHeader header = imaging::NiftiHeader::from_geometry(geometry);
    std::vector<float> voxels(static_cast<std::size_t>(geometry.voxels()));
    std::mt19937 random(seed);
    for (float& voxel : voxels) voxel = static_cast<float>(random() % 1000) + 1.0F;
    imaging::write_volumes(path, header, voxels.data(), 1);
    return header;
  }

 private:
  std::string out() const { return streams_ + "/out"; }
  std::string err() const { return streams_ + "/err"; }

  std::string folder_;
  std::string streams_;
};

}  // namespace e2enet::test
