// The main job through the program: files in, files out, and what happens when something is wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "base/parallel.h"
#include "image/formats/nifti/nifti_reader.h"
#include "program_fixture.h"
#include "support/paths.h"

namespace {

namespace fs = std::filesystem;
using e2enet::imaging::LabelImage;
using e2enet::imaging::read_labels;
using e2enet::test::read_file;
using e2enet::test::Result;
using e2enet::test::Workshop;
using e2enet::test::write_file;

std::int64_t count(const LabelImage& image, int label) {
  return std::count(image.labels.begin(), image.labels.end(), label);
}

TEST_CASE("an image becomes labels on its own voxels, with all that was asked for beside") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii.gz"));
  const auto header = e2enet::imaging::ImageReader(shop.path("image.nii.gz")).header();
  const Result result =
      shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii.gz", "-o", "labels.nii.gz", "--preview",
                "view.png", "--statistics", "volumes.json", "--probabilities", "p.nii", "--tta"});
  CAPTURE(result.errors);
  REQUIRE(result.code == 0);
  CHECK(result.output.find("first") != std::string::npos);
  const LabelImage labels = read_labels(shop.path("labels.nii.gz"));
  CHECK(labels.geometry.shape == header.shape);
  CHECK(labels.header.sform_code == header.sform_code);
  CHECK(labels.header.s_rows == header.s_rows);
  CHECK(count(labels, 1) + count(labels, 2) > 0);
  CHECK(read_file(shop.path("view.png")).substr(0, 8) == "\x89PNG\r\n\x1a\n");
  const auto statistics = nlohmann::json::parse(read_file(shop.path("volumes.json")));
  for (const int label : {1, 2}) {
    const auto& entry = statistics.at("labels").at(std::to_string(label));
    CHECK(entry.at("voxels") == count(labels, label));
    CHECK(entry.at("ml").get<double>() == doctest::Approx(double(count(labels, label)) * 3.0 / 1000));
    if (count(labels, label) > 0) {
      CHECK(entry.at("mean_intensity").get<double>() > 1);
      CHECK(entry.at("mean_intensity").get<double>() < 1000);
    }
  }
  // A float32 NIfTI of three volumes.
  CHECK(fs::file_size(shop.path("p.nii")) >= 3U * 11 * 20 * 18 * 4);
  CHECK(fs::file_size(shop.path("p.nii")) < 3U * 11 * 20 * 18 * 4 + 1000);
  CHECK(shop.files() == std::set<std::string>{"model.safetensors", "image.nii.gz", "labels.nii.gz", "view.png",
                                              "volumes.json", "p.nii"});
}

TEST_CASE("quiet says nothing, JSON says it to programs, threads do not change a bit") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  const Result quiet = shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "a.nii", "--quiet"});
  CHECK(quiet.code == 0);
  CHECK(quiet.output.empty());
  CHECK(quiet.errors.empty());
  const Result json = shop.run(
      {"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "b.nii", "--json", "-q", "--threads", "1"});
  CHECK(json.code == 0);
  CHECK(nlohmann::json::parse(json.output).at("labels").contains("2"));
  CHECK(read_file(shop.path("a.nii")) == read_file(shop.path("b.nii")));
}

TEST_CASE("in a pipe there are no control characters") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "a.nii"});
  CHECK(result.code == 0);
  CHECK((result.output + result.errors).find_first_of("\r\033") == std::string::npos);
}

TEST_CASE("a box is segmented as if it were the whole image, and outside is background") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  const auto segment = [&](const std::string& output, const std::string& box) {
    return shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", output, "--roi", box});
  };
  REQUIRE(segment("box.nii", "2:14,3:,:8").code == 0);
  const LabelImage labels = read_labels(shop.path("box.nii"));
  CHECK(labels.geometry.shape == e2enet::Shape{11, 20, 18});
  std::int64_t inside = 0, outside = 0;
  for (std::int64_t k = 0; k < 11; ++k) {
    for (std::int64_t j = 0; j < 20; ++j) {
      for (std::int64_t i = 0; i < 18; ++i) {
        const bool in_box = i >= 2 && i < 14 && j >= 3 && k < 8;
        (in_box ? inside : outside) += labels.labels[std::size_t((k * 20 + j) * 18 + i)] != 0;
      }
    }
  }
  CHECK(inside > 0);
  CHECK(outside == 0);
  REQUIRE(segment("all.nii", "0:18,0:20,0:11").code == 0);
  REQUIRE(segment("colons.nii", ":,:,:").code == 0);
  CHECK(read_file(shop.path("all.nii")) == read_file(shop.path("colons.nii")));
  const Result beyond = segment("no.nii", "0:19,0:20,0:11");
  CHECK(beyond.code == 2);
  CHECK(beyond.errors.find("--roi") != std::string::npos);
  CHECK_FALSE(fs::exists(shop.path("no.nii")));
}

TEST_CASE("an image that cannot be segmented leaves nothing behind") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("good.nii"));
  Workshop::make_image(shop.path("flat.nii"));
  std::string bytes = read_file(shop.path("flat.nii"));
  bytes[40] = 2;  // dim[0]: a 2D image
  write_file(shop.path("flat.nii"), bytes);
  write_file(shop.path("cut.nii"), read_file(shop.path("good.nii")).substr(0, 4000));
  write_file(shop.path("text.nii"), "no image");
  const auto before = shop.files();
  for (const std::string image : {"missing.nii", "flat.nii", "cut.nii", "text.nii"}) {
    CAPTURE(image);
    const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", image, "-o", "labels.nii", "--preview",
                                    "view.png", "--statistics", "volumes.json"});
    CHECK(result.code == 1);
    CHECK(result.errors.find(image) != std::string::npos);
    CHECK(std::count(result.errors.begin(), result.errors.end(), '\n') == 1);
    CHECK(shop.files() == before);
  }
}

TEST_CASE("nothing that is read is written over, and no two outputs are one file") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  fs::create_symlink("image.nii", shop.path("link.nii"));
  const std::string before = read_file(shop.path("image.nii"));
  const std::vector<std::vector<std::string>> calls = {
      {"-o", "image.nii"},
      {"-o", "./image.nii"},
      {"-o", "link.nii"},
      {"-o", "labels.nii", "--probabilities", "image.nii"},
      {"-o", "labels.nii", "--probabilities", "labels.nii"},
  };
  for (const auto& outputs : calls) {
    CAPTURE(outputs.back());
    std::vector<std::string> call = {"segment", "-m", "model.safetensors", "-i", "image.nii"};
    call.insert(call.end(), outputs.begin(), outputs.end());
    CHECK(shop.run(call).code == 2);
    CHECK(read_file(shop.path("image.nii")) == before);
  }
  std::string names;
  for (const std::string& name : shop.files()) names += name + " ";
  CHECK(names == "image.nii link.nii model.safetensors ");
}

TEST_CASE("where nothing can be written, it is said before the work") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  const auto segment = [&](const std::string& output) {
    return shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", output});
  };
  CHECK(segment("nowhere/labels.nii").code == 1);
  CHECK(segment("labels.txt").code == 2);
  fs::create_directory(shop.path("folder.nii"));
  CHECK(segment("folder.nii").code == 1);
  fs::create_directory(shop.path("locked"));
  fs::permissions(shop.path("locked"), fs::perms::owner_read | fs::perms::owner_exec);
  if (geteuid() != 0) CHECK(segment("locked/labels.nii").code == 1);  // root may write anywhere
}

TEST_CASE("channels are counted and must lie on the same voxels") {
  const Workshop shop;
  shop.make_model("two.safetensors", 2);
  Workshop::make_image(shop.path("a.nii"), 1);
  Workshop::make_image(shop.path("b.nii"), 2);
  Workshop::make_image(shop.path("other.nii"), 3, {11, 20, 19});
  CHECK(shop.run({"segment", "-m", "two.safetensors", "-i", "a.nii", "b.nii", "-o", "l.nii"}).code == 0);
  CHECK(shop.run({"segment", "-m", "two.safetensors", "-i", "a.nii", "-o", "m.nii"}).code == 2);
  CHECK(shop.run({"segment", "-m", "two.safetensors", "-i", "a.nii", "other.nii", "-o", "m.nii"}).code == 1);
  CHECK_FALSE(fs::exists(shop.path("m.nii")));
}

TEST_CASE("too small a memory limit is refused with the one that would do") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  const auto segment = [&](const std::string& memory) {
    return shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "l.nii", "--memory", memory});
  };
  const Result small = segment("1M");
  CHECK(small.code == 1);
  CHECK(small.errors.find("--memory") != std::string::npos);
  CHECK_FALSE(fs::exists(shop.path("l.nii")));
  CHECK(segment("4G").code == 0);
}

TEST_CASE("of a folder, a bad case is reported and does not stop the others") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("in"));
  for (const std::string name : {"a", "c", "d"}) Workshop::make_image(shop.path("in/" + name + "_0000.nii.gz"), 5);
  write_file(shop.path("in/b_0000.nii.gz"), "no image");
  fs::create_symlink("nowhere.nii.gz", shop.path("in/e_0000.nii.gz"));
  const Result result =
      shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "out", "--preview", "pictures"});
  CHECK(result.code == 1);
  CHECK(result.errors.find("case b") != std::string::npos);
  CHECK(result.errors.find("case e") != std::string::npos);
  for (const std::string name : {"a", "c", "d"}) {
    CHECK(fs::exists(shop.path("out/" + name + ".nii.gz")));
    CHECK(fs::exists(shop.path("pictures/" + name + ".png")));
  }
  CHECK_FALSE(fs::exists(shop.path("out/b.nii.gz")));
  const auto summary = nlohmann::json::parse(read_file(shop.path("out/summary.json")));
  CHECK(summary.at("cases_failed") == 2);
  REQUIRE(summary.at("cases").size() == 5);
  CHECK(summary.at("cases")[0].at("labels").contains("1"));
  CHECK(summary.at("cases")[1].contains("error"));
}

TEST_CASE("continue skips what is finished, and parts share the cases out") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("in"));
  for (const std::string name : {"a", "b", "c"}) Workshop::make_image(shop.path("in/" + name + ".nii"), 5);
  const std::vector<std::string> call = {"segment", "-m", "model.safetensors", "-i", "in", "-o", "out"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> whole = call;
    whole.insert(whole.end(), more.begin(), more.end());
    return shop.run(whole);
  };
  REQUIRE(with({"--part", "1/2"}).code == 0);
  CHECK(shop.files().count("out/a.nii.gz") == 1);
  CHECK(shop.files().count("out/b.nii.gz") == 0);
  CHECK(shop.files().count("out/c.nii.gz") == 1);
  write_file(shop.path("out/a.nii.gz"), "finished earlier");
  REQUIRE(with({"--continue"}).code == 0);
  CHECK(read_file(shop.path("out/a.nii.gz")) == "finished earlier");
  CHECK(shop.files().count("out/b.nii.gz") == 1);
  REQUIRE(with({}).code == 0);
  CHECK(read_file(shop.path("out/a.nii.gz")) != "finished earlier");
  CHECK(with({"--part", "2/2"}).code == 0);
  CHECK(shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "in"}).code == 2);
  CHECK(shop.run({"segment", "-m", "model.safetensors", "-i", "in/a.nii", "-o", "l.nii", "--continue"}).code == 2);
}

}  // namespace

TEST_CASE("storage in bf16 changes at most one label in a thousand of a trained model" *
          doctest::test_suite("shared")) {
  const std::string images = "data/hippocampus/test/images";
  E2ENET_NEEDS_SHARED(images);
  const Workshop shop;
  std::filesystem::create_directory(shop.path("in"));
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(e2enet::test::shared_path(images))) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  REQUIRE(names.size() >= 10);
  names.resize(10);
  for (const std::string& name : names) {
    std::filesystem::copy_file(e2enet::test::shared_path(images + "/" + name), shop.path("in/" + name));
  }
  const std::string model = e2enet::test::source_path("models/hippocampus_density20.safetensors");
  for (const std::string precision : {"f32", "bf16"}) {
    REQUIRE(shop.run({"segment", "-m", model, "-i", "in", "-o", precision, "--precision", precision}).code == 0);
  }
  std::int64_t voxels = 0, different = 0, foreground = 0;
  for (const std::string& name : names) {
    std::vector<float> labels[2];
    for (int which = 0; which < 2; ++which) {
      e2enet::imaging::ImageReader reader(shop.path((which ? "bf16/" : "f32/") + name));
      labels[which].resize(static_cast<std::size_t>(reader.geometry().voxels()));
      reader.read(0, reader.shape()[0], labels[which].data());
    }
    REQUIRE(labels[0].size() == labels[1].size());
    for (std::size_t i = 0; i < labels[0].size(); ++i) {
      ++voxels;
      different += labels[0][i] != labels[1][i];
      foreground += labels[0][i] != 0;
    }
  }
  MESSAGE(different << " of " << voxels << " voxels differ, " << foreground << " are not background");
  CHECK(foreground > voxels / 100);
  CHECK(different > 0);  // else bf16 was not used
  CHECK(static_cast<double>(different) <= 0.001 * static_cast<double>(voxels));
}

// A model and an image of its own channel.
class OneImage : public Workshop {
 public:
  OneImage() {
    make_model("model.safetensors");
    make_image(path("a.nii.gz"));
  }
  Result segment(const std::string& labels, const std::vector<std::string>& more) const {
    std::vector<std::string> call = {"segment", "-m", "model.safetensors", "-i", "a.nii.gz", "-o", labels};
    call.insert(call.end(), more.begin(), more.end());
    return run(call);
  }
};

TEST_CASE("a step below one voxel, or that is no fraction, is refused before anything is read") {
  const OneImage shop;
  for (const std::string step : {"1e-12", "1e-300", "0", "-0.5", "1.01", "nan", "inf", "-inf", "0.12"}) {
    CAPTURE(step);
    for (const std::vector<std::string>& more : {std::vector<std::string>{}, std::vector<std::string>{"--dry-run"}}) {
      std::vector<std::string> options = {"--step=" + step};
      options.insert(options.end(), more.begin(), more.end());
      const Result result = shop.segment("l.nii.gz", options);
      CHECK(result.code == 2);
      CHECK(result.errors.find("step: expected") != std::string::npos);
      CHECK(result.errors.find(step == "0.12" ? "one voxel" : "found") != std::string::npos);
      CHECK(shop.files() == std::set<std::string>{"a.nii.gz", "model.safetensors"});
    }
  }
}

TEST_CASE("threads beyond those that the machine has are not started, which is said, and change no bit") {
  const OneImage shop;
  REQUIRE(shop.segment("one.nii", {"--threads", "1"}).code == 0);
  const Result many = shop.segment("many.nii", {"--threads", "4096"});
  CHECK(many.code == 0);
  if (e2enet::available_threads() < 4096) {
    CHECK(many.errors.find("--threads 4096: this process may use " + std::to_string(e2enet::available_threads())) !=
          std::string::npos);
  }
  CHECK(read_file(shop.path("one.nii")) == read_file(shop.path("many.nii")));
  for (const std::string threads : {"4097", "-1", "2147483648"}) {
    CAPTURE(threads);
    CHECK(shop.segment("l.nii", {"--threads=" + threads}).code == 2);
  }
  CHECK(!std::filesystem::exists(shop.path("l.nii")));
}

TEST_CASE("the largest component: model, none or all, and nothing else") {
  const OneImage shop;
  CHECK(shop.segment("default.nii", {}).code == 0);
  CHECK(shop.segment("model.nii", {"--largest-component=model"}).code == 0);
  CHECK(shop.segment("none.nii", {"--largest-component=none"}).code == 0);
  CHECK(shop.segment("flag.nii", {"--largest-component"}).code == 0);
  CHECK(shop.segment("all.nii", {"--largest-component=all"}).code == 0);
  const auto bytes = [&](const std::string& name) { return read_file(shop.path(name)); };
  CHECK(bytes("default.nii") == bytes("model.nii"));
  CHECK(bytes("default.nii") == bytes("none.nii"));  // this model names no label
  CHECK(bytes("flag.nii") == bytes("all.nii"));
  CHECK(bytes("all.nii") != bytes("none.nii"));
  const Result wrong = shop.segment("wrong.nii", {"--largest-component=largest"});
  CHECK(wrong.code == 2);
  CHECK(wrong.errors.find("expected model, none or all, found 'largest'") != std::string::npos);
}
