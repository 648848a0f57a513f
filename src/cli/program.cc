#include "cli/program.h"

#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/text.h"
#include "e2enet/error.h"
#include "e2enet/version.h"

namespace e2enet::cli {
namespace {

constexpr char kDescription[] =
    "e2enet segments 3D medical images with E2ENet networks, on machines without a GPU.\n"
    "\n"
    "Usage: e2enet COMMAND [OPTIONS]";

constexpr char kFooter[] =
    "Examples:\n"
    "  Segment a volume and look at the result:\n"
    "    e2enet segment -m models/hippocampus_density20.safetensors -i head.nii.gz -o labels.nii.gz \\\n"
    "        --preview labels.png\n"
    "  How good are the labels of a folder of cases?\n"
    "    e2enet evaluate -p predictions/ -r references/\n"
    "\n"
    "`e2enet COMMAND --help` tells more about a command. Exit codes: 0 done, 1 failed, 2 the call was wrong.";

int report(const std::string& program, const std::string& message, int code) {
  std::cout.flush();
  std::cerr << program << ": error: " << one_line(message) << std::endl;
  return code;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// CLI11's own wording names types and internals; people want to know what to type.
std::string explanation(const CLI::ParseError& error, const CLI::App& command, const std::string& name) {
  std::string text;
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::vector<std::string> extras = command.remaining(true);
    const std::string first = extras.empty() ? std::string() : extras.front();
    if (first.size() > 1 && first[0] == '-') {
      const std::string option = first.substr(0, first.find('='));
      text = "unknown option '" + option + "'";
      const std::string near = option.rfind("--", 0) == 0 ? nearest_name(command, option) : std::string();
      if (!near.empty()) text += "; did you mean '" + near + "'?";
    } else {
      text = "unexpected argument '" + joined(extras) + "'";
    }
  } else if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    std::string what = error.what();
    const std::string suffix = " is required";
    if (what.size() > suffix.size() && what.compare(what.size() - suffix.size(), suffix.size(), suffix) == 0) {
      what.resize(what.size() - suffix.size());
    }
    text = "missing " + (what == "model" ? std::string("MODEL") : what);
  } else if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) {
    text = error.what();  // "Could not convert: --step = x"
    const std::size_t begin = text.find("--"), equals = text.find(" = ");
    if (begin != std::string::npos && equals != std::string::npos && begin < equals) {
      const std::string option = text.substr(begin, equals - begin);
      const CLI::Option* known = command.get_option_no_throw(option);
      text = option + ": expected " + (known != nullptr ? known->get_type_name() : "a number") + ", found '" +
             text.substr(equals + 3) + "'";
    }
  } else if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    text = error.what();  // "--model: 1 required MODEL missing"
    const std::string option = text.substr(0, text.find(':'));
    const CLI::Option* known = command.get_option_no_throw(option);
    if (known != nullptr && text.find("missing") != std::string::npos) {
      text = option + ": expected " + known->get_type_name() + ", found nothing";
    }
  } else {
    text = error.what();
  }
  return text + " (see '" + name + " --help')";
}

}  // namespace

int run_program(int argc, char** argv) {
  if (!open_standard_streams()) return kFailed;  // nowhere to say why
  const std::string version = std::string("e2enet ") + e2enet_version();
  CLI::App program(kDescription, "e2enet");
  program.formatter(std::make_shared<HelpFormatter>());
  program.set_help_flag("-h,--help", "Show this help and exit")->group("Options");
  program.set_version_flag("-V,--version", version, "Show the version and exit")->group("Options");
  program.footer(kFooter);

  Invocation invocation;
  add_segment(program, invocation);
  add_evaluate(program, invocation);
  add_collect(program, invocation);
  add_dicom(program, invocation);
  add_info(program, invocation);
  add_profile(program, invocation);
  add_bench(program, invocation);
  add_tradeoff(program, invocation);
  add_forward(program, invocation);
  add_preprocess(program, invocation);
  add_random(program, invocation);

  if (argc < 2) {
    std::cerr << program.help();
    return kWrongCall;
  }
  const CLI::App& constant_program = program;
  const CLI::App* command = &program;
  std::string name = "e2enet";
  const std::string first = argv[1];
  if (!first.empty() && first[0] != '-') {
    const auto found =
        constant_program.get_subcommands([&](const CLI::App* candidate) { return candidate->get_name() == first; });
    if (found.empty()) {
      const std::string near = nearest_name(program, first);
      return report(name,
                    "unknown command '" + first + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?") +
                        " (see 'e2enet --help')",
                    kWrongCall);
    }
    command = found.front();
    name += " " + first;
  }

  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << command->help();
    return kDone;
  } catch (const CLI::CallForVersion&) {
    std::cout << version << std::endl;
    return kDone;
  } catch (const CLI::ParseError& error) {
    return report(name, explanation(error, *command, name), kWrongCall);
  } catch (const UsageError& error) {
    return report(name, error.what(), kWrongCall);
  }
  if (!invocation.run) return report(name, "no command given (see 'e2enet --help')", kWrongCall);

  catch_interrupts();
  try {
    const int code = invocation.run();
    std::cout.flush();
    if (!std::cout && output_closed()) return kFailed;  // `| head` has seen enough, and wants no complaint
    if (!std::cout) return report(name, "standard output: cannot be written", kFailed);
    return code;
  } catch (const UsageError& error) {
    return report(name, error.what(), kWrongCall);
  } catch (const Error& error) {
    const bool stopped = error.code() == ErrorCode::cancelled && interrupted();
    if (stopped)
      return report(name, output_closed() ? "stopped: nobody reads the output any more" : "interrupted", kFailed);
    return report(name, error.what(), kFailed);
  } catch (const std::bad_alloc&) {
    return report(name, "the system gave no memory", kFailed);
  } catch (const std::exception& error) {
    return report(name, error.what(), kFailed);
  }
}

}  // namespace e2enet::cli
