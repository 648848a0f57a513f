#include "cli/arguments.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <vector>

#include "cli/options.h"
#include "e2enet/error.h"
#include "e2enet/files.h"
#include "e2enet/machine.h"

namespace e2enet::cli {
namespace {

[[noreturn]] void refuse(const std::string& option, const std::string& expected, const std::string& found) {
  throw UsageError(option + ": expected " + expected + ", found '" + found + "'");
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

volatile std::sig_atomic_t interrupt_seen = 0;

volatile std::sig_atomic_t closed_output_seen = 0;

void on_interrupt(int) { interrupt_seen = 1; }

void on_closed_output(int) {
  closed_output_seen = 1;
  interrupt_seen = 1;
}

}  // namespace

void add_common_options(Command& command, CommonOptions& options, Json json) {
  command.set_help_flag("-h,--help", "Show this help and exit").group("Common options");
  command
      .add_option("--threads", options.threads,
                  "Threads to use; 0 means all that this process may use, which is also the most that are started")
      .type_name("N")
      .show_default()
      .range(0, kMostThreads)
      .group("Common options");
  command.add_flag("-q,--quiet", options.quiet, "No progress and no remarks, only results, warnings and errors")
      .group("Common options");
  if (json == Json::yes) {
    command.add_flag("--json", options.json, "Print the result as JSON").group("Common options");
  }
}

int use_threads(const CommonOptions& options) {
  const int threads = usable_threads(options.threads);
  if (threads < options.threads && !options.quiet) {
    std::cerr << "e2enet: --threads " << options.threads << ": this process may use " << threads
              << (threads == 1 ? " thread" : " threads") << "; more are not started" << std::endl;
  }
  return threads;
}

// Not by strtoll, which would also take signs and leading space.
bool read_integer(const std::string& text, std::int64_t largest, std::int64_t& value) {
  if (text.empty() || text.size() > 18) return false;
  value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + (c - '0');
  }
  return value <= largest;
}

std::int64_t parse_size(const std::string& text, const std::string& option) {
  const char* const expected = "a size such as 600M or 2G";
  if (text.empty() || !((text[0] >= '0' && text[0] <= '9') || text[0] == '.')) refuse(option, expected, text);
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  std::string unit(end);
  for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  static const std::map<std::string, double> factors = {{"", 1.0},
                                                        {"B", 1.0},
                                                        {"K", 1024.0},
                                                        {"KB", 1024.0},
                                                        {"KIB", 1024.0},
                                                        {"M", 1048576.0},
                                                        {"MB", 1048576.0},
                                                        {"MIB", 1048576.0},
                                                        {"G", 1073741824.0},
                                                        {"GB", 1073741824.0},
                                                        {"GIB", 1073741824.0},
                                                        {"T", 1099511627776.0},
                                                        {"TB", 1099511627776.0},
                                                        {"TIB", 1099511627776.0}};
  const auto factor = factors.find(unit);
  if (factor == factors.end() || !std::isfinite(number)) refuse(option, expected, text);
  const double bytes = number * factor->second;
  if (!(bytes >= 1) || bytes > 9e18) refuse(option, "a size of at least one byte such as 600M or 2G", text);
  return static_cast<std::int64_t>(bytes);
}

std::array<int, 3> parse_triple(const std::string& text, const std::string& option) {
  const std::vector<std::string> parts = split(text, ',');
  std::array<int, 3> result{};
  if (parts.size() != 3) refuse(option, "three numbers D,H,W", text);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    std::int64_t value = 0;
    if (!read_integer(parts[axis], 65536, value) || value == 0) {
      refuse(option, "three numbers D,H,W from 1 to 65536", text);
    }
    result[axis] = static_cast<int>(value);
  }
  return result;
}

std::array<int, 2> parse_pair(const std::string& text, const std::string& option) {
  const std::vector<std::string> parts = split(text, ',');
  std::int64_t first = 0, second = 0;
  if (parts.size() != 2 || !read_integer(parts[0], 1000, first) || !read_integer(parts[1], 1000, second)) {
    refuse(option, "two numbers I,J", text);
  }
  return {static_cast<int>(first), static_cast<int>(second)};
}

Part parse_part(const std::string& text, const std::string& option) {
  const std::vector<std::string> parts = split(text, '/');
  std::int64_t part = 0, count = 0;
  if (parts.size() != 2 || !read_integer(parts[0], 1000000, part) || !read_integer(parts[1], 1000000, count) ||
      part < 1 || part > count) {
    refuse(option, "I/N with I from 1 to N", text);
  }
  return {static_cast<int>(part), static_cast<int>(count)};
}

VoxelBox parse_box(const std::string& text, const std::string& option) {
  const char* const expected = "a box of voxels X0:X1,Y0:Y1,Z0:Z1";
  VoxelBox box;
  const std::vector<std::string> ranges = split(text, ',');
  if (ranges.size() != 3) refuse(option, expected, text);
  constexpr std::int64_t largest = std::numeric_limits<std::int32_t>::max();
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::vector<std::string> bounds = split(ranges[axis], ':');
    if (bounds.size() != 2) refuse(option, expected, text);
    if (!bounds[0].empty() && !read_integer(bounds[0], largest, box.begin[axis])) refuse(option, expected, text);
    if (!bounds[1].empty() && !read_integer(bounds[1], largest, box.end[axis])) refuse(option, expected, text);
    if (box.end[axis] >= 0 && box.end[axis] <= std::max<std::int64_t>(box.begin[axis], 0)) {
      refuse(option, "each range to end after it begins", text);
    }
  }
  return box;
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (std::filesystem::equivalent(a, b, error) && !error) return true;
  // Neither may exist yet.
  return file_behind(a) == file_behind(b);
}

bool open_standard_streams() {
  for (int descriptor = 0; descriptor < 3; ++descriptor) {
    if (fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest number that is free is this one.
    if (open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY) != descriptor) return false;
  }
  return true;
}

void catch_interrupts() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    struct sigaction action = {};
    action.sa_handler = on_interrupt;
    // Nothing that waits gives up half way; the second one has its usual effect.
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    sigaction(signal, &action, nullptr);
  }
  struct sigaction action = {};
  action.sa_handler = on_closed_output;  // each later line comes here again
  action.sa_flags = SA_RESTART;
  sigaction(SIGPIPE, &action, nullptr);
  // A file that grows beyond what the shell allows is an error like a full disk, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() { return interrupt_seen != 0; }

bool output_closed() { return closed_output_seen != 0; }

void stop_if_interrupted() {
  if (interrupted()) throw Error(ErrorCode::cancelled, "interrupted");
}

}  // namespace e2enet::cli
