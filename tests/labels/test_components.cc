#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "labels/components.h"
#include "prepare/mask.h"

using namespace e2enet;
using namespace e2enet::imaging;

namespace {

std::size_t at(const Shape& s, std::int64_t d, std::int64_t h, std::int64_t w) {
  return static_cast<std::size_t>((d * s[1] + h) * s[2] + w);
}

// Components of equal values by flood fill: an id for every voxel.
std::vector<int> flood(const std::vector<int>& volume, const Shape& s) {
  std::vector<int> ids(volume.size(), -1);
  int next = 0;
  for (std::int64_t d = 0; d < s[0]; ++d) {
    for (std::int64_t h = 0; h < s[1]; ++h) {
      for (std::int64_t w = 0; w < s[2]; ++w) {
        if (ids[at(s, d, h, w)] >= 0) continue;
        std::vector<Shape> stack{{d, h, w}};
        ids[at(s, d, h, w)] = next;
        while (!stack.empty()) {
          const Shape p = stack.back();
          stack.pop_back();
          for (std::size_t axis = 0; axis < 3; ++axis) {
            for (const int step : {-1, 1}) {
              Shape q = p;
              q[axis] += step;
              if (q[axis] < 0 || q[axis] >= s[axis]) continue;
              const std::size_t there = at(s, q[0], q[1], q[2]);
              if (ids[there] >= 0 || volume[there] != volume[at(s, p[0], p[1], p[2])]) continue;
              ids[there] = next;
              stack.push_back(q);
            }
          }
        }
        ++next;
      }
    }
  }
  return ids;
}

}  // namespace

TEST_CASE("only the largest component of each wanted label stays") {
  for (unsigned seed = 0; seed < 30; ++seed) {
    CAPTURE(seed);
    std::mt19937 generator(seed);
    const Shape s{1 + static_cast<std::int64_t>(generator() % 6), 1 + static_cast<std::int64_t>(generator() % 9),
                  1 + static_cast<std::int64_t>(generator() % 80)};
    std::vector<int> volume(static_cast<std::size_t>(s[0] * s[1] * s[2]));
    const unsigned values = 2 + seed % 3;
    for (int& v : volume) v = static_cast<int>(generator() % values);
    const std::vector<int> ids = flood(volume, s);
    std::map<int, std::int64_t> sizes, largest;
    for (const int id : ids) ++sizes[id];
    for (std::size_t i = 0; i < ids.size(); ++i) largest[volume[i]] = std::max(largest[volume[i]], sizes[ids[i]]);

    std::vector<std::uint8_t> narrow(volume.begin(), volume.end());
    std::vector<std::uint16_t> wide(volume.begin(), volume.end());
    keep_largest_components(narrow.data(), s, {1, 2});
    keep_largest_components(wide.data(), s, {1, 2});
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const bool goes = (volume[i] == 1 || volume[i] == 2) && sizes[ids[i]] < largest[volume[i]];
      REQUIRE(narrow[i] == (goes ? 0 : volume[i]));
      REQUIRE(wide[i] == (goes ? 0 : volume[i]));
    }
  }
}

TEST_CASE("holes are filled where no path of faces leads outside") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    std::mt19937 generator(seed);
    const Shape s{1 + static_cast<std::int64_t>(generator() % 8), 1 + static_cast<std::int64_t>(generator() % 9),
                  1 + static_cast<std::int64_t>(generator() % 150)};
    std::vector<int> volume(static_cast<std::size_t>(s[0] * s[1] * s[2]));
    BitVolume mask(s);
    std::vector<float> row(static_cast<std::size_t>(s[2]));
    for (std::int64_t d = 0; d < s[0]; ++d) {
      for (std::int64_t h = 0; h < s[1]; ++h) {
        for (std::int64_t w = 0; w < s[2]; ++w) {
          const bool set = generator() % 100 < 45 + seed;
          volume[at(s, d, h, w)] = set;
          row[static_cast<std::size_t>(w)] = !set ? 0.0f : w % 5 == 0 ? std::nanf("") : -1.0f;
        }
        mask.add_nonzero(d, h, row.data());
      }
    }
    const std::vector<int> ids = flood(volume, s);
    std::map<int, bool> outside;
    for (std::int64_t d = 0; d < s[0]; ++d) {
      for (std::int64_t h = 0; h < s[1]; ++h) {
        for (std::int64_t w = 0; w < s[2]; ++w) {
          if (d == 0 || h == 0 || w == 0 || d == s[0] - 1 || h == s[1] - 1 || w == s[2] - 1) {
            outside[ids[at(s, d, h, w)]] = true;
          }
        }
      }
    }
    fill_holes(mask);
    for (std::int64_t d = 0; d < s[0]; ++d) {
      for (std::int64_t h = 0; h < s[1]; ++h) {
        for (std::int64_t w = 0; w < s[2]; ++w) {
          const std::size_t i = at(s, d, h, w);
          REQUIRE(mask.get(d, h, w) == (volume[i] || !outside[ids[i]]));
        }
      }
    }
  }
}
