#include "report/label_colors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "model/label_sides.h"

namespace e2enet::report {
namespace {

// Distinguishable with every form of colour blindness: the palette of Okabe and Ito (2008) without black, then hues of
// Paul Tol's "muted" scheme, in the order in which neighbours differ most.
constexpr Color kPalette[] = {{230, 159, 0},   {86, 180, 233}, {0, 158, 115},  {240, 228, 66},
                              {204, 121, 167}, {213, 94, 0},   {0, 114, 178},  {136, 204, 238},
                              {204, 102, 119}, {153, 153, 51}, {170, 68, 153}, {68, 170, 153},
                              {221, 204, 119}, {136, 34, 85},  {17, 119, 51},  {110, 100, 200}};

constexpr double kPi = 3.14159265358979323846;

using Triple = std::array<double, 3>;

Triple times(const double (&matrix)[3][3], const Triple& v) {
  Triple result{};
  for (std::size_t row = 0; row < 3; ++row) {
    result[row] = matrix[row][0] * v[0] + matrix[row][1] * v[1] + matrix[row][2] * v[2];
  }
  return result;
}

// sRGB's transfer function and matrices, white D65 (IEC 61966-2-1).
constexpr double kToXyz[3][3] = {
    {0.4124564, 0.3575761, 0.1804375}, {0.2126729, 0.7151522, 0.0721750}, {0.0193339, 0.1191920, 0.9503041}};
constexpr double kFromXyz[3][3] = {
    {3.2404542, -1.5371385, -0.4985314}, {-0.9692660, 1.8760108, 0.0415560}, {0.0556434, -0.2040259, 1.0572252}};
constexpr Triple kWhite{0.95047, 1.0, 1.08883};

// What people without red or green cones see (Machado, Oliveira and Fernandes 2009, severity 1), of linear sRGB.
constexpr double kProtanopia[3][3] = {
    {0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}};
constexpr double kDeuteranopia[3][3] = {
    {0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}};

Triple linear(const Color& color) {
  const auto one = [](double value) {
    const double v = value / 255;
    return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  };
  return {one(color.red), one(color.green), one(color.blue)};
}

Triple lab(const Triple& linear_rgb) {
  const Triple xyz = times(kToXyz, linear_rgb);
  const auto f = [](double t) { return t > 216.0 / 24389 ? std::cbrt(t) : (24389.0 / 27 * t + 16) / 116; };
  const double x = f(xyz[0] / kWhite[0]), y = f(xyz[1] / kWhite[1]), z = f(xyz[2] / kWhite[2]);
  return {116 * y - 16, 500 * (x - y), 200 * (y - z)};
}

// Whole numbers from 0 to 255, as pixels are stored. False where sRGB has no such colour.
bool color_of_lab(const Triple& lab, Color& color) {
  const double y = (lab[0] + 16) / 116;
  const Triple f{y + lab[1] / 500, y, y - lab[2] / 200};
  Triple xyz{};
  for (std::size_t i = 0; i < 3; ++i) {
    xyz[i] = kWhite[i] * (f[i] > 6.0 / 29 ? f[i] * f[i] * f[i] : (116 * f[i] - 16) * 27 / 24389);
  }
  Triple rgb = times(kFromXyz, xyz);
  for (double& v : rgb) {
    if (v < 0 || v > 1) return false;
    v = std::round(255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055));
  }
  color = {rgb[0], rgb[1], rgb[2]};
  return true;
}

// A colour as the three kinds of eyes see it.
struct Appearance {
  std::array<Triple, 3> seen;

  explicit Appearance(const Color& color) {
    const Triple rgb = linear(color);
    seen = {lab(rgb), lab(times(kProtanopia, rgb)), lab(times(kDeuteranopia, rgb))};
  }
  double distance(const Appearance& other) const {
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t eye = 0; eye < 3; ++eye) {
      double squared = 0;
      for (std::size_t i = 0; i < 3; ++i) squared += std::pow(seen[eye][i] - other.seen[eye][i], 2);
      least = std::min(least, std::sqrt(squared) * (eye == 0 ? 1.0 : 1.5));
    }
    return least;
  }
};

// One colour, or two of one hue.
struct Choice {
  std::vector<Color> colors;
  std::vector<Appearance> appearances;
  double nearest = std::numeric_limits<double>::infinity();  // distance to the nearest colour that is taken

  void add(const Color& color) {
    colors.push_back(color);
    appearances.emplace_back(color);
  }
  void see(const Choice& taken) {
    for (const Appearance& own : appearances) {
      for (const Appearance& other : taken.appearances) nearest = std::min(nearest, own.distance(other));
    }
  }
};

// Colours that are neither dark, nor white, nor grey, for the picture is grey and its ground dark.
std::vector<Choice> single_choices() {
  std::vector<Choice> choices;
  for (int lightness = 40; lightness <= 90; lightness += 5) {
    for (int chroma = 30; chroma <= 70; chroma += 10) {
      for (int hue = 0; hue < 360; hue += 10) {
        Color color;
        const double angle = hue * kPi / 180;
        if (!color_of_lab({double(lightness), chroma * std::cos(angle), chroma * std::sin(angle)}, color)) continue;
        choices.emplace_back();
        choices.back().add(color);
      }
    }
  }
  return choices;
}

// A lighter and a darker colour of one hue, the darker one as strong as it can be.
std::vector<Choice> double_choices() {
  std::vector<Choice> choices;
  for (int lightness = 66; lightness <= 90; lightness += 4) {
    for (int step = 22; step <= 38; step += 4) {
      for (int chroma = 24; chroma <= 64; chroma += 8) {
        for (int hue = 0; hue < 360; hue += 10) {
          const double a = std::cos(hue * kPi / 180), b = std::sin(hue * kPi / 180);
          Color light, dark;
          if (lightness - step < 38 || !color_of_lab({double(lightness), chroma * a, chroma * b}, light)) continue;
          int strength = chroma + 12;
          while (strength >= 24 && !color_of_lab({double(lightness - step), strength * a, strength * b}, dark)) {
            strength -= 4;
          }
          if (strength < 24) continue;
          choices.emplace_back();
          choices.back().add(light);
          choices.back().add(dark);
        }
      }
    }
  }
  return choices;
}

// Takes the colours that are farthest from all that are taken.
Choice take_farthest(std::vector<Choice>& choices) {
  const auto farthest = std::max_element(choices.begin(), choices.end(),
                                         [](const Choice& a, const Choice& b) { return a.nearest < b.nearest; });
  return *farthest;
}

}  // namespace

double color_distance(const Color& a, const Color& b) { return Appearance(a).distance(Appearance(b)); }

std::map<int, Color> label_colors(const std::map<int, std::string>& all_names) {
  std::map<int, std::string> names = all_names;
  names.erase(0);
  // The left and right of one structure, in the order of their values; else a label alone.
  std::vector<std::vector<int>> groups;
  std::map<int, std::size_t> group_of;
  const std::vector<SidePair> pairs = model::side_pairs(names);
  for (const auto& [label, name] : names) {
    const auto pair = std::find_if(pairs.begin(), pairs.end(), [&, one = label](const SidePair& other) {
      return one == std::max(other.left, other.right);
    });
    if (pair != pairs.end()) {
      groups[group_of.at(std::min(pair->left, pair->right))].push_back(label);
      continue;
    }
    group_of[label] = groups.size();
    groups.push_back({label});
  }
  const bool any_pair = groups.size() < names.size();

  std::map<int, Color> colors;
  if (!any_pair && names.size() <= std::size(kPalette)) {
    for (const auto& [label, name] : names) colors[label] = kPalette[colors.size()];
    return colors;
  }
  std::vector<Choice> singles = single_choices(), doubles;
  if (any_pair) doubles = double_choices();
  const auto take = [&](const std::vector<int>& group, const Choice& choice) {
    for (std::size_t i = 0; i < group.size(); ++i) colors[group[i]] = choice.colors[i];
    for (std::vector<Choice>* choices : {&singles, &doubles}) {
      for (Choice& one : *choices) one.see(choice);
    }
  };
  // Pairs first: they are harder to place. The first choices are the palette's, where it has them.
  std::size_t from_palette = 0;
  for (const std::size_t size : {std::size_t{2}, std::size_t{1}}) {
    for (const std::vector<int>& group : groups) {
      if (group.size() != size) continue;
      if (size == 1 && !any_pair && from_palette < std::size(kPalette)) {
        Choice choice;
        choice.add(kPalette[from_palette++]);
        take(group, choice);
      } else {
        take(group, take_farthest(size == 2 ? doubles : singles));
      }
    }
  }
  return colors;
}

}  // namespace e2enet::report
