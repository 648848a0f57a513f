// Slices that a thread of its own reads are those that would have been read.
#include <doctest/doctest.h>

#include <atomic>
#include <vector>

#include "e2enet/error.h"
#include "image/formats/read_ahead.h"

namespace {

using namespace e2enet;
using imaging::ReadAhead;

// Slice d has the value d everywhere; slices from `bad` on cannot be read.
class Counted : public imaging::SliceSource {
 public:
  explicit Counted(std::int64_t slices, std::int64_t bad = 1000) : shape_{slices, 2, 3}, bad_(bad) {}
  const Shape& shape() const override { return shape_; }
  const float* view(std::int64_t, std::int64_t) override { return nullptr; }
  void read(std::int64_t begin, std::int64_t end, float* out) override {
    if (end > bad_) throw Error(ErrorCode::cannot_read, "slice " + std::to_string(bad_));
    for (std::int64_t d = begin; d < end; ++d) out = std::fill_n(out, 6, float(d));
    slices_read = end;
  }
  std::atomic<std::int64_t> slices_read{0};

 private:
  Shape shape_;
  std::int64_t bad_;
};

}  // namespace

TEST_CASE("slices come in order, whatever the pieces in which they are read and asked for") {
  for (const std::int64_t slices : {1, 7, 8, 9, 16, 17, 40, 61}) {
    for (const std::int64_t begin : {0, 1, 5}) {
      for (const std::int64_t piece : {1, 3, 8, 11, 100}) {
        CAPTURE(slices);
        CAPTURE(begin);
        CAPTURE(piece);
        if (begin >= slices) continue;
        Counted source(slices);
        ReadAhead ahead(source, begin, slices);
        std::vector<float> out(std::size_t(piece) * 6);
        bool right = true;
        for (std::int64_t d = begin; d < slices; d += piece) {
          const std::int64_t end = std::min(d + piece, slices);
          ahead.read(d, end, out.data());
          for (std::int64_t i = 0; i < (end - d) * 6; ++i) right = right && out[std::size_t(i)] == float(d + i / 6);
        }
        CHECK(right);
      }
    }
  }
}

TEST_CASE("slices that nobody wants are passed over") {
  for (const std::int64_t step : {2, 3, 8, 9, 20}) {
    CAPTURE(step);
    Counted source(61);
    ReadAhead ahead(source, 1, 61);
    std::vector<float> out(6);
    for (std::int64_t d = 1 + step; d < 61; d += step) {
      ahead.read(d, d + 1, out.data());
      CHECK(out == std::vector<float>(6, float(d)));
    }
  }
}

TEST_CASE("no more is read ahead than there is room for, and one may stop at any slice") {
  Counted source(400);
  std::vector<float> out(6);
  for (int stop = 0; stop < 20; ++stop) {
    ReadAhead ahead(source, 0, 400);
    for (std::int64_t d = 0; d < stop; ++d) ahead.read(d, d + 1, out.data());
    CHECK(source.slices_read <= stop + ReadAhead::kBlockSlices * (ReadAhead::kBlocks + 1));
    source.slices_read = 0;
  }
}

TEST_CASE("an error of the source reaches who reads, after all that came before it") {
  Counted source(40, 21);
  ReadAhead ahead(source, 0, 40);
  std::vector<float> out(6);
  for (std::int64_t d = 0; d < 16; ++d) ahead.read(d, d + 1, out.data());
  CHECK_THROWS_WITH_AS(ahead.read(16, 17, out.data()), "slice 21", Error);
  CHECK_THROWS_WITH_AS(ahead.read(16, 17, out.data()), "slice 21", Error);
}

TEST_CASE("slices out of order are a defect that is said") {
  Counted source(40);
  ReadAhead ahead(source, 0, 40);
  std::vector<float> out(12);
  ahead.read(0, 2, out.data());
  CHECK_THROWS_AS(ahead.read(1, 2, out.data()), Error);
  CHECK_THROWS_AS(ahead.read(2, 41, out.data()), Error);
}
