// Tilted gantries and uneven distances: what the network gets against a synthetic head's truth, and labels back on the
// slices.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dicom/made_series.h"
#include "dicom/reading.h"
#include "image/formats/dicom/aligned_channel.h"
#include "image/formats/label_file.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

using namespace e2enet;
using namespace e2enet::test;
using namespace e2enet::imaging;
using dicom::AlignedChannel;
using dicom::DicomReader;

namespace {

// A head: an ellipsoid of smooth tissue with a skull, by place in NIfTI's space.
double head(const Vector& p) {
  const double r = std::sqrt(p[0] * p[0] / (30 * 30) + p[1] * p[1] / (36 * 36) + p[2] * p[2] / (26 * 26));
  const double skull = std::exp(-std::pow((r - 1) / 0.12, 2));
  return 1000 + 600 * skull +
         200 / (1 + std::exp(20 * (r - 0.9))) * (1 + 0.3 * std::sin(p[0] / 6) * std::cos(p[1] / 7));
}

// Structures inside of it.
std::uint16_t structure(const Vector& p) {
  const double left = std::hypot(p[0] + 12, p[1] - 4, p[2] - 2), right = std::hypot(p[0] - 12, p[1] - 4, p[2] - 2);
  return left < 9 ? 1 : right < 7 ? 2 : 0;
}

// A head whose slices are tilted about the body's x axis while the table moves along z.
MadeSeries tilted(double degrees) {
  MadeSeries s;
  const double t = degrees / 57.29577951308232;
  s.columns = 64;
  s.rows = 72;
  s.slices = 30;
  s.spacing = {1, 1, 2};
  s.directions = {Vector{1, 0, 0}, Vector{0, std::cos(t), -std::sin(t)}, Vector{0, 0, 1}};
  s.place = [t](int k) { return Vector{-32, -36 * std::cos(t), -29 + 36 * std::sin(t) + 2.0 * k}; };
  return s;
}

void fill_with_head(MadeSeries& s) {
  s.stored = [&s](int i, int j, int k) { return std::lround(head(s.millimetres(i, j, k))); };
}

std::unique_ptr<AlignedChannel> open(const std::string& folder, bool allow_uneven = false) {
  dicom::DicomOptions options;
  options.allow_uneven = allow_uneven;
  return std::make_unique<AlignedChannel>(std::make_unique<DicomReader>(std::vector<std::string>{folder}, options));
}

// Keeps what is appended.
class Kept : public LabelFile {
 public:
  Kept(std::vector<std::uint16_t>* labels, bool* committed) : labels_(labels), committed_(committed) {}
  void append(const std::uint16_t* labels, std::int64_t count) override {
    labels_->insert(labels_->end(), labels, labels + count);
  }
  void commit() override { *committed_ = true; }

 private:
  std::vector<std::uint16_t>* labels_;
  bool* committed_;
};

std::vector<std::uint16_t> back(const AlignedChannel& channel, const std::vector<std::uint16_t>& labels) {
  std::vector<std::uint16_t> on_slices;
  bool committed = false;
  const std::unique_ptr<LabelFile> file = channel.on_label_grid(std::make_unique<Kept>(&on_slices, &committed));
  for (std::size_t begin = 0; begin < labels.size(); begin += 777) {
    file->append(labels.data() + begin, static_cast<std::int64_t>(std::min<std::size_t>(777, labels.size() - begin)));
  }
  file->commit();
  CHECK(committed);
  return on_slices;
}

struct Compared {
  double mean = 0, worst = 0;
  std::size_t voxels = 0;
};

// The volume against the head itself, where slices were.
Compared against_truth(const Geometry& geometry, const std::vector<float>& voxels,
                       const std::function<bool(const Vector&)>& inside) {
  Compared result;
  for (std::size_t v = 0; v < voxels.size(); ++v) {
    const Vector p = at_voxel(geometry, v);
    if (!inside(p)) continue;
    const double difference = std::abs(double(voxels[v]) - head(p));
    result.mean += difference;
    result.worst = std::max(result.worst, difference);
    ++result.voxels;
  }
  result.mean /= static_cast<double>(std::max<std::size_t>(1, result.voxels));
  return result;
}

bool inside_head(const Vector& p) { return std::abs(p[0]) < 30 && std::abs(p[1]) < 30 && std::abs(p[2]) < 15; }

bool upright(const Geometry& g) {
  double worst = 0;
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::size_t b = a + 1; b < 3; ++b) {
      double dot = 0;
      for (std::size_t r = 0; r < 3; ++r) dot += g.affine[4 * r + a] * g.affine[4 * r + b];
      worst = std::max(worst, std::abs(dot));
    }
  }
  return worst < 1e-9;
}

}  // namespace

TEST_CASE("a tilted head comes upright, as the untilted truth has it, and labels go back to the slices") {
  for (const double degrees : {18.5, -12.0, 25.0}) {
    CAPTURE(degrees);
    MadeSeries made = tilted(degrees);
    fill_with_head(made);
    TemporaryFolder folder;
    made.write(folder.path());
    const std::unique_ptr<AlignedChannel> channel = open(folder.path());
    const Geometry& grid = channel->geometry();
    CHECK(upright(grid));
    CHECK(grid.shape[0] == 30);
    CHECK(grid.shape[1] > 72);
    CHECK(grid.shape[2] == 64);
    CHECK(std::abs(grid.spacing[0] - 2 * std::cos(degrees / 57.29577951308232)) < 1e-9);
    const std::vector<float> voxels = all_voxels(*channel);
    const Compared compared = against_truth(grid, voxels, inside_head);
    REQUIRE(compared.voxels > 20000);
    CHECK(compared.mean < 2);    // of 1000 to 1800: half a unit of rounding, and what is between pixels
    CHECK(compared.worst < 40);  // at the skull
    // Taken as if it were not tilted, the same slices are nowhere near.
    Geometry taken_upright = grid;
    taken_upright.shape = channel->label_grid()->geometry().shape;
    DicomReader raw({folder.path()});
    CHECK(against_truth(taken_upright, all_voxels(raw), inside_head).mean > 10 * compared.mean);

    // Labels of the truth on the grid come back to within half a pixel of the truth on the slices.
    std::vector<std::uint16_t> labels(voxels.size());
    for (std::size_t v = 0; v < labels.size(); ++v) labels[v] = structure(at_voxel(grid, v));
    const std::vector<std::uint16_t> on_slices = back(*channel, labels);
    const Geometry& slices = channel->label_grid()->geometry();
    REQUIRE(on_slices.size() == static_cast<std::size_t>(slices.voxels()));
    std::size_t wrong = 0, labelled = 0;
    for (std::size_t v = 0; v < on_slices.size(); ++v) {
      const Vector p = at_voxel(slices, v);
      labelled += on_slices[v] != 0;
      bool near = false;
      for (const double dy : {-0.51, 0.0, 0.51}) {
        const double t = degrees / 57.29577951308232;
        near = near || structure({p[0], p[1] - dy * std::cos(t), p[2] - dy * std::sin(t)}) == on_slices[v];
      }
      wrong += !near;
    }
    CHECK(wrong == 0);
    CHECK(labelled > 1000);
  }
}

TEST_CASE("uneven distances become even ones, and labels go back to the slices that there are") {
  MadeSeries made = tilted(0);
  const std::vector<double> z = {0, 2, 4, 6, 8, 10, 14, 18, 22, 24, 26, 28, 34, 40, 42, 44, 46, 48, 50, 52};
  made.slices = static_cast<int>(z.size());
  made.place = [z](int k) { return Vector{-32, -36, -26 + z[static_cast<std::size_t>(k)]}; };
  fill_with_head(made);
  TemporaryFolder folder;
  made.write(folder.path());
  CHECK(contains(failure({folder.path()}), "--regrid"));
  const std::unique_ptr<AlignedChannel> channel = open(folder.path(), true);
  const Geometry& grid = channel->geometry();
  CHECK(grid.shape == Shape{27, 72, 64});
  CHECK(std::abs(grid.spacing[0] - 2) < 1e-9);
  CHECK(channel->label_grid()->uneven_slices());
  const std::vector<float> voxels = all_voxels(*channel);
  // On the slices themselves nothing is interpolated.
  dicom::DicomOptions uneven;
  uneven.allow_uneven = true;
  DicomReader raw({folder.path()}, uneven);
  const std::vector<float> slices = all_voxels(raw);
  for (std::size_t k = 0; k < z.size(); ++k) {
    const std::ptrdiff_t size = 72 * 64, d = std::lround(z[k] / 2);
    CHECK(std::equal(voxels.begin() + d * size, voxels.begin() + (d + 1) * size,
                     slices.begin() + static_cast<std::ptrdiff_t>(k) * size));
  }
  // Between them, the straight line from one to the next.
  double worst = 0;
  for (std::size_t v = 0; v < voxels.size(); ++v) {
    const double height = 2.0 * static_cast<double>(v / (64 * 72));
    std::size_t k = 0;
    while (k + 2 < z.size() && z[k + 1] <= height) ++k;
    const double weight = (height - z[k]) / (z[k + 1] - z[k]);
    const std::size_t pixel = v % (64 * 72);
    const double expected = (1 - weight) * slices[k * 64 * 72 + pixel] + weight * slices[(k + 1) * 64 * 72 + pixel];
    worst = std::max(worst, std::abs(expected - double(voxels[v])));
  }
  CHECK(worst < 1e-3);

  std::vector<std::uint16_t> labels(voxels.size());
  for (std::size_t v = 0; v < labels.size(); ++v) labels[v] = structure(at_voxel(grid, v));
  const std::vector<std::uint16_t> on_slices = back(*channel, labels);
  REQUIRE(on_slices.size() == z.size() * 72 * 64);
  std::size_t wrong = 0;
  for (std::size_t k = 0; k < z.size(); ++k) {
    for (int j = 0; j < 72; ++j) {
      for (int i = 0; i < 64; ++i) {
        wrong += on_slices[(k * 72 + static_cast<std::size_t>(j)) * 64 + static_cast<std::size_t>(i)] !=
                 structure(made.millimetres(i, j, static_cast<int>(k)));
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a distance far below the others makes no grid of any size") {
  MadeSeries made = tilted(0);
  made.columns = made.rows = 4;
  made.slices = 6;
  made.place = [](int k) { return Vector{0, 0, k == 5 ? 20.01 : 5.0 * k}; };
  TemporaryFolder folder;
  made.write(folder.path());
  const std::unique_ptr<AlignedChannel> channel = open(folder.path(), true);
  CHECK(channel->shape()[0] == 24);
  CHECK(std::abs(channel->geometry().spacing[0] - 20.01 / 23) < 1e-9);
  std::vector<std::uint16_t> labels;
  for (std::uint16_t d = 0; d < 24; ++d) labels.insert(labels.end(), 16, d);
  std::vector<std::uint16_t> expected;
  for (const double z : {0.0, 5.0, 10.0, 15.0, 20.0, 20.01}) {
    expected.insert(expected.end(), 16, static_cast<std::uint16_t>(std::lround(z / 20.01 * 23)));
  }
  CHECK(back(*channel, labels) == expected);
}

TEST_CASE("upright, even slices come as they are") {
  MadeSeries made;
  made.directions = turned(made.directions, 20);
  TemporaryFolder folder;
  made.write(folder.path());
  const std::unique_ptr<AlignedChannel> channel = open(folder.path());
  DicomReader raw({folder.path()});
  CHECK(channel->geometry().shape == raw.geometry().shape);
  for (std::size_t i = 0; i < 12; ++i) CHECK(std::abs(channel->geometry().affine[i] - raw.geometry().affine[i]) < 1e-9);
  CHECK(all_voxels(*channel) == all_voxels(raw));
}

TEST_CASE("the shared tilted series come upright" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("data/dicom/dcm_qa_ct");
  for (const char* series : {"dicom2nifti/failing_gantrytilting", "dcm_qa_ct/ge_gantry_tilt"}) {
    CAPTURE(series);
    const std::unique_ptr<AlignedChannel> channel = open(shared_path(std::string("data/dicom/") + series), true);
    CHECK(upright(channel->geometry()));
    CHECK(channel->geometry().shape[1] > 512);
    const std::vector<float> voxels = all_voxels(*channel);
    // Labels that are the grid's own values come back as the slices' own ones, to the half pixel that they were moved.
    const Shape slices = channel->label_grid()->shape();
    std::vector<std::uint16_t> labels(voxels.size(), 7);
    CHECK(back(*channel, labels) ==
          std::vector<std::uint16_t>(static_cast<std::size_t>(slices[0] * slices[1] * slices[2]), 7));
  }
}
