// The program is a client of the library: what it can do, an embedder can.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace {

TEST_CASE("no file of the program includes anything but the public API, its own folder and other libraries") {
  const std::filesystem::path folder = std::filesystem::path(E2ENET_SOURCE_DIR) / "src" / "cli";
  int files = 0, of_api = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string path = entry.path().string();
    CAPTURE(path);
    std::ifstream file(path);
    REQUIRE(file.good());
    ++files;
    for (std::string line; std::getline(file, line);) {
      if (line.compare(0, 10, "#include \"") != 0) continue;  // those in <> are other libraries'
      CAPTURE(line);
      const bool api = line.compare(10, 7, "e2enet/") == 0, own = line.compare(10, 4, "cli/") == 0;
      CHECK((api || own));
      of_api += api;
    }
  }
  CHECK(files > 20);
  CHECK(of_api > 10);
}

}  // namespace
