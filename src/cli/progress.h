// What people see while they wait: on stderr a bar on a terminal, now and then a line in a pipe, nothing with --quiet.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace e2enet::cli {

class ProgressDisplay {
 public:
  enum class Style { bar, lines, silent };
  static Style style_for(bool quiet);

  explicit ProgressDisplay(Style style) : style_(style) {}
  ~ProgressDisplay() { clear(); }
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  // `doing` names the work ("case_07: segmenting"). total 0: length unknown. seconds_left < 0: unknown.
  void update(const std::string& doing, std::int64_t done, std::int64_t total, double seconds_left);

  // Takes the bar off the screen, so that something else can be printed.
  void clear();

  // A remark that stays on the screen; nothing with --quiet.
  void remark(const std::string& line);
  // The same, with --quiet too: results may not mean what they seem to.
  void warning(const std::string& line);

 private:
  using Clock = std::chrono::steady_clock;

  Style style_;
  bool shown_ = false;
  std::string doing_;
  Clock::time_point started_{};    // when `doing_` began
  Clock::time_point refreshed_{};  // when something was last shown
};

}  // namespace e2enet::cli
