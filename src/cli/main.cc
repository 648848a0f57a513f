#include "cli/program.h"

int main(int argc, char** argv) { return e2enet::cli::run_program(argc, argv); }
