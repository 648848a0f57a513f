#include "cli/options.h"

#include <CLI/CLI.hpp>

#include "cli/arguments.h"

namespace e2enet::cli {

Option Option::type_name(const std::string& name) const {
  option_->type_name(name);
  return *this;
}

Option Option::group(const std::string& name) const {
  option_->group(name);
  return *this;
}

Option Option::required() const {
  option_->required();
  return *this;
}

Option Option::show_default() const {
  option_->capture_default_str();
  return *this;
}

Option Option::default_text(const std::string& text) const {
  option_->default_str(text);
  return *this;
}

Option Option::delimiter(char character) const {
  option_->delimiter(character);
  return *this;
}

Option Option::range(int least, int most) const {
  return check([least, most](const std::string& word) {
    std::int64_t value = 0;
    if (read_integer(word, most, value) && value >= least) return std::string();
    return "expected a number from " + std::to_string(least) + " to " + std::to_string(most) + ", found '" + word + "'";
  });
}

Option Option::check(const std::function<std::string(const std::string&)>& problem) const {
  option_->check(problem);
  return *this;
}

Command::Command(CLI::App& program, const std::string& name, const std::string& description, const std::string& group,
                 const std::string& footer)
    : app_(program.add_subcommand(name, description)) {
  app_->group(group);
  app_->footer(footer);
}

Option Command::add_option(const std::string& names, std::string& value, const std::string& description) {
  return Option(app_->add_option(names, value, description));
}

Option Command::add_option(const std::string& names, int& value, const std::string& description) {
  return Option(app_->add_option(names, value, description));
}

Option Command::add_option(const std::string& names, std::uint64_t& value, const std::string& description) {
  return Option(app_->add_option(names, value, description));
}

Option Command::add_option(const std::string& names, double& value, const std::string& description) {
  return Option(app_->add_option(names, value, description));
}

Option Command::add_option(const std::string& names, std::vector<std::string>& value, const std::string& description) {
  return Option(app_->add_option(names, value, description));
}

Option Command::add_option(const std::string& names, std::vector<int>& value, const std::string& description) {
  return Option(app_->add_option(names, value, description));
}

Option Command::add_option(const std::string& names, std::vector<double>& value, const std::string& description) {
  return Option(app_->add_option(names, value, description));
}

Option Command::add_flag(const std::string& names, bool& value, const std::string& description) {
  return Option(app_->add_flag(names, value, description));
}

Option Command::add_flag(const std::string& names, std::string& value, const std::string& description) {
  return Option(app_->add_flag(names, value, description));
}

Option Command::set_help_flag(const std::string& names, const std::string& description) {
  return Option(app_->set_help_flag(names, description));
}

void Command::on_parsed(const std::function<void()>& callback) { app_->final_callback(callback); }

}  // namespace e2enet::cli
