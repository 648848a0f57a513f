// A picture to draw on: rectangles, lines, text; saved as PNG.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/atomic_file.h"

namespace e2enet::report {

struct Color {
  double red = 0, green = 0, blue = 0;  // 0 to 255
};

Color mixed(const Color& below, const Color& above, double opacity);

// Throws Error (invalid_argument), naming the file that was wanted, where this library was built without libpng: to be
// asked before any work.
void require_png(const std::string& path);

class Canvas {
 public:
  Canvas(int width, int height, const Color& background);

  int width() const { return width_; }
  int height() const { return height_; }

  // Positions are in pixels from the upper left corner; what falls outside is dropped.
  void blend(int x, int y, const Color& color, double opacity);
  void fill(int x, int y, int width, int height, const Color& color, double opacity = 1);
  void line(double x0, double y0, double x1, double y1, double thickness, const Color& color, double opacity = 1);

  enum class Anchor { left, center, right };
  // `size` is the height of capitals in pixels, (x, base) the anchor on the base line. `halo` draws a dark rim, for
  // text that stands on an image.
  void text(const std::string& text, double x, double base, double size, const Color& color,
            Anchor anchor = Anchor::left, bool halo = false);

  // Throws Error (cannot_write, out_of_memory).
  void write_png(AtomicFile& file) const;

 private:
  struct Segment {
    double x0, y0, x1, y1;
  };
  void stroke(const std::vector<Segment>& segments, double thickness, const Color& color, double opacity);

  int width_;
  int height_;
  std::vector<std::uint8_t> pixels_;  // red, green, blue; rows from the top
};

}  // namespace e2enet::report
