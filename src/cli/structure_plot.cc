#include "cli/structure_plot.h"

#include <algorithm>
#include <cmath>

#include "cli/svg.h"
#include "cli/text.h"

namespace e2enet::cli {
namespace {

constexpr double kPlotWidth = 560, kRight = 24, kLetter = 7.4, kModelStep = 7, kRowGap = 9, kBottom = 52;

// The lowest bound of all, rounded down to a tenth, so that the points do not crowd at the right.
double lowest(const std::vector<ModelStructures>& models) {
  double least = 1;
  for (const ModelStructures& model : models) {
    for (const std::optional<StructureDice>& one : model.dice) {
      if (!one) continue;
      least = std::min(least, one->mean);
      if (std::isfinite(one->interval.low)) least = std::min(least, one->interval.low);
    }
  }
  return std::min(0.9, std::floor(least * 10) / 10);
}

}  // namespace

std::string structure_svg(const std::vector<std::string>& structures, const std::vector<ModelStructures>& models,
                          const std::string& title) {
  double left = 60;
  for (const std::string& name : structures) left = std::max(left, 24 + kLetter * double(display_width(name)));
  const double low = lowest(models);
  const double row = kModelStep * double(models.size()) + kRowGap;
  constexpr double kLegendTop = 54, kLegendLine = 20;
  double legend_at = left, line = kLegendTop;
  std::string legend;
  for (std::size_t m = 0; m < models.size(); ++m) {
    const double needed = 26 + 7.8 * double(display_width(models[m].name));
    if (legend_at > left && legend_at + needed > left + kPlotWidth) {
      legend_at = left;
      line += kLegendLine;
    }
    legend += "<circle" + svg_attribute("cx", legend_at + 5) + svg_attribute("cy", line - 4.5) + " r=\"5\" fill=\"" +
              model_color(m) + "\"/>\n" + svg_text(legend_at + 15, line, "start", kSvgStrong, models[m].name);
    legend_at += needed;
  }
  const double top = line + 20;
  const double height = top + row * double(structures.size()) + kBottom;
  const double bottom = height - kBottom;
  const auto x_of = [&](double dice) { return left + (std::clamp(dice, low, 1.0) - low) / (1 - low) * kPlotWidth; };

  std::string svg = svg_header(left + kPlotWidth + kRight, height);
  svg += svg_text(24, 28, "start", kSvgTitle, title) + legend;
  const int first = static_cast<int>(std::lround(low * 10));
  for (int tenth = first; tenth <= 10; ++tenth) {
    const double x = x_of(tenth / 10.0);
    svg += "<line" + svg_attribute("x1", x) + svg_attribute("x2", x) + svg_attribute("y1", top) +
           svg_attribute("y2", bottom) + " stroke=\"#e6e6e6\"/>\n" +
           svg_text(x, bottom + 18, "middle", kSvgSmall, fixed(tenth / 10.0, 1));
  }
  for (std::size_t s = 0; s < structures.size(); ++s) {
    const double row_top = top + row * double(s);
    if (s % 2 == 1) {
      svg += "<rect" + svg_attribute("x", left) + svg_attribute("y", row_top) + svg_attribute("width", kPlotWidth) +
             svg_attribute("height", row) + " fill=\"#000\" fill-opacity=\"0.03\"/>\n";
    }
    svg += svg_text(left - 10, row_top + row / 2 + 4, "end", kSvgSmall, structures[s]);
    for (std::size_t m = 0; m < models.size(); ++m) {
      const std::optional<StructureDice>& one = models[m].dice[s];
      if (!one) continue;
      const double y = row_top + (kRowGap + kModelStep) / 2 + kModelStep * double(m);
      std::string details = models[m].name + ", " + structures[s] + ": Dice " + fixed(one->mean, 4);
      if (std::isfinite(one->interval.low)) {
        details += " (" + fixed(one->interval.low, 4) + " to " + fixed(one->interval.high, 4) + ")";
        svg += "<line" + svg_attribute("x1", x_of(one->interval.low)) + svg_attribute("x2", x_of(one->interval.high)) +
               svg_attribute("y1", y) + svg_attribute("y2", y) + " stroke=\"" + model_color(m) +
               "\" stroke-width=\"1.5\"/>\n";
      }
      svg += "<circle" + svg_attribute("cx", x_of(one->mean)) + svg_attribute("cy", y) + " r=\"3\" fill=\"" +
             model_color(m) + "\"><title>" + svg_escaped(details) + "</title></circle>\n";
    }
  }
  svg += "<rect" + svg_attribute("x", left) + svg_attribute("y", top) + svg_attribute("width", kPlotWidth) +
         svg_attribute("height", bottom - top) + " fill=\"none\" stroke=\"#999\"/>\n";
  svg += svg_text(left + kPlotWidth / 2, bottom + 40, "middle", kSvgStrong,
                  "Dice: mean over cases, with its 95% interval");
  return svg + "</svg>\n";
}

}  // namespace e2enet::cli
