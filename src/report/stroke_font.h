// A small typeface for the preview: each printable ASCII character as lines and arcs, so that it can be drawn smoothly
// at any size. A bitmap font would look coarse, and a font library needs a font file that not every machine has.
#pragma once

#include <string>
#include <vector>

namespace e2enet::report {

struct Point {
  double x = 0;
  double y = 0;
};

// Units: capitals are 10 high, small letters 7; y runs upwards from the base line, down to -3 for descenders.
constexpr double kCapitalHeight = 10;

struct Glyph {
  double advance = 0;                       // to where the next character begins
  std::vector<std::vector<Point>> strokes;  // polylines; a single point is a dot
};

// A glyph for each character of a UTF-8 text. Characters that the typeface lacks - whatever is not printable ASCII, but
// for the ellipsis - and bytes that are not UTF-8 are empty boxes, so that nothing vanishes.
std::vector<const Glyph*> glyphs_of(const std::string& text);

// Width of a text in the units above.
double text_width(const std::string& text);

// The text, or where it is wider than `width` units its beginning and an ellipsis.
std::string shortened(const std::string& text, double width);

}  // namespace e2enet::report
