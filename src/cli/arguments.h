// What the commands have in common: options, the forms in which values are written, and what happens with errors.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>

namespace e2enet::cli {

class Command;

// The call was wrong: exit code 2. what() is one line.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Exit codes.
constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kWrongCall = 2;

// What the command chosen on the command line does; returns an exit code.
struct Invocation {
  std::function<int()> run;
};

struct CommonOptions {
  int threads = 0;  // 0: all
  bool quiet = false;
  bool json = false;
};

enum class Json { no, yes };

// --threads, --quiet, --help and, where a program would read the output, --json.
void add_common_options(Command& command, CommonOptions& options, Json json);

// How many threads --threads means. Says on stderr, unless quiet, where fewer are started than were asked for.
int use_threads(const CommonOptions& options);

// Digits alone, from 0 to `largest`.
bool read_integer(const std::string& text, std::int64_t largest, std::int64_t& value);

// A memory size: 600M, 2G, 1.5GiB, 800000000. K, M and G are powers of 1024. Throws UsageError naming `option`.
std::int64_t parse_size(const std::string& text, const std::string& option);

// Three positive integers: 128,128,128.
std::array<int, 3> parse_triple(const std::string& text, const std::string& option);

// Two non-negative integers: 0,1.
std::array<int, 2> parse_pair(const std::string& text, const std::string& option);

// One part of a list of cases: 2/5 is the second of five. part from 1 to parts.
struct Part {
  int part = 1;
  int parts = 1;
};
Part parse_part(const std::string& text, const std::string& option);

// A half-open box of voxels in the file's axis order i, j, k: X0:X1,Y0:Y1,Z0:Z1. An empty bound means the volume's own:
// 90:,:,10:20. begin and end are -1 where that is so.
struct VoxelBox {
  std::array<std::int64_t, 3> begin{-1, -1, -1};
  std::array<std::int64_t, 3> end{-1, -1, -1};
};
VoxelBox parse_box(const std::string& text, const std::string& option);

// Whether both names lead to the same file or folder.
bool same_file(const std::string& a, const std::string& b);

// Opens /dev/null as each of the three standard streams that the caller closed, so that no file that is opened later
// gets its number and, with it, the messages. Reading and writing fail as on a closed stream. False where that cannot
// be done.
bool open_standard_streams();

// Lets Ctrl-C, SIGTERM, a terminal that is closed (SIGHUP) and a reader of the output that goes away (SIGPIPE) end the
// work after the current tile, with nothing half-written left behind; a second Ctrl-C ends it at once. What the caller
// ignores (nohup) stays ignored.
void catch_interrupts();
bool interrupted();
// Whether one of them was that nobody reads the output any more.
bool output_closed();
// Throws Error (cancelled) where interrupted().
void stop_if_interrupted();

}  // namespace e2enet::cli
