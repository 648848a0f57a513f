#include "report/stroke_font.h"

#include <array>
#include <cmath>
#include <sstream>

namespace e2enet::report {
namespace {

// width: of the drawing; space around it is added. path: a list of commands,
//   M x y                     lift the pen and go there
//   L x y [x y ...]           straight lines
//   A cx cy rx ry from to     arc of an ellipse between two angles in degrees, counterclockwise if from < to; a line
//   leads to
//                             its start if the pen is down
//   D x y                     dot
struct Drawing {
  char character;
  double width;
  const char* path;
};

constexpr Drawing kDrawings[] = {
    {' ', 1.8, ""},
    {'!', 1, "M 0.5 10 L 0.5 3 D 0.5 0"},
    {'"', 2.4, "M 0.3 10 L 0.3 7.2 M 2.1 10 L 2.1 7.2"},
    {'#', 6.6, "M 2 0 L 3 10 M 4.4 0 L 5.4 10 M 0 3.2 L 6.2 3.2 M 0.4 6.8 L 6.6 6.8"},
    {'$', 6, "M 5.6 8 A 3 7.2 2.7 2 30 270 A 3 2.8 2.9 2.4 90 -150 M 3 11 L 3 -1"},
    {'%', 8, "M 7 10 L 1 0 M 4 7.8 A 2 7.8 2 2.2 0 360 M 8 2.2 A 6 2.2 2 2.2 0 360"},
    {'&', 7, "M 7 0 L 1.6 6.6 A 3 8.1 1.9 1.9 220 -40 L 1.4 4.8 A 2.8 2.6 2.8 2.6 130 330 L 6.6 4.4"},
    {'\'', 1, "M 0.5 10 L 0.5 7.2"},
    {'(', 2.4, "M 2.2 11 A 4.6 4.2 4.6 7.6 118 242"},
    {')', 2.4, "M 0.2 11 A -2.2 4.2 4.6 7.6 62 -62"},
    {'*', 4.6, "M 2.3 10 L 2.3 5 M 0.1 8.8 L 4.5 6.2 M 4.5 8.8 L 0.1 6.2"},
    {'+', 6, "M 0 4.4 L 6 4.4 M 3 1.4 L 3 7.4"},
    {',', 1.2, "M 0.9 0.2 L 0.2 -1.9"},
    {'-', 3.2, "M 0 4 L 3.2 4"},
    {'.', 1, "D 0.5 0"},
    {'/', 4.4, "M 0 -1 L 4.4 10.6"},
    {'0', 6, "A 3 5 3 5 0 360"},
    {'1', 6, "M 1 8 L 3.5 10 3.5 0"},
    {'2', 6, "A 3 7.2 2.8 2.8 165 -38 L 0.2 0 6 0"},
    {'3', 6, "A 2.9 7.6 2.5 2.4 150 -90 A 2.9 2.6 3 2.6 90 -150"},
    {'4', 6.2, "M 4.6 0 L 4.6 10 0 2.8 6.2 2.8"},
    {'5', 6, "M 5.4 10 L 1.2 10 0.9 5.6 A 2.9 3.2 3 3.2 128 -150"},
    {'6', 6, "A 5 3.6 4.9 6.4 95 180 A 3 3.1 2.9 3.1 170 -190"},
    {'7', 6, "M 0 10 L 6 10 2 0"},
    {'8', 6, "A 3 7.6 2.4 2.4 0 360 M 5.9 2.6 A 3 2.6 2.9 2.6 0 360"},
    {'9', 6, "A 1 6.4 4.9 6.4 275 360 A 3 6.9 2.9 3.1 -10 350"},
    {':', 1, "D 0.5 0.2 D 0.5 6"},
    {';', 1.2, "M 0.9 0.2 L 0.2 -1.9 D 0.8 6"},
    {'<', 5, "M 5 7.6 L 0 4.4 5 1.2"},
    {'=', 6, "M 0 6 L 6 6 M 0 2.8 L 6 2.8"},
    {'>', 5, "M 0 7.6 L 5 4.4 0 1.2"},
    {'?', 5, "A 2.5 7.6 2.5 2.4 170 -50 L 2.5 4.4 2.5 3 D 2.5 0"},
    {'@', 9, "A 4.6 4.4 1.9 2.2 0 360 M 6.5 6.6 L 6.5 3.4 A 7.6 3.6 1.1 1.4 190 360 L 8.7 4.4 A 4.5 4.4 4.3 5.4 0 310"},
    {'A', 7, "M 0 0 L 3.5 10 7 0 M 1.2 3.4 L 5.8 3.4"},
    {'B', 6, "M 0 0 L 0 10 3.1 10 A 3.1 7.6 2.4 2.4 90 -90 L 0 5.2 M 3.1 5.2 A 3.3 2.6 2.7 2.6 90 -90 L 0 0 0 5.2"},
    {'C', 7, "A 4 5 4 5 46 314"},
    {'D', 7, "M 0 0 L 0 10 2.6 10 A 2.6 5 4.4 5 90 -90 L 0 0"},
    {'E', 5.4, "M 5.4 10 L 0 10 0 0 5.4 0 M 0 5.2 L 4.8 5.2"},
    {'F', 5.2, "M 5.2 10 L 0 10 0 0 M 0 5 L 4.6 5"},
    {'G', 7.6, "A 4 5 4 5 46 328 L 7.5 4.8 4.6 4.8"},
    {'H', 7, "M 0 0 L 0 10 M 7 0 L 7 10 M 0 5.2 L 7 5.2"},
    {'I', 1, "M 0.5 0 L 0.5 10"},
    {'J', 4.4, "M 4.2 10 L 4.2 2.6 A 1.9 2.6 2.3 2.6 0 -150"},
    {'K', 6.4, "M 0 0 L 0 10 M 6 10 L 0 3.8 M 2.3 6.1 L 6.4 0"},
    {'L', 5.2, "M 0 10 L 0 0 5.2 0"},
    {'M', 8, "M 0 0 L 0 10 4 3 8 10 8 0"},
    {'N', 7, "M 0 0 L 0 10 7 0 7 10"},
    {'O', 8, "A 4 5 4 5 0 360"},
    {'P', 6.2, "M 0 0 L 0 10 3.4 10 A 3.4 7.2 2.8 2.8 90 -90 L 0 4.4"},
    {'Q', 8, "A 4 5 4 5 0 360 M 5 2.6 L 8 -0.6"},
    {'R', 6.3, "M 0 0 L 0 10 3.4 10 A 3.4 7.2 2.8 2.8 90 -90 L 0 4.4 M 3.3 4.4 L 6.3 0"},
    {'S', 6, "A 3 7.5 2.7 2.5 28 270 A 3 2.5 3 2.5 90 -152"},
    {'T', 7, "M 0 10 L 7 10 M 3.5 10 L 3.5 0"},
    {'U', 7, "M 0 10 L 0 3.5 A 3.5 3.5 3.5 3.5 180 360 L 7 10"},
    {'V', 7, "M 0 10 L 3.5 0 7 10"},
    {'W', 10, "M 0 10 L 2.5 0 5 9 7.5 0 10 10"},
    {'X', 6.6, "M 0 10 L 6.6 0 M 6.6 10 L 0 0"},
    {'Y', 6.6, "M 0 10 L 3.3 5 6.6 10 M 3.3 5 L 3.3 0"},
    {'Z', 6, "M 0 10 L 6 10 0 0 6 0"},
    {'[', 2.2, "M 2.2 11 L 0 11 0 -2.4 2.2 -2.4"},
    {'\\', 4.4, "M 0 10.6 L 4.4 -1"},
    {']', 2.2, "M 0 11 L 2.2 11 2.2 -2.4 0 -2.4"},
    {'^', 4.6, "M 0 6.6 L 2.3 10 4.6 6.6"},
    {'_', 6, "M 0 -1.6 L 6 -1.6"},
    {'`', 1.8, "M 0 10.4 L 1.8 8.4"},
    {'a', 5.4, "A 2.7 3.5 2.7 3.5 0 360 M 5.4 7 L 5.4 0"},
    {'b', 5.4, "M 0 10 L 0 0 M 0 3.5 A 2.7 3.5 2.7 3.5 180 540"},
    {'c', 4.7, "A 2.8 3.5 2.8 3.5 46 314"},
    {'d', 5.4, "A 2.7 3.5 2.7 3.5 0 360 M 5.4 10 L 5.4 0"},
    {'e', 5.5, "M 0.1 3.7 L 5.5 3.7 A 2.8 3.5 2.7 3.5 4 316"},
    {'f', 3.4, "M 1.2 0 L 1.2 7.9 A 3.1 7.9 1.9 2.2 180 80 M 0 6.8 L 3.2 6.8"},
    {'g', 5.4, "A 2.7 3.5 2.7 3.5 0 360 M 5.4 7 L 5.4 -0.6 A 2.7 -0.6 2.7 2.5 0 -150"},
    {'h', 5.2, "M 0 10 L 0 0 M 0 4.2 A 2.6 4.4 2.6 2.6 180 0 L 5.2 0"},
    {'i', 1, "M 0.5 7 L 0.5 0 D 0.5 9.7"},
    {'j', 2, "M 1.6 7 L 1.6 -1 A 0 -1 1.6 2 0 -80 D 1.6 9.7"},
    {'k', 4.8, "M 0 10 L 0 0 M 4.5 7 L 0 2.6 M 1.8 4.4 L 4.8 0"},
    {'l', 1, "M 0.5 10 L 0.5 0"},
    {'m', 8.4, "M 0 7 L 0 0 M 0 4.6 A 2.1 4.9 2.1 2.1 180 0 L 4.2 0 M 4.2 4.6 A 6.3 4.9 2.1 2.1 180 0 L 8.4 0"},
    {'n', 5.2, "M 0 7 L 0 0 M 0 4.2 A 2.6 4.4 2.6 2.6 180 0 L 5.2 0"},
    {'o', 5.6, "A 2.8 3.5 2.8 3.5 0 360"},
    {'p', 5.4, "M 0 7 L 0 -3 M 0 3.5 A 2.7 3.5 2.7 3.5 180 540"},
    {'q', 5.4, "A 2.7 3.5 2.7 3.5 0 360 M 5.4 7 L 5.4 -3"},
    {'r', 3, "M 0 7 L 0 0 M 0 4 A 2.6 4.2 2.6 2.8 180 78"},
    {'s', 4.4, "A 2.2 5.3 2 1.7 28 270 A 2.2 1.8 2.2 1.8 90 -150"},
    {'t', 3.3, "M 1.2 9.4 L 1.2 1.9 A 3 1.9 1.8 1.9 180 280 M 0 6.9 L 3.2 6.9"},
    {'u', 5.2, "M 0 7 L 0 2.6 A 2.6 2.6 2.6 2.6 180 360 M 5.2 7 L 5.2 0"},
    {'v', 5.2, "M 0 7 L 2.6 0 5.2 7"},
    {'w', 7.6, "M 0 7 L 1.9 0 3.8 6.4 5.7 0 7.6 7"},
    {'x', 4.8, "M 0 7 L 4.8 0 M 4.8 7 L 0 0"},
    {'y', 5.2, "M 0 7 L 2.7 0 M 5.2 7 L 2 -1.8 1.2 -2.8 0.2 -3"},
    {'z', 4.6, "M 0 7 L 4.6 7 0 0 4.6 0"},
    {'{', 2.8, "M 2.8 11 L 1.6 10.4 1.6 5.4 0 4.3 1.6 3.2 1.6 -1.8 2.8 -2.4"},
    {'|', 1, "M 0.5 11 L 0.5 -2.4"},
    {'}', 2.8, "M 0 11 L 1.2 10.4 1.2 5.4 2.8 4.3 1.2 3.2 1.2 -1.8 0 -2.4"},
    {'~', 6, "M 0 3.6 L 1.2 4.8 2.2 4.9 3.8 3.7 4.8 3.8 6 5"},
};

constexpr double kGap = 2.1;  // between two characters

Glyph trace(const Drawing& drawing) {
  Glyph glyph;
  glyph.advance = drawing.width + kGap;
  std::istringstream path(drawing.path);
  bool pen_down = false;
  const auto draw_to = [&](double x, double y) {
    if (!pen_down) glyph.strokes.emplace_back();
    pen_down = true;
    glyph.strokes.back().push_back({x, y});
  };
  constexpr double kDegree = 3.14159265358979323846 / 180;
  std::string token;
  char command = ' ';
  while (path >> token) {
    double x = 0, y = 0;
    if (std::isalpha(static_cast<unsigned char>(token[0]))) {
      command = token[0];
      path >> token;
    }
    x = std::stod(token);
    path >> y;
    switch (command) {
      case 'M':
        pen_down = false;
        draw_to(x, y);
        break;
      case 'L':
        draw_to(x, y);
        break;
      case 'D':
        pen_down = false;
        draw_to(x, y);
        pen_down = false;
        break;
      default: {
        double radius_x = 0, radius_y = 0, from = 0, to = 0;
        path >> radius_x >> radius_y >> from >> to;
        const int pieces = static_cast<int>(std::fabs(to - from) / 10) + 1;
        for (int i = 0; i <= pieces; ++i) {
          const double angle = (from + (to - from) * i / pieces) * kDegree;
          draw_to(x + radius_x * std::cos(angle), y + radius_y * std::sin(angle));
        }
      }
    }
  }
  return glyph;
}

std::array<Glyph, 128> trace_all() {
  std::array<Glyph, 128> glyphs;
  for (const Drawing& drawing : kDrawings) glyphs[static_cast<std::size_t>(drawing.character)] = trace(drawing);
  return glyphs;
}

constexpr char kEllipsis[] = "\xe2\x80\xa6";

// Bytes of the UTF-8 character that begins at `at`; 1 for a byte that begins none.
std::size_t character_length(const std::string& text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t length = byte(at) >= 0xF0 && byte(at) < 0xF8   ? 4
                             : byte(at) >= 0xE0 && byte(at) < 0xF0 ? 3
                             : byte(at) >= 0xC2 && byte(at) < 0xE0 ? 2
                                                                   : 1;
  if (at + length > text.size()) return 1;
  for (std::size_t i = at + 1; i < at + length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 1;
  }
  return length;
}

}  // namespace

std::vector<const Glyph*> glyphs_of(const std::string& text) {
  static const std::array<Glyph, 128> glyphs = trace_all();
  static const Glyph box = trace({' ', 6, "M 0 0 L 0 10 6 10 6 0 0 0"});
  static const Glyph ellipsis = trace({' ', 6.4, "D 0.5 0 D 3.2 0 D 5.9 0"});
  std::vector<const Glyph*> result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = character_length(text, at);
    const auto first = static_cast<unsigned char>(text[at]);
    if (text.compare(at, length, kEllipsis) == 0) {
      result.push_back(&ellipsis);
    } else {
      result.push_back(first < ' ' || first > '~' ? &box : &glyphs[first]);
    }
    at += length;
  }
  return result;
}

double text_width(const std::string& text) {
  double width = 0;
  for (const Glyph* glyph : glyphs_of(text)) width += glyph->advance;
  return width > 0 ? width - kGap : 0;
}

std::string shortened(const std::string& text, double width) {
  if (text_width(text) <= width) return text;
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = character_length(text, at);
    if (text_width(result + text.substr(at, length) + kEllipsis) > width) break;
    result += text.substr(at, length);
    at += length;
  }
  while (!result.empty() && result.back() == ' ') result.pop_back();
  return result + kEllipsis;
}

}  // namespace e2enet::report
