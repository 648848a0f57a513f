// A small typeface for the preview: each printable ASCII character as lines and arcs, so that it can be drawn smoothly
// at any size. A bitmap font would look coarse, and a font library needs a font file that not every machine has.
#pragma once

#include <string>
#include <vector>

namespace e2enet::cli {

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

// Characters outside printable ASCII come back as a question mark.
const Glyph& glyph_of(char character);

// Width of a text in the units above. Bytes that continue a UTF-8 character are skipped.
double text_width(const std::string& text);

}  // namespace e2enet::cli
