// The preview, decoded: what is right is drawn on the left with an R beside it, however the file stores its axes; every
// label has a colour of its own, and every name can be read or is seen to be shortened.
#include <doctest/doctest.h>

#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "image/array_source.h"
#include "program_fixture.h"
#include "report/label_colors.h"
#include "report/preview.h"
#include "report/stroke_font.h"

namespace {

using namespace e2enet::report;
using e2enet::Affine;
using e2enet::Geometry;
using e2enet::test::Workshop;

// An RGB picture from a PNG file.
struct Picture {
  int width = 0, height = 0;
  std::vector<png_byte> bytes;

  explicit Picture(const std::string& path) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    REQUIRE(png_image_begin_read_from_file(&image, path.c_str()) != 0);
    image.format = PNG_FORMAT_RGB;
    width = int(image.width);
    height = int(image.height);
    bytes.resize(PNG_IMAGE_SIZE(image));
    REQUIRE(png_image_finish_read(&image, nullptr, bytes.data(), 0, nullptr) != 0);
  }
  Color at(int x, int y) const {
    REQUIRE(x >= 0);
    REQUIRE(y >= 0);
    REQUIRE(x < width);
    REQUIRE(y < height);
    const png_byte* p = &bytes[(std::size_t(y) * std::size_t(width) + std::size_t(x)) * 3];
    return {double(p[0]), double(p[1]), double(p[2])};
  }
  double brightness(double x, double y) const {
    const Color color = at(int(x), int(y));
    return (color.red + color.green + color.blue) / 3;
  }
};

double near(const Color& a, const Color& b) {
  return std::max({std::fabs(a.red - b.red), std::fabs(a.green - b.green), std::fabs(a.blue - b.blue)});
}

// Distance from a point to the strokes of a letter that stands at `place`, in pixels.
double distance_to_strokes(const Glyph& glyph, double width, const PreviewLayout::Letter& place, double x, double y) {
  const double scale = place.size / kCapitalHeight, left = place.center - width * scale / 2;
  double nearest = 1e9;
  for (const auto& points : glyph.strokes) {
    for (std::size_t i = 0; i + 1 < points.size(); ++i) {
      const double ax = left + points[i].x * scale, ay = place.base - points[i].y * scale;
      const double bx = left + points[i + 1].x * scale, by = place.base - points[i + 1].y * scale;
      const double dx = bx - ax, dy = by - ay, squared = dx * dx + dy * dy;
      const double t = squared > 0 ? std::clamp(((x - ax) * dx + (y - ay) * dy) / squared, 0.0, 1.0) : 0.0;
      nearest = std::min(nearest, std::hypot(x - ax - t * dx, y - ay - t * dy));
    }
  }
  return nearest;
}

// Which of the six letters is drawn there: the one whose strokes are bright while what surrounds them is not.
char letter_in(const Picture& picture, const PreviewLayout::Letter& place) {
  char best = ' ';
  double best_contrast = 60;  // less is no letter
  for (const char candidate : std::string("RLAPSI")) {
    const std::string text(1, candidate);
    const Glyph& glyph = *glyphs_of(text).front();
    double on = 0, off = 0;
    int count_on = 0, count_off = 0;
    for (double y = place.base - place.size - 1; y <= place.base + 1; ++y) {
      for (double x = place.center - 6; x <= place.center + 6; ++x) {
        const double distance = distance_to_strokes(glyph, text_width(text), place, int(x) + 0.5, int(y) + 0.5);
        if (distance < 0.6) {
          on += picture.brightness(x, y);
          ++count_on;
        } else if (distance > 1.8) {
          off += picture.brightness(x, y);
          ++count_off;
        }
      }
    }
    const double contrast = on / count_on - off / count_off;
    if (contrast > best_contrast) {
      best_contrast = contrast;
      best = candidate;
    }
  }
  return best;
}

std::string letters_in(const Picture& picture, const PreviewLayout::View& view) {
  std::string letters;
  for (const auto& place : view.letters) letters += letter_in(picture, place);
  return letters;
}

// A volume that has, along the anatomical axes x (to the right), y (to the front), z (up), a block on each of its six
// sides: label 1 R, 2 L, 3 A, 4 P, 5 S, 6 I, each of another grey, and a large block of label 7 in the middle, so that
// all three slices go through the middle. A rim of the blocks, two voxels wide, has no label: there the image shows.
struct Phantom {
  static constexpr std::array<std::int64_t, 3> kExtent{40, 48, 34};
  static constexpr std::array<double, 3> kSpacing{1.0, 0.8, 2.5};
  static constexpr double kGrey[8] = {0, 100, 200, 300, 400, 500, 600, 650};

  static std::array<double, 3> center(int label) {
    std::array<double, 3> at{20, 24, 17};
    const std::size_t axis = std::size_t(label - 1) / 2;
    constexpr double high[] = {33, 39, 27}, low[] = {6, 8, 6};  // clear of the letters at the borders
    if (label < 7) at[axis] = label % 2 == 1 ? high[axis] : low[axis];
    return at;
  }

  static std::pair<double, int> voxel(const std::array<std::int64_t, 3>& at) {
    if (at[0] < 12 && at[1] < 12 && at[2] < 8) return {700, 0};  // more than a hundredth: the window's upper end
    for (int label = 1; label <= 7; ++label) {
      const auto middle = center(label);
      const double reach = label == 7 ? 4 : 3;
      double farthest = 0;
      for (std::size_t axis = 0; axis < 3; ++axis) {
        farthest = std::max(farthest, std::fabs(double(at[axis]) - middle[axis]));
      }
      if (farthest <= reach) return {kGrey[label], farthest <= reach - 2 ? label : 0};
    }
    return {0, 0};
  }

  Geometry geometry;
  std::vector<float> image;
  std::vector<std::uint16_t> labels;

  // File axis a (i, j, k) runs along anatomical axis order[a], backwards where flip[a]; the whole is turned by
  // `rotation` (row-major).
  Phantom(const std::array<std::size_t, 3>& order, const std::array<bool, 3>& flip,
          const std::array<double, 9>& rotation = {1, 0, 0, 0, 1, 0, 0, 0, 1}) {
    Affine straight{};
    straight[15] = 1;
    for (std::size_t a = 0; a < 3; ++a) {
      geometry.shape[2 - a] = kExtent[order[a]];
      geometry.spacing[2 - a] = kSpacing[order[a]];
      straight[4 * order[a] + a] = flip[a] ? -kSpacing[order[a]] : kSpacing[order[a]];
      straight[4 * order[a] + 3] = flip[a] ? kSpacing[order[a]] * double(kExtent[order[a]] - 1) : 0;
    }
    geometry.affine = straight;
    for (std::size_t row = 0; row < 3; ++row) {
      for (std::size_t column = 0; column < 4; ++column) {
        double sum = 0;
        for (std::size_t i = 0; i < 3; ++i) sum += rotation[3 * row + i] * straight[4 * i + column];
        geometry.affine[4 * row + column] = sum;
      }
    }
    for (std::int64_t k = 0; k < geometry.shape[0]; ++k) {
      for (std::int64_t j = 0; j < geometry.shape[1]; ++j) {
        for (std::int64_t i = 0; i < geometry.shape[2]; ++i) {
          const std::array<std::int64_t, 3> file{i, j, k};
          std::array<std::int64_t, 3> at{};
          for (std::size_t a = 0; a < 3; ++a) at[order[a]] = flip[a] ? kExtent[order[a]] - 1 - file[a] : file[a];
          const auto [grey, label] = voxel(at);
          image.push_back(float(grey));
          labels.push_back(std::uint16_t(label));
        }
      }
    }
  }
};

void check_phantom(const Phantom& phantom) {
  const Workshop shop;
  e2enet::imaging::ArraySource source(phantom.image.data(), phantom.geometry.shape);
  PreviewInput input;
  input.geometry = phantom.geometry;
  input.image = &source;
  input.labels = phantom.labels.data();
  input.names = {{1, "right"}, {2, "back"}};
  const PreviewLayout layout = write_preview(shop.path("view.png"), input);
  const Picture picture(shop.path("view.png"));
  CHECK(picture.width == layout.width);
  CHECK(picture.height == layout.height);
  CHECK(letters_in(picture, layout.views[0]) == "RLAP");
  CHECK(letters_in(picture, layout.views[1]) == "RLSI");
  CHECK(letters_in(picture, layout.views[2]) == "APSI");

  // Anatomical axes across and down each view; both run to the right or downwards as the axis falls.
  constexpr std::size_t kAcross[] = {0, 0, 1}, kDown[] = {1, 2, 2};
  REQUIRE(layout.legend.size() == 7);
  for (std::size_t v = 0; v < 3; ++v) {
    const PreviewLayout::View& view = layout.views[v];
    const double pixels_across = view.width / double(Phantom::kExtent[kAcross[v]]);
    const double pixels_down = view.height / double(Phantom::kExtent[kDown[v]]);
    // One scale in mm.
    CHECK(pixels_across / Phantom::kSpacing[kAcross[v]] ==
          doctest::Approx(pixels_down / Phantom::kSpacing[kDown[v]]).epsilon(0.01));
    for (int label = 1; label <= 7; ++label) {
      const std::size_t axis = std::size_t(label - 1) / 2;
      if (label < 7 && axis != kAcross[v] && axis != kDown[v]) continue;  // in front of or behind the slice
      const auto middle = Phantom::center(label);
      const auto pixel = [&](double across, double down) {
        return picture.at(
            int(view.x + (double(Phantom::kExtent[kAcross[v]]) - middle[kAcross[v]] - across - 0.5) * pixels_across),
            int(view.y + (double(Phantom::kExtent[kDown[v]]) - middle[kDown[v]] - down - 0.5) * pixels_down));
      };
      CAPTURE(v);
      CAPTURE(label);
      const double grey = Phantom::kGrey[label] / 700 * 255;
      const Color color = layout.legend[std::size_t(label - 1)].color;
      CHECK(near(pixel(0, 0), mixed({grey, grey, grey}, color, 0.32)) <= 2);
      // The rim: the image's mark and the label's are at one place.
      // The rim: the image's mark and the label's are at one place. Between two voxels, where both are the same.
      const double rim = label == 7 ? 3.5 : 2.5;
      for (const double side : {-1.0, 1.0}) {
        CHECK(near(pixel(side * rim, 0), {grey, grey, grey}) <= 2);
        CHECK(near(pixel(0, side * rim), {grey, grey, grey}) <= 2);
        // Beyond it there is nothing; outwards stand the letters.
        const bool outwards = label < 7 && (side > 0) == (label % 2 == 1);
        if (!(outwards && axis == kAcross[v])) CHECK(near(pixel(side * (rim + 2), 0), {0, 0, 0}) <= 2);
        if (!(outwards && axis == kDown[v])) CHECK(near(pixel(0, side * (rim + 2)), {0, 0, 0}) <= 2);
      }
    }
  }
  for (const auto& entry : layout.legend) CHECK(near(picture.at(entry.swatch + 6, entry.base - 6), entry.color) < 1);
}

TEST_CASE("the patient's right is on the left with an R beside it, in all eight directions of the file's axes") {
  for (unsigned flips = 0; flips < 8; ++flips) {
    CAPTURE(flips);
    check_phantom(Phantom({0, 1, 2}, {(flips & 1) != 0, (flips & 2) != 0, (flips & 4) != 0}));
  }
}

TEST_CASE("the views are the same in all six orders of the file's axes") {
  std::array<std::size_t, 3> order{0, 1, 2};
  unsigned flips = 3;
  do {
    CAPTURE(order[0]);
    CAPTURE(order[1]);
    check_phantom(Phantom(order, {false, false, false}));
    check_phantom(Phantom(order, {(flips & 1) != 0, (flips & 2) != 0, (flips & 4) != 0}));
    flips = flips % 7 + 1;
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("oblique volumes are seen along the nearest axes") {
  // 30 degrees about (1, 1, 1) and 40 about z.
  const double a = (1 + 2 * std::cos(3.14159265 / 6)) / 3, s = std::sin(3.14159265 / 6) / std::sqrt(3.0),
               b = (1 - std::cos(3.14159265 / 6)) / 3;
  const std::array<double, 9> diagonal{a, b - s, b + s, b + s, a, b - s, b - s, b + s, a};
  const double c = std::cos(0.7), t = std::sin(0.7);
  const std::array<double, 9> upright{c, -t, 0, t, c, 0, 0, 0, 1};
  check_phantom(Phantom({0, 1, 2}, {true, false, false}, diagonal));
  check_phantom(Phantom({2, 0, 1}, {false, true, false}, diagonal));
  check_phantom(Phantom({1, 0, 2}, {true, true, false}, upright));
}

TEST_CASE("thin volumes have their letters on the right sides too, one beside the other") {
  for (const e2enet::Shape& shape : {e2enet::Shape{1, 40, 50}, {40, 1, 50}, {40, 50, 1}, {1, 1, 50}, {50, 1, 1}}) {
    CAPTURE(shape[0]);
    CAPTURE(shape[1]);
    CAPTURE(shape[2]);
    const Workshop shop;
    Geometry geometry;
    geometry.shape = shape;
    const std::vector<float> image(std::size_t(geometry.voxels()), 1.0F);
    std::vector<std::uint16_t> labels(image.size(), 0);
    e2enet::imaging::ArraySource source(image.data(), shape);
    PreviewInput input;
    input.geometry = geometry;
    input.image = &source;
    input.labels = labels.data();
    const PreviewLayout layout = write_preview(shop.path("view.png"), input);
    const Picture picture(shop.path("view.png"));
    const char* expected[] = {"RLAP", "RLSI", "APSI"};
    for (std::size_t v = 0; v < 3; ++v) {
      CAPTURE(v);
      const auto& letters = layout.views[v].letters;
      CHECK(letters[0].center < letters[1].center);
      CHECK(letters[2].base + letters[3].size < letters[3].base);  // the upper one ends above the lower one
      CHECK(letters_in(picture, layout.views[v]) == expected[v]);
    }
  }
}

// What is drawn with these names for labels 1, 2, ..., all in one row of voxels.
PreviewLayout drawn(const Workshop& shop, const std::vector<std::string>& names) {
  Geometry geometry;
  geometry.shape = {30, 40, 60};
  std::vector<float> image(std::size_t(geometry.voxels()), 1.0F);
  std::vector<std::uint16_t> labels(image.size(), 0);
  PreviewInput input;
  for (std::size_t i = 0; i < names.size(); ++i) {
    labels[i] = std::uint16_t(i + 1);
    input.names[int(i + 1)] = names[i];
  }
  e2enet::imaging::ArraySource source(image.data(), geometry.shape);
  input.geometry = geometry;
  input.image = &source;
  input.labels = labels.data();
  input.title = std::string(300, 'x');
  return write_preview(shop.path("view.png"), input);
}

// Whether each character of a text from `left` on is drawn: some bright pixel in each one's place.
void check_drawn(const Picture& picture, const PreviewLayout::LegendEntry& entry) {
  double at = entry.name_left;
  for (const Glyph* glyph : glyphs_of(entry.name)) {
    const double width = glyph->advance * 12 / kCapitalHeight;
    double brightest = 0;
    for (int y = entry.base - 12; y <= entry.base + 3; ++y) {
      for (double x = at; x < at + width; ++x) brightest = std::max(brightest, picture.brightness(x, y));
    }
    if (!glyph->strokes.empty()) CHECK(brightest > 100);
    at += width;
  }
}

TEST_CASE("thirty names stand in the legend, each beside its colour, without overlapping") {
  const Workshop shop;
  std::vector<std::string> names;
  for (int i = 0; i < 30; ++i) names.push_back("structure number " + std::to_string(i) + std::string(i, 'm'));
  const PreviewLayout layout = drawn(shop, names);
  const Picture picture(shop.path("view.png"));
  REQUIRE(layout.legend.size() == 30);
  for (const auto& entry : layout.legend) {
    CAPTURE(entry.name);
    CHECK(near(picture.at(entry.swatch + 6, entry.base - 6), entry.color) < 1);
    check_drawn(picture, entry);
    CHECK(entry.volume_right < layout.width);
    CHECK(entry.base + 3 < layout.height);
    for (const auto& other : layout.legend) {
      if (other.label == entry.label) continue;
      const bool beside = entry.volume_right < other.swatch || other.volume_right < entry.swatch;
      CHECK((beside || std::abs(entry.base - other.base) >= 18));
    }
  }
}

TEST_CASE("names that are too long end in an ellipsis, and letters without a glyph are boxes") {
  const Workshop shop;
  const std::string sixty = "a structure whose name is sixty letters long, as some are in";
  REQUIRE(sixty.size() == 60);
  const std::string greek = "\xce\xb9\xcf\x80\xcf\x80\xcf\x8c\xce\xba\xce\xb1\xce\xbc\xcf\x80\xce\xbf\xcf\x82";
  const std::string chinese = "\xe6\xb5\xb7\xe9\xa9\xac";
  const PreviewLayout layout = drawn(shop, {sixty, greek, chinese, "caf\xc3\xa9", "bad \xff\xc3", "tab\there"});
  const Picture picture(shop.path("view.png"));
  CHECK(layout.legend[0].name.size() < sixty.size());
  CHECK(layout.legend[0].name.substr(layout.legend[0].name.size() - 3) == "\xe2\x80\xa6");
  CHECK(sixty.find(layout.legend[0].name.substr(0, layout.legend[0].name.size() - 3)) == 0);
  for (const auto& entry : layout.legend) {
    CAPTURE(entry.label);
    CHECK(text_width(entry.name) * 1.2 <= 300);
    check_drawn(picture, entry);
  }
  CHECK(glyphs_of(greek).size() == 10);
  CHECK(glyphs_of(chinese).size() == 2);
  CHECK(glyphs_of("caf\xc3\xa9").size() == 4);
  CHECK(glyphs_of("bad \xff\xc3").size() == 6);
  CHECK(glyphs_of(greek)[0] == glyphs_of("\t")[0]);  // the box
  CHECK(glyphs_of(greek)[0] != glyphs_of("?")[0]);
  CHECK(shortened("short", 1000) == "short");
}

void check_colors(const std::map<int, std::string>& names, double least) {
  const auto colors = label_colors(names);
  REQUIRE(colors.size() == names.size());
  for (const auto& [a, color_a] : colors) {
    for (const auto& [b, color_b] : colors) {
      if (a >= b) continue;
      // Not the bindings themselves: C++17 does not allow lambdas, which CAPTURE makes, to refer to them.
      const std::string one = names.at(a), other = names.at(b);
      CAPTURE(one);
      CAPTURE(other);
      CHECK(color_distance(color_a, color_b) >= least);
    }
    // Neither grey, as the image is, nor dark, as the ground.
    const double brightest = std::max({color_a.red, color_a.green, color_a.blue});
    CHECK(brightest - std::min({color_a.red, color_a.green, color_a.blue}) >= 38);
    CHECK(brightest >= 100);
  }
  // With the background among them, as a model has it, all are the same.
  std::map<int, std::string> with_background = names;
  with_background[0] = "background";
  const auto again = label_colors(with_background);
  CHECK(again.size() == colors.size());
  for (const auto& [label, color] : colors) CHECK(near(again.at(label), color) == 0);
}

TEST_CASE("colours of many labels differ for every eye, and few labels keep the palette's") {
  std::map<int, std::string> names;
  for (int i = 1; i <= 16; ++i) names[i * 3] = "structure " + std::to_string(i);
  CHECK(near(label_colors(names).at(3), {230, 159, 0}) == 0);
  CHECK(near(label_colors(names).at(48), {110, 100, 200}) == 0);
  for (int i = 17; i <= 32; ++i) names[i * 3] = "structure " + std::to_string(i);
  CHECK(near(label_colors(names).at(48), {110, 100, 200}) == 0);
  check_colors(names, 5);
}

TEST_CASE("left and right of one structure have one hue and another lightness") {
  std::map<int, std::string> names;
  int label = 0;
  for (const char* one :
       {"cerebral cortex", "cerebral white matter", "lateral ventricle", "thalamus", "caudate", "putamen", "pallidum",
        "hippocampus", "amygdala", "accumbens", "ventral diencephalon", "cerebellum"}) {
    names[++label] = std::string("right ") + one;
    names[++label] = std::string("Left_") + one;
  }
  for (const char* one : {"cerebellar vermis", "brainstem", "third ventricle", "fourth ventricle", "corpus callosum"}) {
    names[++label] = one;
  }
  check_colors(names, 14);
  const auto colors = label_colors(names);
  for (int i = 1; i <= 24; i += 2) {
    CAPTURE(names[i]);
    const Color &a = colors.at(i), &b = colors.at(i + 1);
    // The order of red, green and blue is that of the hue, roughly; the sum, of the lightness.
    const auto strongest = [](const Color& color) {
      const double channels[] = {color.red, color.green, color.blue};
      return std::max_element(channels, channels + 3) - channels;
    };
    CHECK(a.red + a.green + a.blue > b.red + b.green + b.blue + 60);
    const double channels[] = {b.red, b.green, b.blue};
    CHECK(channels[strongest(a)] >= std::max({b.red, b.green, b.blue}) - 40);
  }
}

}  // namespace
