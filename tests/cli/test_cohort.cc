// Cohorts: lists of cases, their records, going on after whatever happened, and the table of all.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "cli/case_list.h"
#include "e2enet/error.h"
#include "e2enet/files.h"
#include "program_fixture.h"

namespace {

namespace fs = std::filesystem;
using e2enet::test::read_file;
using e2enet::test::Result;
using e2enet::test::Workshop;
using e2enet::test::write_file;
using nlohmann::json;

json parsed(const std::string& path) { return json::parse(read_file(path)); }

std::size_t unfinished(const Workshop& shop) {
  std::size_t count = 0;
  for (const std::string& name : shop.files()) count += name.find(".partial") != std::string::npos;
  return count;
}

// Four cases in a list, of which `broken` is no image.
void make_list(const Workshop& shop) {
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("in"));
  std::string list = "case,image\n";
  for (const std::string name : {"a", "b", "c"}) {
    Workshop::make_image(shop.path("in/" + name + ".nii.gz"), static_cast<unsigned>(name[0]));
    list += "sub-" + name + "/" + name + ",in/" + name + ".nii.gz\n";
  }
  write_file(shop.path("in/broken.nii.gz"), "no image");
  write_file(shop.path("cases.csv"), list + "broken,in/broken.nii.gz\n");
}

Result segment(const Workshop& shop, const std::vector<std::string>& more = {}) {
  std::vector<std::string> call = {"segment", "-m",  "model.safetensors", "--cases", "cases.csv",
                                   "-o",      "out", "--record",          "records"};
  call.insert(call.end(), more.begin(), more.end());
  return shop.run(call);
}

TEST_CASE("a list of cases has quoted fields, channels and series, and paths of its own folder") {
  const Workshop shop;
  const auto read = [&](const std::string& text) {
    write_file(shop.path("list.csv"), text);
    return e2enet::cli::read_case_list(shop.path("list.csv"));
  };
  const auto cases = read(
      "\xEF\xBB\xBF"
      "case,image,image2,series\r\n\"a, \"\"b\"\"\",x y.nii,/abs.nii,\r\n\r\nsub/c,d,e,1.2.3");
  REQUIRE(cases.size() == 2);
  CHECK(cases[0].name == "a, \"b\"");
  CHECK(cases[0].images == std::vector<std::string>{shop.path("x y.nii"), "/abs.nii"});
  CHECK(cases[0].series.empty());
  CHECK(cases[1].name == "sub/c");
  CHECK(cases[1].series == "1.2.3");
  CHECK(read("case,image,image2\na,b,\n")[0].images == std::vector<std::string>{shop.path("b")});
  CHECK(read("case\timage\na\tb,c.nii\n")[0].images[0] == shop.path("b,c.nii"));
  for (const auto& [text, word] : std::vector<std::pair<std::string, std::string>>{
           {"", "found nothing"},
           {"case,image\n", "found none"},
           {"name,image\na,b\n", "'name'"},
           {"case,series\na,b\n", "'case,series'"},
           {"case,image\na\n", "line 2: expected 2 fields, found 1"},
           {"case,image\n,b\n", "line 2: case"},
           {"case,image\n../a,b\n", "'../a'"},
           {"case,image\n/a,b\n", "'/a'"},
           {"case,image\na/./b,b\n", "'a/./b'"},
           {"case,image\na,b\n\na,c\n", "line 4: case: expected each once"},
           {"case,image\n\"a,b\n", "closing quote"}}) {
    CAPTURE(text);
    try {
      read(text);
      FAIL("was read");
    } catch (const e2enet::Error& error) {
      CAPTURE(error.what());
      CHECK(std::string(error.what()).find(word) != std::string::npos);
      CHECK(std::string(error.what()).find("list.csv") != std::string::npos);
    }
  }
}

TEST_CASE("a list's labels are those of the images alone, with a record of each, and a summary") {
  const Workshop shop;
  make_list(shop);
  const Result result = segment(shop);
  CAPTURE(result.errors);
  CHECK(result.code == 1);
  CHECK(result.errors.find("case broken: ") != std::string::npos);
  REQUIRE(shop.run({"segment", "-m", "model.safetensors", "-i", "in/b.nii.gz", "-o", "b.nii.gz", "--record", "b.json"})
              .code == 0);
  CHECK(read_file(shop.path("b.nii.gz")) == read_file(shop.path("out/sub-b/b.nii.gz")));
  const json summary = parsed(shop.path("out/summary_cases.json"));
  CHECK(summary.at("cases_failed") == 1);
  CHECK(summary.at("cases_not_done") == 0);
  const json record = parsed(shop.path("records/sub-b/b_record.json"));
  CHECK(record.at("status") == "done");
  CHECK(record.at("case") == "sub-b/b");
  CHECK(record.at("tries") == 1);
  CHECK(record.at("model_sha256") == e2enet::sha256_of(read_file(shop.path("model.safetensors"))));
  CHECK(record.at("inputs")[0].at("sha256") == e2enet::sha256_of(read_file(shop.path("in/b.nii.gz"))));
  CHECK(record.at("inputs")[0].at("bytes") == fs::file_size(shop.path("in/b.nii.gz")));
  CHECK(record.at("options").at("step") == 0.5);
  CHECK(record.at("labels") == summary.at("cases")[1].at("labels"));
  CHECK(record.at("labels") == parsed(shop.path("b.json")).at("labels"));
  CHECK(record.at("peak_bytes").get<std::int64_t>() > 0);
  CHECK(record.at("seconds").get<double>() > 0);
  for (const char* key : {"version", "instruction_set", "host", "threads"}) CHECK(record.contains(key));
  const json failed = parsed(shop.path("records/broken_record.json"));
  CHECK(failed.at("status") == "failed");
  CHECK(failed.at("error").get<std::string>().find("broken.nii.gz") != std::string::npos);
  CHECK(unfinished(shop) == 0);
}

TEST_CASE("a pair of files is hashed whole") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("a.hdr"));
  REQUIRE(shop.run({"segment", "-m", "model.safetensors", "-i", "a.hdr", "-o", "l.nii", "--record", "a.json"}).code ==
          0);
  const json inputs = parsed(shop.path("a.json")).at("inputs");
  REQUIRE(inputs.size() == 2);
  CHECK(inputs[0].at("sha256") == e2enet::sha256_of(read_file(shop.path("a.hdr"))));
  CHECK(inputs[1].at("sha256") == e2enet::sha256_of(read_file(shop.path("a.img"))));
}

TEST_CASE("going on does nothing twice, tries failed cases again, and gives them up after their tries") {
  const Workshop shop;
  make_list(shop);
  REQUIRE(segment(shop, {"--continue", "--tries", "2"}).code == 1);
  const std::string labels = read_file(shop.path("out/sub-a/a.nii.gz"));
  const auto made = fs::last_write_time(shop.path("out/sub-a/a.nii.gz"));
  const Result again = segment(shop, {"--continue", "--tries", "2"});
  CHECK(again.code == 1);
  CHECK(again.errors.find("3 finished before") != std::string::npos);
  CHECK(parsed(shop.path("records/broken_record.json")).at("tries") == 2);
  CHECK(fs::last_write_time(shop.path("out/sub-a/a.nii.gz")) == made);
  // Given up: nothing is tried, and the error is still said.
  write_file(shop.path("in/broken.nii.gz"), read_file(shop.path("in/a.nii.gz")));
  const Result third = segment(shop, {"--continue", "--tries", "2"});
  CHECK(third.code == 1);
  CHECK(third.errors.find("case broken: ") != std::string::npos);
  CHECK_FALSE(fs::exists(shop.path("out/broken.nii.gz")));
  // Mended, and one try more.
  CHECK(segment(shop, {"--continue", "--tries", "3"}).code == 0);
  CHECK(read_file(shop.path("out/broken.nii.gz")) == labels);
  // Labels without a record are not finished, and a record without labels neither.
  fs::remove(shop.path("records/sub-a/a_record.json"));
  fs::remove(shop.path("out/sub-b/b.nii.gz"));
  const Result rest = segment(shop, {"--continue"});
  CHECK(rest.code == 0);
  CHECK(rest.errors.find("2 finished before") != std::string::npos);
  CHECK(fs::exists(shop.path("records/sub-a/a_record.json")));
  CHECK(fs::exists(shop.path("out/sub-b/b.nii.gz")));
}

TEST_CASE("labels of another model or other options are not taken for this call's") {
  const Workshop shop;
  make_list(shop);
  REQUIRE(segment(shop).code == 1);
  const std::string labels = read_file(shop.path("out/sub-a/a.nii.gz"));
  const Result other_options = segment(shop, {"--continue", "--tta"});
  CHECK(other_options.code == 1);
  CHECK(other_options.errors.find("out/sub-a/a.nii.gz: expected labels made with tta true, found false") !=
        std::string::npos);
  write_file(shop.path("config.json"), R"({"input_channels": 1, "classes": 3, "base_features": 4,
             "patch_size": [8, 16, 16], "pool_strides": [[1, 2, 2], [2, 2, 2]], "density": 0.5,
             "labels": {"0": "background", "1": "first", "2": "second"}})");
  REQUIRE(shop.run({"random", "-o", "model.safetensors", "--config", "config.json", "--seed", "4"}).code == 0);
  const Result other_model = segment(shop, {"--continue"});
  CHECK(other_model.code == 1);
  CHECK(other_model.errors.find("expected labels of the model with SHA-256") != std::string::npos);
  CHECK(read_file(shop.path("out/sub-a/a.nii.gz")) == labels);
  CHECK(parsed(shop.path("records/sub-a/a_record.json")).at("status") == "done");
}

TEST_CASE("what a killed process leaves is removed, what a living one writes stays, and its case comes last") {
  const Workshop shop;
  make_list(shop);
  fs::create_directories(shop.path("out/sub-a"));
  fs::create_directories(shop.path("records/sub-a"));
  const std::string dead = shop.path("out/sub-a/.a.nii.gz.1-0.partial");
  const std::string alive = shop.path("out/sub-a/.a.nii.gz.2-0.partial");
  const std::string foreign = shop.path("out/sub-a/.z.nii.gz.3-0.partial");
  for (const std::string& name : {dead, alive, foreign}) write_file(name, "half");
  write_file(shop.path("records/sub-a/a_record.json"),
             R"({"case": "sub-a/a", "status": "running", "tries": 1, "host": "node7", "started": "yesterday"})");
  const int writer = open(alive.c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(flock(writer, LOCK_EX) == 0);
  const Result result = segment(shop, {"--continue", "--tries", "2"});
  close(writer);
  CAPTURE(result.errors);
  CHECK_FALSE(fs::exists(dead));
  CHECK(fs::exists(alive));
  CHECK(fs::exists(foreign));
  CHECK(result.output.find("sub-b/b") < result.output.find("sub-a/a"));
  CHECK(parsed(shop.path("records/sub-a/a_record.json")).at("tries") == 2);
  CHECK(fs::exists(shop.path("out/sub-a/a.nii.gz")));
  // Ended from outside as often as it may be.
  fs::remove(shop.path("out/sub-a/a.nii.gz"));
  write_file(shop.path("records/sub-a/a_record.json"),
             R"({"case": "sub-a/a", "status": "running", "tries": 2, "host": "node7", "started": "yesterday"})");
  const Result given_up = segment(shop, {"--continue", "--tries", "2"});
  CHECK(given_up.code == 1);
  CHECK(given_up.errors.find("case sub-a/a: the process that worked on it was ended from outside, 2 times, last on "
                             "node7") != std::string::npos);
  CHECK(parsed(shop.path("records/sub-a/a_record.json")).at("status") == "failed");
}

TEST_CASE("killed in the middle, going on gives the same bytes and leaves nothing unfinished") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("in"));
  std::string list = "case,image\n";
  for (const std::string name : {"a", "b"}) {
    Workshop::make_image(shop.path("in/" + name + ".nii.gz"), static_cast<unsigned>(name[0]), {24, 64, 64});
    list += name + ",in/" + name + ".nii.gz\n";
  }
  write_file(shop.path("cases.csv"), list);
  const std::vector<std::string> call = {"segment", "-m",  "model.safetensors", "--cases", "cases.csv",
                                         "-o",      "out", "--record",          "records", "--continue"};
  const pid_t child = shop.start(call);
  for (int wait = 0; wait < 6000 && unfinished(shop) == 0; ++wait) usleep(1000);
  kill(child, SIGKILL);
  REQUIRE(shop.wait(child).code == 128 + SIGKILL);
  CHECK(unfinished(shop) > 0);
  const Result result = shop.run(call);
  CAPTURE(result.errors);
  CHECK(result.code == 0);
  CHECK(unfinished(shop) == 0);
  REQUIRE(shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "other"}).code == 0);
  for (const std::string name : {"a.nii.gz", "b.nii.gz"}) {
    CHECK(read_file(shop.path("out/" + name)) == read_file(shop.path("other/" + name)));
  }
}

TEST_CASE("a stop in good order is no try") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("a.nii.gz"), 1, {24, 64, 64});
  write_file(shop.path("cases.csv"), "case,image\na,a.nii.gz\n");
  const pid_t child = shop.start(
      {"segment", "-m", "model.safetensors", "--cases", "cases.csv", "-o", "out", "--record", "records", "--tta"});
  for (int wait = 0; wait < 6000 && unfinished(shop) == 0; ++wait) usleep(1000);
  kill(child, SIGTERM);
  CHECK(shop.wait(child).code == 1);
  const json record = parsed(shop.path("records/a_record.json"));
  CHECK(record.at("status") == "interrupted");
  CHECK(record.at("tries") == 0);
  CHECK(unfinished(shop) == 0);
}

TEST_CASE("wrong calls of lists and tries are refused by name") {
  const Workshop shop;
  make_list(shop);
  const auto refused = [&](std::vector<std::string> more, const std::string& word) {
    std::vector<std::string> call = {"segment", "-m", "model.safetensors", "-o", "out"};
    call.insert(call.end(), more.begin(), more.end());
    const Result result = shop.run(call);
    CAPTURE(result.errors);
    CHECK(result.code == 2);
    CHECK(result.errors.find(word) != std::string::npos);
  };
  refused({}, "missing --image");
  refused({"-i", "in", "--cases", "cases.csv"}, "--cases: expected this or --image");
  refused({"--cases", "cases.csv", "--tries", "2"}, "--tries: expected --record and --continue");
  refused({"--cases", "cases.csv", "--continue", "--tries", "2"}, "--tries: expected --record and --continue");
  refused({"--cases", "cases.csv", "--tries", "-1"}, "--tries");
  refused({"-i", "in/a.nii.gz", "--record", "r.json", "--continue", "--tries", "2"}, "--continue");
  const Result text =
      shop.run({"segment", "-m", "model.safetensors", "-i", "in/a.nii.gz", "-o", "l.nii", "--record", "r.txt"});
  CHECK(text.code == 2);
  CHECK(text.errors.find("--record: expected a file name ending in .json") != std::string::npos);
  CHECK(segment(shop, {"--series", "4"}).code == 1);  // the broken one; the others are NIfTI all the same
}

// A record as `segment` writes it, of volumes by structure.
void write_record(const Workshop& shop, const std::string& name, double first, double second,
                  const std::string& model = "m") {
  json record = {{"case", name},   {"status", "done"},      {"model_sha256", model},    {"version", "0.2.0"},
                 {"seconds", 2.5}, {"peak_bytes", 3 << 20}, {"instruction_set", "AVX2"}};
  record["labels"]["1"] = {{"name", "first"}, {"voxels", first > 0 ? 1 : 0}, {"ml", first}};
  record["labels"]["2"] = {{"name", "second"}, {"voxels", second > 0 ? 1 : 0}, {"ml", second}};
  write_file(shop.path("records/" + name + "_record.json"), record.dump());
}

TEST_CASE("a cohort's table has every case, and flags what is missing or far from the others") {
  const Workshop shop;
  fs::create_directories(shop.path("records/more"));
  // Median 10, absolute deviations 0 0.1 0.1 0.2 0.2 0.3 0.3: a robust deviation is 1.4826 * 0.2.
  const double volumes[] = {10, 9.9, 10.1, 9.8, 10.2, 9.7, 10.3};
  int number = 0;
  for (const double ml : volumes) write_record(shop, "more/c" + std::to_string(number++), ml, 5);
  write_record(shop, "missing", 10, 0);
  const auto collect = [&](const std::vector<std::string>& more = {}) {
    std::vector<std::string> call = {"collect", "records", "-o", "t.tsv"};
    call.insert(call.end(), more.begin(), more.end());
    return shop.run(call);
  };
  Result result = collect();
  CAPTURE(result.errors);
  CHECK(result.code == 0);
  json table = parsed(shop.path("t.json"));
  CHECK(table.at("cases") == 8);
  CHECK(table.at("cases_with_outliers") == 1);
  CHECK(table.at("structures").at("1").at("median_ml") == doctest::Approx(10.0));
  CHECK(table.at("table")[0].at("case") == "missing");
  CHECK(table.at("table")[0].at("outliers")[0].at("missing") == true);
  CHECK(table.at("peak_bytes") == 3 << 20);
  // A volume at 3.9 robust deviations is none, at 4.1 it is one, on both sides.
  const double deviation = table.at("structures").at("1").at("robust_deviation_ml");
  for (const auto& [name, times, found] : std::vector<std::tuple<std::string, double, bool>>{
           {"near", 3.0, false}, {"far", 9.0, true}, {"low", -9.0, true}}) {
    write_record(shop, name, 10 + times * deviation, 5);
    result = collect();
    table = parsed(shop.path("t.json"));
    bool flagged = false;
    for (const json& row : table.at("table")) {
      if (row.at("case") == name) flagged = !row.at("outliers").empty();
    }
    CAPTURE(name);
    CHECK(flagged == found);
    CHECK((read_file(shop.path("t.tsv")).find("robust deviations") != std::string::npos) == found);
    fs::remove(shop.path("records/" + name + "_record.json"));
  }
  // The same table whatever wrote the records first.
  collect();
  const std::string before = read_file(shop.path("t.tsv"));
  CHECK(before.find(
            "case\tstatus\terror\tfirst_ml\tsecond_ml\toutliers\tseconds\tpeak_mib\tmodel_sha256\tversion\t"
            "instruction_set\nmissing\tdone\tn/a\t10.000\t0.000\tsecond missing\t2.500\t3.0\tm\t0.2.0\tAVX2\n") == 0);
  fs::rename(shop.path("records/more"), shop.path("records/another"));
  write_record(shop, "missing", 10, 0);
  collect();
  CHECK(read_file(shop.path("t.tsv")) == before);
  // Two models in one cohort are said.
  write_record(shop, "other", 10, 5, "n");
  CHECK(collect().errors.find("warning: expected one model for all cases, found 8 with m, 1 with n") !=
        std::string::npos);
}

TEST_CASE("a cohort under way: what runs, failed, was stopped and was not begun, and the exit code says so") {
  const Workshop shop;
  fs::create_directory(shop.path("records"));
  write_record(shop, "a", 1, 2);
  write_file(shop.path("records/b_record.json"),
             R"({"case": "b", "status": "failed", "error": "b.nii:\tbad\nimage", "seconds": 1})");
  write_file(shop.path("records/c_record.json"),
             R"({"case": "c", "status": "running", "started": "2026-01-01T00:00:00Z", "host": "node7"})");
  write_file(shop.path("records/d_record.json"), R"({"case": "d", "status": "interrupted", "error": "interrupted"})");
  write_file(shop.path("records/z_record.json"), R"({"case": "z", "status": "failed", "error": "not of the list"})");
  write_file(shop.path("records/.e_record.json.1-0.partial"), "{");
  write_file(shop.path("list.csv"), "case,image\na,a\nb,b\nc,c\nd,d\ne,e\n");
  const Result result = shop.run({"collect", "records", "-o", "t.tsv", "--cases", "list.csv"});
  CHECK(result.code == 1);
  CHECK(result.errors.find("error: case b: failed: b.nii: bad image") != std::string::npos);
  CHECK(result.errors.find("case c: running: begun 2026-01-01T00:00:00Z on node7") != std::string::npos);
  CHECK(result.errors.find("case e: not begun") != std::string::npos);
  CHECK(result.errors.find("4 of 5 cases are not done, see t.tsv") != std::string::npos);
  CHECK(result.errors.find("1 records of cases that are not in list.csv") != std::string::npos);
  const json table = parsed(shop.path("t.json"));
  for (const char* key : {"cases_done", "cases_failed", "cases_running", "cases_interrupted", "cases_not_begun"}) {
    CAPTURE(key);
    CHECK(table.at(key) == 1);
  }
  CHECK(
      read_file(shop.path("t.tsv")).find("\nb\tfailed\tb.nii: bad image\tn/a\tn/a\tn/a\t1.000\tn/a\tn/a\tn/a\tn/a\n") !=
      std::string::npos);
  // What cannot be a table.
  fs::create_directory(shop.path("empty"));
  CHECK(shop.run({"collect", "empty", "-o", "e.tsv"}).code == 1);
  CHECK(shop.run({"collect", "nowhere", "-o", "e.tsv"}).code == 1);
  CHECK(shop.run({"collect", "records", "-o", "e.csv"}).code == 2);
  fs::create_directory(shop.path("twice"));
  fs::copy(shop.path("records/a_record.json"), shop.path("twice/a_record.json"));
  const Result twice = shop.run({"collect", "records", "twice", "-o", "e.tsv"});
  CHECK(twice.code == 1);
  CHECK(twice.errors.find("case a: expected one record") != std::string::npos);
  write_file(shop.path("twice/a_record.json"), "{");
  CHECK(shop.run({"collect", "twice", "-o", "e.tsv"}).errors.find("twice/a_record.json: expected a record") !=
        std::string::npos);
  CHECK_FALSE(fs::exists(shop.path("e.tsv")));
}

}  // namespace
