// A command and its options as the commands declare them. CLI11, which reads them, is in options.cc, help.cc and
// program.cc alone: it is headers only, and each file that includes it takes twice as long to compile.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace e2enet::cli {

// A handle: copies are of the same option. Each function returns it, so that calls can be chained.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  // What --help calls the value.
  Option type_name(const std::string& name) const;
  // The heading of --help under which it stands.
  Option group(const std::string& name) const;
  Option required() const;
  // The value that the variable has now is the default that --help shows.
  Option show_default() const;
  Option default_text(const std::string& text) const;
  // One word holds several values.
  Option delimiter(char character) const;
  // Of an integer without a sign, ends included.
  Option range(int least, int most) const;
  // `problem` is called with the word as it was written, and says what is wrong with it; "" where nothing is.
  Option check(const std::function<std::string(const std::string&)>& problem) const;

 private:
  CLI::Option* option_;
};

// Variables must live until the command line was read.
class Command {
 public:
  // Adds a command to the program. `group` is the heading of the program's --help under which it stands, `footer` what
  // the command's --help ends with.
  Command(CLI::App& program, const std::string& name, const std::string& description, const std::string& group,
          const std::string& footer);

  // `names` as "-i,--image", or without dashes for what is meant by its place.
  Option add_option(const std::string& names, std::string& value, const std::string& description);
  Option add_option(const std::string& names, int& value, const std::string& description);
  Option add_option(const std::string& names, std::uint64_t& value, const std::string& description);
  Option add_option(const std::string& names, double& value, const std::string& description);
  Option add_option(const std::string& names, std::vector<std::string>& value, const std::string& description);
  Option add_option(const std::string& names, std::vector<int>& value, const std::string& description);
  Option add_option(const std::string& names, std::vector<double>& value, const std::string& description);
  Option add_flag(const std::string& names, bool& value, const std::string& description);
  // A flag that can be given a value: "--names{value without one}".
  Option add_flag(const std::string& names, std::string& value, const std::string& description);
  Option set_help_flag(const std::string& names, const std::string& description);

  // Called when the command was chosen and its options were read. May throw UsageError.
  void on_parsed(const std::function<void()>& callback);

 private:
  CLI::App* app_;
};

}  // namespace e2enet::cli
