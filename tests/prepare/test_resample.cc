// Resampling against a second, plain implementation, and the promise that bits depend on nothing but the voxel.
#include <doctest/doctest.h>

#include "image/array_source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "prepare/axis_operator.h"
#include "prepare/resample.h"

using namespace e2enet;
using namespace e2enet::imaging;

namespace {

std::vector<double> random_line(std::int64_t size, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(-1000, 1000);
  std::vector<double> line(static_cast<std::size_t>(size));
  for (double& value : line) value = uniform(generator);
  return line;
}

// Spline interpolation by its definition: pad by 12 edge values, solve (c[i-1] + 4 c[i] + c[i+1]) / 6 = x[i] with
// half-sample reflection by Gaussian elimination, evaluate the cubic B-spline by its formula.
std::vector<double> reference_cubic(const std::vector<double>& line, std::int64_t output_size) {
  const int n = static_cast<int>(line.size());
  std::vector<double> x;
  for (int i = -12; i < n + 12; ++i) x.push_back(line[static_cast<std::size_t>(std::clamp(i, 0, n - 1))]);
  const std::size_t size = x.size();
  std::vector<double> diagonal(size, 4.0 / 6), c = x;
  diagonal.front() = diagonal.back() = 5.0 / 6;  // the neighbour outside is the voxel itself
  for (std::size_t i = 1; i < size; ++i) {
    const double factor = 1.0 / 6 / diagonal[i - 1];
    diagonal[i] -= factor / 6;
    c[i] -= factor * c[i - 1];
  }
  c.back() /= diagonal.back();
  for (std::size_t i = size - 1; i-- > 0;) c[i] = (c[i] - c[i + 1] / 6) / diagonal[i];
  const auto spline = [](double t) {
    t = std::abs(t);
    return t < 1 ? 2.0 / 3 - t * t + t * t * t / 2 : t < 2 ? (2 - t) * (2 - t) * (2 - t) / 6 : 0.0;
  };
  std::vector<double> result;
  for (std::int64_t j = 0; j < output_size; ++j) {
    const double at = (static_cast<double>(j) + 0.5) * n / static_cast<double>(output_size) - 0.5 + 12;
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i) sum += c[i] * spline(at - static_cast<double>(i));
    result.push_back(sum);
  }
  return result;
}

std::vector<double> applied(const AxisOperator& op, const std::vector<double>& line) {
  std::vector<double> result;
  for (std::int64_t j = 0; j < op.output_size; ++j) {
    double sum = 0;
    for (std::int64_t t = 0; t < op.taps; ++t)
      sum += op.row(j)[t] * line.at(static_cast<std::size_t>(op.first[static_cast<std::size_t>(j)] + t));
    result.push_back(sum);
  }
  return result;
}

}  // namespace

TEST_CASE("the cubic operator is the spline of its definition, at every size") {
  for (const int n : {1, 2, 3, 5, 17, 44, 45, 100}) {
    for (const int m : {1, 2, 3, 7, 16, 45, 101, 230}) {
      CAPTURE(n);
      CAPTURE(m);
      const std::vector<double> line = random_line(n, static_cast<unsigned>(n * 1000 + m));
      const std::vector<double> expected = reference_cubic(line, m);
      const AxisOperator op = cubic_operator(n, m);
      const std::vector<double> found = applied(op, line);
      for (std::size_t j = 0; j < expected.size(); ++j) CHECK(std::abs(found[j] - expected[j]) < 1e-7);
      for (const std::int64_t first : op.first) {
        CHECK(first >= 0);
        CHECK(first + op.taps <= n);
      }
    }
  }
}

TEST_CASE("linear and nearest operators follow their formulas") {
  for (const int n : {1, 2, 3, 10, 33}) {
    for (const int m : {1, 2, 3, 7, 20, 66}) {
      CAPTURE(n);
      CAPTURE(m);
      const std::vector<double> line = random_line(n, 5);
      const std::vector<double> linear = applied(linear_operator(n, m), line);
      const std::vector<double> nearest = applied(nearest_operator(n, m), line);
      for (int j = 0; j < m; ++j) {
        const double x = std::clamp((j + 0.5) * (static_cast<double>(n) / m) - 0.5, 0.0, n - 1.0);
        const std::size_t i = static_cast<std::size_t>(x);
        const double t = x - static_cast<double>(i);
        const double expected = line[i] * (1 - t) + line[std::min<std::size_t>(i + 1, line.size() - 1)] * t;
        CHECK(linear[static_cast<std::size_t>(j)] == doctest::Approx(expected));
        CHECK(nearest[static_cast<std::size_t>(j)] == line[static_cast<std::size_t>(std::floor(x + 0.5))]);
      }
    }
  }
}

TEST_CASE("a mirrored operator does to a mirrored line what the operator does to the line") {
  std::vector<double> line = random_line(37, 9);
  std::vector<double> backwards(line.rbegin(), line.rend());
  for (const AxisOperator& op : {cubic_operator(37, 50), linear_operator(37, 20), nearest_operator(37, 11)}) {
    std::vector<double> expected = applied(op, line);
    std::reverse(expected.begin(), expected.end());
    const std::vector<double> found = applied(mirrored(op), backwards);
    for (std::size_t j = 0; j < expected.size(); ++j) CHECK(found[j] == doctest::Approx(expected[j]));
  }
}

namespace {

struct Volume {
  Shape shape;
  std::vector<float> voxels;
  Volume(const Shape& s, unsigned seed) : shape(s) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(100, 400);
    voxels.resize(static_cast<std::size_t>(s[0] * s[1] * s[2]));
    for (float& v : voxels) v = normal(generator);
  }
};

// A source that can only be read, as a file is.
class UnviewableSource : public ArraySource {
 public:
  using ArraySource::ArraySource;
  const float* view(std::int64_t, std::int64_t) override { return nullptr; }
  void read(std::int64_t begin, std::int64_t end, float* out) override {
    const float* from = ArraySource::view(begin, end);
    std::memcpy(out, from, static_cast<std::size_t>((end - begin) * slice_size()) * sizeof(float));
  }
};

ResamplePlan plan_for(const Box& box, const Shape& out, int separate) {
  ResamplePlan plan;
  plan.box = box;
  for (std::size_t a = 0; a < 3; ++a) {
    plan.along[a] = static_cast<int>(a) == separate ? nearest_operator(box.size()[a], out[a])
                                                    : cubic_operator(box.size()[a], out[a]);
  }
  plan.clip_axis = separate;
  if (separate < 0) {
    plan.low = {-500};
    plan.high = {900};
  } else {
    for (std::int64_t j = 0; j < out[static_cast<std::size_t>(separate)]; ++j) {
      plan.low.push_back(-300.0 - 10.0 * static_cast<double>(j));
      plan.high.push_back(500.0 + 10.0 * static_cast<double>(j));
    }
  }
  return plan;
}

}  // namespace

TEST_CASE("a resampled volume is the separable sum in double, clipped, with NaN as zero") {
  Volume volume({14, 21, 19}, 3);
  volume.voxels[500] = std::nanf("");
  const Box box{{1, 2, 3}, {13, 20, 19}};
  for (const int separate : {-1, 0, 1, 2}) {
    for (const Shape& out : {Shape{9, 30, 17}, Shape{12, 18, 16}, Shape{25, 7, 16}, Shape{1, 1, 1}}) {
      CAPTURE(separate);
      CAPTURE(out[0]);
      const ResamplePlan plan = plan_for(box, out, separate);
      std::vector<float> found(static_cast<std::size_t>(out[0] * out[1] * out[2]));
      ArraySource source(volume.voxels.data(), volume.shape);
      SliceResampler(source, plan, 2).read(0, out[0], found.data());
      double largest = 0;
      const auto index = [](std::int64_t i) { return static_cast<std::size_t>(i); };
      for (std::int64_t d = 0; d < out[0]; ++d) {
        for (std::int64_t h = 0; h < out[1]; ++h) {
          for (std::int64_t w = 0; w < out[2]; ++w) {
            double sum = 0;
            for (std::int64_t i = 0; i < plan.along[0].taps; ++i) {
              for (std::int64_t j = 0; j < plan.along[1].taps; ++j) {
                for (std::int64_t k = 0; k < plan.along[2].taps; ++k) {
                  const std::int64_t z = box.begin[0] + plan.along[0].first[index(d)] + i;
                  const std::int64_t y = box.begin[1] + plan.along[1].first[index(h)] + j;
                  const std::int64_t x = box.begin[2] + plan.along[2].first[index(w)] + k;
                  const float v = volume.voxels[index((z * 21 + y) * 19 + x)];
                  sum += plan.along[0].row(d)[i] * plan.along[1].row(h)[j] * plan.along[2].row(w)[k] *
                         (std::isnan(v) ? 0.0 : static_cast<double>(v));
                }
              }
            }
            const std::size_t plane = separate < 0 ? 0 : index(std::array{d, h, w}[index(separate)]);
            sum = std::clamp(sum, plan.low[plane], plan.high[plane]);
            largest =
                std::max(largest, std::abs(sum - static_cast<double>(found[index((d * out[1] + h) * out[2] + w)])));
          }
        }
      }
      CHECK(largest < 1e-4);
    }
  }
}

TEST_CASE("the bits of a resampled slice depend neither on grouping, order, threads nor where voxels come from") {
  const Volume volume({60, 25, 33}, 4);
  const Box box{{3, 0, 1}, {58, 24, 33}};
  for (const Shape& out : {Shape{90, 31, 20}, Shape{23, 24, 50}}) {
    const ResamplePlan plan = plan_for(box, out, -1);
    const std::size_t slice = static_cast<std::size_t>(out[1] * out[2]);
    std::vector<float> whole(slice * static_cast<std::size_t>(out[0]));
    ArraySource memory(volume.voxels.data(), volume.shape);
    UnviewableSource file(volume.voxels.data(), volume.shape);
    SliceResampler(memory, plan, 1).read(0, out[0], whole.data());
    for (const int threads : {1, 2, 5}) {
      for (const std::int64_t group : {1, 3, 8, 11, 100}) {
        CAPTURE(threads);
        CAPTURE(group);
        SliceResampler resampler(file, plan, threads);
        std::vector<float> part(slice * static_cast<std::size_t>(group));
        for (std::int64_t d = 0; d < out[0]; d += group) {
          const std::int64_t end = std::min(out[0], d + group);
          resampler.read(d, end, part.data());
          REQUIRE(std::memcmp(part.data(), whole.data() + static_cast<std::size_t>(d) * slice,
                              static_cast<std::size_t>(end - d) * slice * sizeof(float)) == 0);
        }
        for (const std::int64_t d : {out[0] - 1, std::int64_t{0}, out[0] / 2, out[0] / 2 - 1}) {
          resampler.read(d, d + 1, part.data());
          REQUIRE(std::memcmp(part.data(), whole.data() + static_cast<std::size_t>(d) * slice, slice * sizeof(float)) ==
                  0);
        }
      }
    }
  }
}
