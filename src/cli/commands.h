// One function a command: adds it to the program. When it is the one called, `invocation.run` is set.
#pragma once

#include "cli/arguments.h"

namespace CLI {
class App;
}

namespace e2enet::cli {

void add_segment(CLI::App& program, Invocation& invocation);
void add_evaluate(CLI::App& program, Invocation& invocation);
void add_collect(CLI::App& program, Invocation& invocation);
void add_dicom(CLI::App& program, Invocation& invocation);
void add_info(CLI::App& program, Invocation& invocation);
void add_profile(CLI::App& program, Invocation& invocation);
void add_bench(CLI::App& program, Invocation& invocation);
void add_tradeoff(CLI::App& program, Invocation& invocation);
void add_forward(CLI::App& program, Invocation& invocation);
void add_preprocess(CLI::App& program, Invocation& invocation);
void add_random(CLI::App& program, Invocation& invocation);

}  // namespace e2enet::cli
