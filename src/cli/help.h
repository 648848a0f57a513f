// How --help looks.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace e2enet::cli {

// Description, usage, options by group in the order in which the groups first appear, commands, and the examples of the
// footer. Wrapped at 100 columns or the terminal's width if that is less.
class HelpFormatter : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
};

// The name nearest to `wrong` among the commands or options of `app`, or "" if none is near.
std::string nearest_name(const CLI::App& app, const std::string& wrong);

}  // namespace e2enet::cli
