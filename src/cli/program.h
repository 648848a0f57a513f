// The program `e2enet`: reads the command line, runs one command, turns errors into one line and an exit code.
#pragma once

namespace e2enet::cli {

int run_program(int argc, char** argv);

}  // namespace e2enet::cli
