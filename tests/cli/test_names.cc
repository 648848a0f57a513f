// Names of files and folders: endings in any case, digits that are no channels, bytes that are no text, what is no
// image; and models that help and documentation name.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "cli/cases.h"
#include "cli/text.h"
#include "program_fixture.h"
#include "support/paths.h"

namespace {

namespace fs = std::filesystem;
using namespace e2enet::cli;
using e2enet::test::read_file;
using e2enet::test::Result;
using e2enet::test::Workshop;
using e2enet::test::write_file;

using Names = std::vector<std::string>;

// The names of the cases that these files make, those with a problem with a '!' behind.
Names cases_of(const Names& files, int channels) {
  const Workshop shop;
  for (const std::string& file : files) write_file(shop.path(file), "");
  Names names;
  for (const Case& one : find_cases(shop.path(""), channels).cases)
    names.push_back(one.name + (one.problem.empty() ? "" : "!"));
  return names;
}

Names names_of(const nlohmann::json& paths) {
  Names names;
  for (const auto& path : paths) names.push_back(fs::path(path.get<std::string>()).filename().string());
  return names;
}

TEST_CASE("four digits are a channel only from 0000 to the model's channels") {
  CHECK(cases_of({"a_0000.nii.gz", "b_0000.nii", "c.nii"}, 1) == Names{"a", "b", "c"});
  CHECK(cases_of({"s_2019.nii.gz", "s_2020.nii.gz"}, 1) == Names{"s_2019", "s_2020"});
  CHECK(cases_of({"s_0001.nii.gz", "s_0002.nii.gz"}, 1) == Names{"s_0001", "s_0002"});
  CHECK(cases_of({"s_0000.nii.gz", "s_0001.nii.gz"}, 1) == Names{"s_0000", "s_0001"});
  CHECK(cases_of({"s_0000.nii.gz", "s_2019.nii.gz"}, 1) == Names{"s_0000", "s_2019"});
  CHECK(cases_of({"s_0000.nii.gz", "s_0001.nii.gz"}, 2) == Names{"s"});
  CHECK(cases_of({"s_0000.nii.gz", "s_0001.nii.gz", "t_0000.nii.gz"}, 2) == Names{"s", "t!"});
  CHECK(cases_of({"s_0000.nii.gz", "s_0002.nii.gz"}, 3) == Names{"s!"});
  CHECK(cases_of({"s_0000.nii.gz", "s_0001.nii.gz", "s_0002.nii.gz"}, 2) == Names{"s!"});
  CHECK(cases_of({"s_0001.nii.gz", "s_0002.nii.gz"}, 2) == Names{"s_0001!", "s_0002!"});
  CHECK(cases_of({"s_2019_0000.nii.gz", "s_2020_0000.nii.gz"}, 1) == Names{"s_2019", "s_2020"});
  CHECK(cases_of({"s.nii.gz", "s_0000.nii.gz"}, 1) == Names{"s!"});
  CHECK(cases_of({"s.nii.gz", "s.nii"}, 1) == Names{"s!"});
  CHECK(cases_of({"s.nii.gz", "s.NII.GZ"}, 1) == Names{"s!"});
  CHECK(cases_of({"s_00000.nii.gz", "s_000.nii.gz", "_0000.nii.gz", "0000.nii"}, 1) ==
        Names{"0000", "_0000", "s_000", "s_00000"});
}

TEST_CASE("numbered names become labels of the same names, and what may be meant otherwise is said") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("in"));
  for (const std::string name : {"s_2019", "s_2020", "t_0000", "t_0001"}) {
    Workshop::make_image(shop.path("in/" + name + ".nii.gz"));
  }
  const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "out"});
  CHECK(result.code == 0);
  for (const std::string name : {"s_2019", "s_2020", "t_0000", "t_0001"})
    CHECK(fs::exists(shop.path("out/" + name + ".nii.gz")));
  CHECK(result.errors.find("t_0001") != std::string::npos);
  CHECK(result.errors.find("s_2020") == std::string::npos);
}

TEST_CASE("endings count in any case, for single files, pairs and folders") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  Workshop::make_image(shop.path("A.NII.GZ"));
  Workshop::make_image(shop.path("P.HDR"));
  CHECK(fs::exists(shop.path("P.IMG")));
  const auto segment = [&](const std::string& image, const std::string& output) {
    const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", image, "-o", output});
    CAPTURE(result.errors);
    CHECK(result.code == 0);
    return e2enet::imaging::read_labels(shop.path(output)).labels;
  };
  const auto labels = segment("image.nii", "l.nii");
  CHECK(segment("A.NII.GZ", "L.Nii.Gz") == labels);
  CHECK(read_file(shop.path("L.Nii.Gz")).substr(0, 2) == "\x1f\x8b");
  CHECK(segment("P.HDR", "Q.IMG") == labels);
  CHECK(fs::exists(shop.path("Q.HDR")));
  fs::rename(shop.path("P.HDR"), shop.path("P.hdr"));  // halves that differ
  CHECK(segment("P.hdr", "r.nii") == labels);
  CHECK(segment("P.IMG", "s.nii") == labels);

  fs::create_directory(shop.path("in"));
  fs::copy_file(shop.path("image.nii"), shop.path("in/a_0000.nii"));
  fs::copy_file(shop.path("A.NII.GZ"), shop.path("in/B_0000.NII.GZ"));
  fs::copy_file(shop.path("P.hdr"), shop.path("in/c.HDR"));
  fs::copy_file(shop.path("P.IMG"), shop.path("in/c.img"));
  CHECK(shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "out"}).code == 0);
  for (const std::string name : {"a", "B", "c"}) {
    CHECK(e2enet::imaging::read_labels(shop.path("out/" + name + ".nii.gz")).labels == labels);
  }
  const auto summary = nlohmann::json::parse(read_file(shop.path("out/summary.json")));
  CHECK(summary.at("left_out").empty());

  fs::copy(shop.path("out"), shop.path("r"));
  fs::rename(shop.path("r/B.nii.gz"), shop.path("r/B.NII.GZ"));
  const Result scores = shop.run({"evaluate", "-p", "out", "-r", "r", "--json"});
  REQUIRE(scores.code == 0);
  CHECK(nlohmann::json::parse(scores.output).at("cases").size() == 3);
  const Result tradeoff = shop.run({"tradeoff", "-m", "model.safetensors", "-i", "in", "-r", "r", "--json"});
  REQUIRE(tradeoff.code == 0);
  CHECK(nlohmann::json::parse(tradeoff.output).at("models")[0].at("cases") == 3);
}

TEST_CASE("what is left out of a folder is counted and named, on the screen and in JSON") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directories(shop.path("in/sub"));
  Workshop::make_image(shop.path("in/a.nii"));
  for (const char* name : {"notes.txt", "b.nii.bz2", "half.img", "._a.nii", ".hidden", ".nii"}) {
    write_file(shop.path(std::string("in/") + name), "x");
  }
  const Names left_out = {"._a.nii", ".nii", "b.nii.bz2", "half.img", "notes.txt", "sub"};
  const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "in/out"});
  CHECK(result.code == 0);
  CHECK(result.errors.find("6 files left out of in") != std::string::npos);
  CHECK(result.errors.find("half.img") != std::string::npos);
  CHECK(names_of(nlohmann::json::parse(read_file(shop.path("in/out/summary.json"))).at("left_out")) == left_out);
  // The output's own folder is not worth a word.
  CHECK(shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "in/out"}).errors.find("6 files") !=
        std::string::npos);

  fs::create_directory(shop.path("p"));
  fs::create_directory(shop.path("r"));
  for (const char* name : {"p/a.nii.gz", "p/more.nii.gz", "r/a.nii.gz"})
    fs::copy_file(shop.path("in/out/a.nii.gz"), shop.path(name));
  write_file(shop.path("r/readme"), "x");
  const Result scores = shop.run({"evaluate", "-p", "p", "-r", "r", "--json"});
  REQUIRE(scores.code == 0);
  CHECK(names_of(nlohmann::json::parse(scores.output).at("left_out")) == Names{"readme", "more.nii.gz"});
  CHECK(scores.errors.find("readme") != std::string::npos);
  fs::copy_file(shop.path("r/a.nii.gz"), shop.path("r/z.nii.gz"));
  const Result tradeoff = shop.run({"tradeoff", "-m", "model.safetensors", "-i", "in", "-r", "r", "--json"});
  REQUIRE(tradeoff.code == 0);
  const Names of_tradeoff = names_of(nlohmann::json::parse(tradeoff.output).at("left_out"));
  for (const char* name : {"notes.txt", "half.img", "readme", "z.nii.gz"}) {
    CAPTURE(std::string(name));
    CHECK(std::count(of_tradeoff.begin(), of_tradeoff.end(), name) == 1);
  }
  CHECK(tradeoff.errors.find("z.nii.gz") != std::string::npos);
}

TEST_CASE("names that are not UTF-8 work everywhere, and JSON and SVG show what they cannot hold") {
  const Workshop shop;
  const std::string odd = "M\xfcller", model = odd + ".safetensors";
  const std::string shown = "M\xef\xbf\xbdller";
  shop.make_model(model);
  fs::create_directory(shop.path("in"));
  Workshop::make_image(shop.path("in/a_0000.nii.gz"));
  Workshop::make_image(shop.path("in/" + odd + "_0000.nii.gz"), 2);
  write_file(shop.path("in/" + odd + ".txt"), "x");
  const Names call = {"segment", "-m",           model, "-i",        "in", "-o",
                      "out",     "--statistics", "st",  "--preview", "v",  "--json"};
  const Result result = shop.run(call);
  CAPTURE(result.errors);
  CHECK(result.code == 0);
  for (const std::string& name : {"out/" + odd + ".nii.gz", "st/" + odd + "_statistics.json", "v/" + odd + ".png"}) {
    CHECK(fs::exists(shop.path(name)));
  }
  const auto summary = nlohmann::json::parse(read_file(shop.path("out/summary.json")));
  CHECK(nlohmann::json::parse(result.output) == summary);
  CHECK(summary.at("cases")[0].at("case") == shown);
  CHECK(summary.at("left_out").size() == 1);
  CHECK(nlohmann::json::parse(read_file(shop.path("st/" + odd + "_statistics.json"))).at("case") == shown);
  // Going on keeps what is known of the case, unless its name could be another's.
  REQUIRE(shop.run({"segment", "-m", model, "-i", "in", "-o", "out", "--continue"}).code == 0);
  CHECK(nlohmann::json::parse(read_file(shop.path("out/summary.json"))).at("cases") == summary.at("cases"));
  write_file(shop.path("in/M\xfdller_0000.nii.gz"), "no image");
  const Result failed = shop.run({"segment", "-m", model, "-i", "in", "-o", "out", "--continue", "--json"});
  CHECK(failed.code == 1);
  const auto cases = nlohmann::json::parse(failed.output).at("cases");
  REQUIRE(cases.size() == 3);
  CHECK_FALSE(cases[0].contains("labels"));
  CHECK(cases[1].contains("error"));
  fs::remove(shop.path("in/M\xfdller_0000.nii.gz"));

  CHECK(nlohmann::json::parse(shop.run({"info", model, "--json"}).output).at("model") == shown + ".safetensors");
  const Result scores = shop.run({"evaluate", "-p", "out", "-r", "out", "--json", "--csv", odd + ".csv"});
  CHECK(scores.code == 0);
  CHECK(nlohmann::json::parse(scores.output).at("cases").size() == 2);
  CHECK(read_file(shop.path(odd + ".csv")).find(odd) != std::string::npos);
  const Result tradeoff =
      shop.run({"tradeoff", "-m", model, "-i", "in", "-r", "out", "--json", "--svg", "t.svg", "--markdown", odd});
  CAPTURE(tradeoff.errors);
  REQUIRE(tradeoff.code == 0);
  CHECK(nlohmann::json::parse(tradeoff.output).at("models").size() == 1);
  const std::string svg = read_file(shop.path("t.svg"));
  CHECK(svg.find(shown) != std::string::npos);
  CHECK(valid_utf8(svg) == svg);
  // An error of the process that measures comes back whole.
  const std::string reference = read_file(shop.path("out/" + odd + ".nii.gz"));
  write_file(shop.path("out/" + odd + ".nii.gz"), reference.substr(0, reference.size() - 20));
  const Result broken = shop.run({"tradeoff", "-m", model, "-i", "in", "-r", "out"});
  CHECK(broken.code == 1);
  CHECK(broken.errors.find(shown) != std::string::npos);
}

TEST_CASE("text that is no UTF-8 is replaced byte by byte, and names stay on one line") {
  for (const std::string good : {"", "abc", "\xc3\xbc \xe2\x82\xac \xf0\x9f\xa6\xb4", "a\nb\"\\"})
    CHECK(valid_utf8(good) == good);
  const std::string mark = "\xef\xbf\xbd";
  CHECK(valid_utf8("a\xff\x62") == "a" + mark + "b");
  CHECK(valid_utf8("\xc3") == mark);
  CHECK(one_line("a\nb\x1b[31mc\n") == "a b [31mc");
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("in"));
  write_file(shop.path("in/two\nlines.nii"), "x");
  const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "out"});
  CHECK(result.code == 1);
  CHECK(std::count(result.errors.begin(), result.errors.end(), '\n') == 2);  // the case and the sum
}

TEST_CASE("pipes, sockets and devices are refused by name, at once, wherever a file is read") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("in"));
  Workshop::make_image(shop.path("in/a.nii.gz"));
  REQUIRE(mkfifo(shop.path("in/pipe.nii.gz").c_str(), 0600) == 0);
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, shop.path("in/socket.nii").c_str(), sizeof address.sun_path - 1);
  REQUIRE(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  fs::create_symlink("/dev/zero", shop.path("in/zero.nii"));
  // A call that waits is ended, and not taken for one that refuses.
  const auto impatient = [] { alarm(120); };
  const Result folder = shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "out"}, impatient);
  close(listener);
  CAPTURE(folder.errors);
  CHECK(folder.code == 1);
  for (const char* text : {"pipe.nii.gz: expected a regular file, found a pipe", "found a socket", "found a device",
                           "3 of 4 cases failed"}) {
    CAPTURE(std::string(text));
    CHECK(folder.errors.find(text) != std::string::npos);
  }
  CHECK(fs::exists(shop.path("out/a.nii.gz")));
  CHECK_FALSE(fs::exists(shop.path("out/pipe.nii.gz")));

  REQUIRE(mkfifo(shop.path("pipe").c_str(), 0600) == 0);
  REQUIRE(mkfifo(shop.path("pipe.nii").c_str(), 0600) == 0);
  for (const Names& call :
       std::vector<Names>{{"segment", "-m", "pipe", "-i", "in/a.nii.gz", "-o", "l.nii"},
                          {"segment", "-m", "model.safetensors", "-i", "pipe.nii", "-o", "l.nii"},
                          {"segment", "-m", "model.safetensors", "-i", "in/a.nii.gz", "-o", "pipe.nii"},
                          {"preprocess", "-m", "model.safetensors", "-i", "pipe.nii", "-o", "x.npy"},
                          {"forward", "-m", "model.safetensors", "-i", "pipe", "-o", "x.npy"},
                          {"random", "--config", "pipe", "-o", "x"},
                          {"evaluate", "-p", "pipe.nii", "-r", "pipe.nii"},
                          {"info", "pipe"}}) {
    const Result result = shop.run(call, impatient);
    CAPTURE(call[0]);
    CAPTURE(result.errors);
    CHECK(result.code == 1);
    CHECK(result.errors.find("pipe") != std::string::npos);
  }
  fs::remove(shop.path("in/pipe.nii.gz"));
  fs::remove(shop.path("in/socket.nii"));
  fs::remove(shop.path("in/zero.nii"));
  fs::remove(shop.path("out/summary.json"));
  REQUIRE(mkfifo(shop.path("out/summary.json").c_str(), 0600) == 0);
  const Result summary =
      shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "out", "--continue"}, impatient);
  CHECK(summary.code == 1);
  CHECK(summary.errors.find("summary.json") != std::string::npos);
}

TEST_CASE("every model that help or documentation names is there") {
  const Workshop shop;
  std::string text = shop.run({"--help"}).output;
  for (const char* command :
       {"segment", "evaluate", "info", "profile", "bench", "tradeoff", "forward", "preprocess", "random"}) {
    text += shop.run({command, "--help"}).output;
  }
  text += read_file(e2enet::test::source_path("README.md"));
  for (const char* folder : {"docs", "python", "examples", "models"}) {
    for (const auto& entry : fs::recursive_directory_iterator(e2enet::test::source_path(folder))) {
      const std::string ending = entry.path().extension().string();
      if (ending == ".md" || ending == ".csv") text += read_file(entry.path().string());
    }
  }
  const std::regex model("models/[A-Za-z0-9_.-]+\\.(safetensors|md)");
  std::set<std::string> named;
  for (std::sregex_iterator found(text.begin(), text.end(), model), end; found != end; ++found)
    named.insert(found->str());
  CHECK(named.size() > 3);
  for (const std::string& path : named) {
    CAPTURE(path);
    CHECK(fs::exists(e2enet::test::source_path(path)));
  }
}

}  // namespace
