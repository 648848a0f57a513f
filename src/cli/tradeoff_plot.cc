#include "cli/tradeoff_plot.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "cli/svg.h"
#include "cli/text.h"

namespace e2enet::cli {
namespace {

struct Measure {
  const char* name;
  double TradeoffPoint::*value;
  double unit;  // of the axis, in those of the value
  bool smaller_is_better;
};

constexpr Measure kAccuracies[] = {
    {"Dice", &TradeoffPoint::dice, 1, false},
    {"surface Dice", &TradeoffPoint::nsd, 1, false},
    {"HD95, mm", &TradeoffPoint::hd95, 1, true},
};
constexpr Measure kCosts[] = {
    {"parameters, thousands", &TradeoffPoint::parameters, 1e3, true},
    {"executed GFLOP a patch", &TradeoffPoint::flops, 1e9, true},
    {"seconds a case", &TradeoffPoint::seconds, 1, true},
    {"peak memory, MB", &TradeoffPoint::peak_bytes, 1e6, true},
};

// The range of one measure with a margin, and where its lines are.
struct Axis {
  double low = 0;
  double high = 1;
  bool logarithmic = false;
  std::vector<double> ticks;
  int decimals = 0;

  double fraction(double value) const {
    if (logarithmic) return std::log(value / low) / std::log(high / low);
    return (value - low) / (high - low);
  }
};

// 1, 2 or 5 times a power of ten, so that `range` has three to seven such steps.
double round_step(double range) {
  double step = std::pow(10.0, std::floor(std::log10(range / 3)));
  for (const double factor : {2.0, 2.5, 2.0}) {
    if (range / step > 7) step *= factor;
  }
  return step;
}

Axis axis_of(const Measure& measure, const std::vector<TradeoffPoint>& points, bool logarithmic) {
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const TradeoffPoint& point : points) {
    const double value = point.*measure.value / measure.unit;
    if (!std::isfinite(value) || (logarithmic && value <= 0)) continue;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  Axis axis;
  if (least > most) return axis;
  axis.logarithmic = logarithmic;
  if (logarithmic) {
    axis.low = least / 1.3;
    axis.high = most * 1.3;
  } else {
    const double margin = std::max(0.15 * (most - least), 0.002 * std::max(std::fabs(most), 1e-6));
    axis.low = least - margin;
    axis.high = most + margin;
  }
  double finest = 0;
  if (logarithmic && axis.high / axis.low > 5) {
    for (int power = int(std::floor(std::log10(axis.low))); power <= std::ceil(std::log10(axis.high)); ++power) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        const double value = digit * std::pow(10.0, power);
        if (value >= axis.low && value <= axis.high) axis.ticks.push_back(value);
      }
    }
    finest = axis.ticks.empty() ? 1 : axis.ticks.front();
  } else {
    const double step = round_step(axis.high - axis.low);
    for (double i = std::ceil(axis.low / step); i * step <= axis.high; ++i) axis.ticks.push_back(i * step);
    finest = step;
  }
  axis.decimals = std::max(0, int(std::ceil(-std::log10(finest) - 1e-9)));
  return axis;
}

// The models that no other beats in both, cheapest first.
std::vector<const TradeoffPoint*> front_of(const std::vector<TradeoffPoint>& points, const Measure& accuracy,
                                           const Measure& cost) {
  const auto goodness = [&](const TradeoffPoint* point) {
    return accuracy.smaller_is_better ? -(point->*accuracy.value) : point->*accuracy.value;
  };
  std::vector<const TradeoffPoint*> sorted;
  for (const TradeoffPoint& point : points) {
    if (std::isfinite(point.*accuracy.value)) sorted.push_back(&point);
  }
  std::stable_sort(sorted.begin(), sorted.end(), [&](const TradeoffPoint* a, const TradeoffPoint* b) {
    const double cost_a = a->*cost.value, cost_b = b->*cost.value;
    return cost_a < cost_b || (cost_a == cost_b && goodness(a) > goodness(b));
  });
  std::vector<const TradeoffPoint*> front;
  for (const TradeoffPoint* point : sorted) {
    if (front.empty() || goodness(point) > goodness(front.back())) front.push_back(point);
  }
  return front;
}

constexpr double kPanelWidth = 220, kPanelHeight = 170, kGap = 22, kLeft = 84, kRight = 24, kBottom = 58;

struct Panel {
  double left = 0;
  double top = 0;
  const Axis* x = nullptr;
  const Axis* y = nullptr;

  double x_of(double value) const { return left + x->fraction(value) * kPanelWidth; }
  double y_of(double value) const { return top + (1 - y->fraction(value)) * kPanelHeight; }
};

std::string grid_of(const Panel& panel) {
  std::string svg;
  for (const double tick : panel.x->ticks) {
    svg += "<line" + svg_attribute("x1", panel.x_of(tick)) + svg_attribute("x2", panel.x_of(tick)) +
           svg_attribute("y1", panel.top) + svg_attribute("y2", panel.top + kPanelHeight) + " stroke=\"#e6e6e6\"/>\n";
  }
  for (const double tick : panel.y->ticks) {
    svg += "<line" + svg_attribute("x1", panel.left) + svg_attribute("x2", panel.left + kPanelWidth) +
           svg_attribute("y1", panel.y_of(tick)) + svg_attribute("y2", panel.y_of(tick)) + " stroke=\"#e6e6e6\"/>\n";
  }
  return svg + "<rect" + svg_attribute("x", panel.left) + svg_attribute("y", panel.top) +
         svg_attribute("width", kPanelWidth) + svg_attribute("height", kPanelHeight) +
         " fill=\"none\" stroke=\"#999\"/>\n";
}

std::string models_in(const Panel& panel, const std::vector<TradeoffPoint>& points, const Measure& accuracy,
                      const Measure& cost) {
  const auto place = [&](const TradeoffPoint& point) {
    return std::make_pair(panel.x_of(point.*cost.value / cost.unit), panel.y_of(point.*accuracy.value / accuracy.unit));
  };
  std::string line;
  for (const TradeoffPoint* point : front_of(points, accuracy, cost)) {
    const auto [x, y] = place(*point);
    line += (line.empty() ? "M" : "L") + fixed(x, 1) + " " + fixed(y, 1);
  }
  std::string svg = "<path d=\"" + line + "\" fill=\"none\" stroke=\"#999\" stroke-dasharray=\"5 4\"/>\n";
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double value = points[i].*accuracy.value;
    if (std::isnan(value)) continue;
    if (std::isinf(value)) {  // a structure was missed: worse than any number, so not to be left out
      const double x = panel.x_of(points[i].*cost.value / cost.unit), y = panel.top;
      svg += "<path d=\"M" + fixed(x, 1) + " " + fixed(y - 6, 1) + "L" + fixed(x + 6, 1) + " " + fixed(y + 5, 1) + "L" +
             fixed(x - 6, 1) + " " + fixed(y + 5, 1) + "Z\" fill=\"" + model_color(i) +
             "\" stroke=\"#fff\" stroke-width=\"1.5\"><title>" + svg_escaped(points[i].details) + "</title></path>\n" +
             svg_text(x + 8, y + 13, "start", kSvgSmall, "inf");
      continue;
    }
    const auto [x, y] = place(points[i]);
    svg += "<circle" + svg_attribute("cx", x) + svg_attribute("cy", y) + " r=\"5\" fill=\"" + model_color(i) +
           "\" stroke=\"#fff\" stroke-width=\"1.5\"><title>" + svg_escaped(points[i].details) + "</title></circle>\n";
  }
  return svg;
}

}  // namespace

std::vector<double> tradeoff_scores(const std::vector<TradeoffCost>& models, double weight_accuracy,
                                    double weight_cost) {
  double best_dice = 0;
  double fewest_parameters = std::numeric_limits<double>::infinity(), fewest_flops = fewest_parameters;
  for (const TradeoffCost& model : models) {
    best_dice = std::max(best_dice, model.dice);
    fewest_parameters = std::min(fewest_parameters, model.parameters);
    fewest_flops = std::min(fewest_flops, model.flops);
  }
  std::vector<double> scores;
  for (const TradeoffCost& model : models) {
    const double accuracy = best_dice > 0 ? model.dice / best_dice : 0;
    scores.push_back(weight_accuracy * accuracy +
                     weight_cost * (fewest_parameters / model.parameters + fewest_flops / model.flops));
  }
  return scores;
}

std::string tradeoff_svg(const std::vector<TradeoffPoint>& points, const std::string& title,
                         const std::vector<std::string>& notes) {
  const double columns = double(std::size(kCosts)), rows = double(std::size(kAccuracies));
  const double width = kLeft + columns * (kPanelWidth + kGap) - kGap + kRight;
  // The legend: as many names a line as fit.
  constexpr double kLegendTop = 54, kLegendLine = 20, kLetter = 7.8;
  std::string legend;
  double at = kLeft, line = kLegendTop;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double needed = 26 + kLetter * double(display_width(points[i].name));
    if (at > kLeft && at + needed > width - kRight) {
      at = kLeft;
      line += kLegendLine;
    }
    legend += "<circle" + svg_attribute("cx", at + 5) + svg_attribute("cy", line - 4.5) + " r=\"5\" fill=\"" +
              model_color(i) + "\"/>\n" + svg_text(at + 15, line, "start", kSvgStrong, points[i].name);
    at += needed;
  }
  const double top = line + 20;
  constexpr double kNoteLine = 18;
  const double notes_top = top + rows * (kPanelHeight + kGap) - kGap + kBottom;
  const double height = notes_top + kNoteLine * double(notes.size());

  std::string svg = svg_header(width, height);
  svg += svg_text(kLeft, 28, "start", kSvgTitle, title) + legend;

  std::vector<Axis> cost_axes;
  for (const Measure& cost : kCosts) cost_axes.push_back(axis_of(cost, points, true));
  for (std::size_t row = 0; row < std::size(kAccuracies); ++row) {
    const Measure& accuracy = kAccuracies[row];
    const Axis y = axis_of(accuracy, points, false);
    for (std::size_t column = 0; column < std::size(kCosts); ++column) {
      const Measure& cost = kCosts[column];
      const Axis& x = cost_axes[column];
      Panel panel;
      panel.left = kLeft + double(column) * (kPanelWidth + kGap);
      panel.top = top + double(row) * (kPanelHeight + kGap);
      panel.x = &x;
      panel.y = &y;
      svg += grid_of(panel) + models_in(panel, points, accuracy, cost);
      if (column == 0) {
        for (const double tick : y.ticks) {
          svg += svg_text(kLeft - 8, panel.y_of(tick) + 4, "end", kSvgSmall, fixed(tick, y.decimals));
        }
        svg += "<text transform=\"translate(22 " + fixed(panel.top + kPanelHeight / 2, 1) +
               ") rotate(-90)\" text-anchor=\"middle\" " + std::string(kSvgStrong) + ">" + accuracy.name + "</text>\n";
      }
      if (row + 1 == std::size(kAccuracies)) {
        const double below = panel.top + kPanelHeight;
        for (const double tick : x.ticks) {
          svg += svg_text(panel.x_of(tick), below + 18, "middle", kSvgSmall, fixed(tick, x.decimals));
        }
        svg += svg_text(panel.left + kPanelWidth / 2, below + 42, "middle", kSvgStrong, cost.name);
      }
    }
  }
  for (std::size_t i = 0; i < notes.size(); ++i) {
    svg += svg_text(kLeft, notes_top + kNoteLine * double(i), "start", kSvgSmall, notes[i]);
  }
  return svg + "</svg>\n";
}

}  // namespace e2enet::cli
