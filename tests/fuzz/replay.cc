// Runs a fuzzer's entry over files that are kept, without clang or libFuzzer: replay_NAME FOLDER. Inputs that once
// failed are among the ordinary tests in this way.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);

int main(int count, char** arguments) try {
  if (count != 2) {
    std::cerr << "Usage: replay_NAME FOLDER\n";
    return 2;
  }
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(arguments[1])) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) {
    std::cout << path.filename().string() << std::endl;  // the last line of a run that ends in a crash
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file) throw std::runtime_error("cannot read " + path.string());
    // A copy of exactly this size, so that a sanitizer sees a step beyond it.
    const std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::cout << paths.size() << " inputs\n";
  return paths.empty() ? 1 : 0;  // a test of nothing has not passed
} catch (const std::exception& error) {
  std::cerr << "replay: error: " << error.what() << "\n";
  return 1;
}
