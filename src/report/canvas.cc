#include "report/canvas.h"

#ifdef E2ENET_HAS_PNG
#include <png.h>
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "e2enet/error.h"
#include "report/stroke_font.h"

namespace e2enet::report {

Color mixed(const Color& below, const Color& above, double opacity) {
  const auto mix = [&](double a, double b) { return a + (b - a) * opacity; };
  return {mix(below.red, above.red), mix(below.green, above.green), mix(below.blue, above.blue)};
}

Canvas::Canvas(int width, int height, const Color& background) : width_(width), height_(height) {
  pixels_.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  fill(0, 0, width, height, background);
}

void Canvas::blend(int x, int y, const Color& color, double opacity) {
  if (x < 0 || y < 0 || x >= width_ || y >= height_) return;
  std::uint8_t* pixel =
      &pixels_[(static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x)) * 3];
  const Color result =
      mixed({double(pixel[0]), double(pixel[1]), double(pixel[2])}, color, std::clamp(opacity, 0.0, 1.0));
  pixel[0] = static_cast<std::uint8_t>(std::lround(result.red));
  pixel[1] = static_cast<std::uint8_t>(std::lround(result.green));
  pixel[2] = static_cast<std::uint8_t>(std::lround(result.blue));
}

void Canvas::fill(int x, int y, int width, int height, const Color& color, double opacity) {
  for (int row = y; row < y + height; ++row) {
    for (int column = x; column < x + width; ++column) blend(column, row, color, opacity);
  }
}

// Each pixel is covered by how far its middle is inside the nearest stroke; all segments at once, so that joints do not
// show twice.
void Canvas::stroke(const std::vector<Segment>& segments, double thickness, const Color& color, double opacity) {
  if (segments.empty()) return;
  double left = std::numeric_limits<double>::max(), top = left, right = -left, bottom = -left;
  for (const Segment& s : segments) {
    left = std::min({left, s.x0, s.x1});
    right = std::max({right, s.x0, s.x1});
    top = std::min({top, s.y0, s.y1});
    bottom = std::max({bottom, s.y0, s.y1});
  }
  const double reach = thickness / 2 + 1;
  const int y_end = std::min(height_, static_cast<int>(std::ceil(bottom + reach)));
  const int x_end = std::min(width_, static_cast<int>(std::ceil(right + reach)));
  for (int y = std::max(0, static_cast<int>(top - reach)); y < y_end; ++y) {
    for (int x = std::max(0, static_cast<int>(left - reach)); x < x_end; ++x) {
      double nearest = std::numeric_limits<double>::max();
      for (const Segment& s : segments) {
        const double dx = s.x1 - s.x0, dy = s.y1 - s.y0;
        const double px = x + 0.5 - s.x0, py = y + 0.5 - s.y0;
        const double squared = dx * dx + dy * dy;
        const double along = squared > 0 ? std::clamp((px * dx + py * dy) / squared, 0.0, 1.0) : 0.0;
        nearest = std::min(nearest, std::hypot(px - along * dx, py - along * dy));
      }
      const double covered = std::clamp(thickness / 2 - nearest + 0.5, 0.0, 1.0);
      if (covered > 0) blend(x, y, color, covered * opacity);
    }
  }
}

void Canvas::line(double x0, double y0, double x1, double y1, double thickness, const Color& color, double opacity) {
  stroke({{x0, y0, x1, y1}}, thickness, color, opacity);
}

void Canvas::text(const std::string& text, double x, double base, double size, const Color& color, Anchor anchor,
                  bool halo) {
  const double scale = size / kCapitalHeight;
  const double width = text_width(text) * scale;
  const double start = anchor == Anchor::left ? x : anchor == Anchor::center ? x - width / 2 : x - width;
  const double thickness = std::max(1.15, size * 0.135);
  // The rim first for all characters: it must not cut into the neighbour.
  for (const bool rim : {true, false}) {
    if (rim && !halo) continue;
    double at = start;
    for (const Glyph* glyph : glyphs_of(text)) {
      std::vector<Segment> segments;
      for (const auto& points : glyph->strokes) {
        for (std::size_t i = points.size() > 1 ? 1 : 0; i < points.size(); ++i) {
          const Point& a = points[i > 0 ? i - 1 : 0];
          const Point& b = points[i];
          segments.push_back({at + a.x * scale, base - a.y * scale, at + b.x * scale, base - b.y * scale});
        }
        if (points.size() == 1 && !rim) {  // a dot is rounder and larger than a stroke is wide
          stroke({segments.back()}, thickness * 1.35, color, 1);
          segments.pop_back();
        }
      }
      stroke(segments, rim ? thickness + 3 : thickness, rim ? Color{0, 0, 0} : color, rim ? 0.65 : 1);
      at += glyph->advance * scale;
    }
  }
}

void require_png(const std::string& path) {
#ifdef E2ENET_HAS_PNG
  static_cast<void>(path);
#else
  throw Error(ErrorCode::invalid_argument, path + ": expected no picture, since this library was built without libpng");
#endif
}

void Canvas::write_png(AtomicFile& file) const {
  require_png(file.path());
#ifdef E2ENET_HAS_PNG
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width_);
  image.height = static_cast<png_uint_32>(height_);
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  std::vector<std::uint8_t> bytes;
  bool good = png_image_write_to_memory(&image, nullptr, &size, 0, pixels_.data(), 0, nullptr) != 0;
  if (good) {
    bytes.resize(size);
    good = png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels_.data(), 0, nullptr) != 0;
  }
  if (!good) throw Error(ErrorCode::cannot_write, file.path() + ": the PNG cannot be encoded: " + image.message);
  file.write(bytes.data(), size);
#endif
}

}  // namespace e2enet::report
