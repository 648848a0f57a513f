#include "cli/help.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <vector>

namespace e2enet::cli {
namespace {

std::size_t line_width() {
  winsize size{};
  if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 60) {
    return std::min<std::size_t>(size.ws_col, 100);
  }
  return 100;
}

// Two columns: `left` at `indent`, `right` wrapped in the rest of the line; on the next line where `left` is too long.
void print_row(std::ostream& out, const std::string& left, const std::string& right, std::size_t column) {
  const std::size_t width = line_width() - column;
  out << "  " << left;
  std::size_t used = 2 + left.size();
  if (used + 2 > column) {
    out << "\n";
    used = 0;
  }
  out << std::string(column - used, ' ');
  std::istringstream words(right);
  std::string word;
  std::size_t length = 0;
  while (words >> word) {
    if (length > 0 && length + 1 + word.size() > width) {
      out << "\n" << std::string(column, ' ');
      length = 0;
    }
    if (length > 0) {
      out << ' ';
      ++length;
    }
    out << word;
    length += word.size();
  }
  out << "\n";
}

std::string option_names(const CLI::Option& option) {
  if (option.get_positional()) return option.get_type_name();
  std::string text;
  for (const std::string& name : option.get_snames()) text += "-" + name + ", ";
  if (text.empty()) text = "    ";  // long names stand below each other
  for (const std::string& name : option.get_lnames()) text += "--" + name + ", ";
  text.resize(text.size() - 2);
  if (option.get_items_expected_max() > 0 && !option.get_type_name().empty()) text += " " + option.get_type_name();
  return text;
}

std::string option_description(const CLI::Option& option) {
  std::string text = option.get_description();
  const std::string standard = option.get_default_str();
  if (!standard.empty()) text += " [default: " + standard + "]";
  return text;
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

std::string HelpFormatter::make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const {
  constexpr std::size_t kColumn = 31;
  std::ostringstream out;
  out << app->get_description() << "\n";

  const auto commands = app->get_subcommands([](const CLI::App*) { return true; });
  std::vector<std::string> command_groups;
  for (const CLI::App* command : commands) {
    if (std::find(command_groups.begin(), command_groups.end(), command->get_group()) == command_groups.end()) {
      command_groups.push_back(command->get_group());
    }
  }
  for (const std::string& group : command_groups) {
    out << "\n" << group << ":\n";
    for (const CLI::App* command : commands) {
      if (command->get_group() != group) continue;
      const std::string description = command->get_description();
      print_row(out, command->get_name(), description.substr(0, description.find('\n')), 14);
    }
  }

  const std::vector<const CLI::Option*> options = app->get_options();
  std::vector<std::string> groups;
  for (const CLI::Option* option : options) {
    if (option->get_group().empty()) continue;
    if (std::find(groups.begin(), groups.end(), option->get_group()) == groups.end()) {
      groups.push_back(option->get_group());
    }
  }
  // --help is added first, but what is common to all commands is of least interest.
  std::stable_partition(groups.begin(), groups.end(), [](const std::string& name) { return name != "Common options"; });
  for (const std::string& group : groups) {
    out << "\n" << group << ":\n";
    for (const CLI::Option* option : options) {
      if (option->get_group() == group) print_row(out, option_names(*option), option_description(*option), kColumn);
    }
  }
  if (!app->get_footer().empty()) out << "\n" << app->get_footer() << "\n";
  return out.str();
}

std::string nearest_name(const CLI::App& app, const std::string& wrong) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  std::string best;
  std::size_t best_distance = wrong.size() / 3 + 1;
  for (const std::string& name : names) {
    const std::size_t distance = edit_distance(wrong, name);
    if (distance <= best_distance && (best.empty() || distance < best_distance)) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace e2enet::cli
