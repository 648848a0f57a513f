#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/text.h"

namespace e2enet::cli {
namespace {

constexpr std::chrono::milliseconds kBarInterval(100);
constexpr std::chrono::seconds kLineInterval(10);

std::size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<long>(std::ceil(seconds));
  char buffer[64];
  if (whole < 3600) {
    std::snprintf(buffer, sizeof buffer, "%ld:%02ld", whole / 60, whole % 60);
  } else {
    std::snprintf(buffer, sizeof buffer, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return buffer;
}

}  // namespace

ProgressDisplay::Style ProgressDisplay::style_for(bool quiet) {
  if (quiet) return Style::silent;
  return isatty(STDERR_FILENO) ? Style::bar : Style::lines;
}

void ProgressDisplay::update(const std::string& doing, std::int64_t done, std::int64_t total, double seconds_left) {
  if (style_ == Style::silent) return;
  const Clock::time_point now = Clock::now();
  if (doing != doing_) {
    doing_ = doing;
    started_ = now;
    if (style_ == Style::lines) refreshed_ = now;  // a line only if it takes long
    if (style_ == Style::bar) refreshed_ = {};
  }
  const int percent = total > 0 ? static_cast<int>(100 * std::min(done, total) / total) : 0;
  if (style_ == Style::lines) {
    if (now - refreshed_ < kLineInterval) return;
    refreshed_ = now;
    std::string line = doing;
    if (total > 0) line += ": " + std::to_string(percent) + "%";
    if (seconds_left >= 0 && done < total) line += ", " + clock_text(seconds_left) + " left";
    std::fprintf(stderr, "%s\n", line.c_str());
    return;
  }
  if (now - refreshed_ < kBarInterval && done < total) return;
  refreshed_ = now;
  std::string head = doing + "  ";
  std::string tail;
  if (total > 0) {
    char number[16];
    std::snprintf(number, sizeof number, " %3d%%", percent);
    tail = number;
    tail += seconds_left >= 0 && done < total ? "  " + clock_text(seconds_left) + " left" : std::string(12, ' ');
  }
  const std::size_t width = terminal_width();
  const std::size_t taken = display_width(head) + display_width(tail) + 3;
  std::string bar;
  if (total > 0 && width > taken + 10) {
    const std::size_t length = std::min<std::size_t>(width - taken, 40);
    const std::size_t filled =
        static_cast<std::size_t>(std::min(done, total)) * length / static_cast<std::size_t>(total);
    bar = "[" + std::string(filled, '=') + std::string(filled < length ? 1 : 0, '>') +
          std::string(filled < length ? length - filled - 1 : 0, ' ') + "]";
  }
  std::fprintf(stderr, "\r\033[K%s%s%s", head.c_str(), bar.c_str(), tail.c_str());
  std::fflush(stderr);
  shown_ = true;
}

void ProgressDisplay::clear() {
  if (!shown_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  shown_ = false;
}

void ProgressDisplay::remark(const std::string& line) {
  if (style_ != Style::silent) warning(line);
}

void ProgressDisplay::warning(const std::string& line) {
  clear();
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace e2enet::cli
