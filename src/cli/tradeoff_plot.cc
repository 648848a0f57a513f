#include "cli/tradeoff_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cli/text.h"

namespace e2enet::cli {
namespace {

constexpr const char* kPalette[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5F5F5F"};

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string attribute(const char* name, double value) {
  return std::string(" ") + name + "=\"" + fixed(value, 1) + "\"";
}

std::string text_at(double x, double y, const std::string& anchor, const std::string& style, const std::string& text) {
  return "<text" + attribute("x", x) + attribute("y", y) + " text-anchor=\"" + anchor + "\" " + style + ">" +
         escaped(text) + "</text>\n";
}

// 1, 2 and 5 times powers of ten within the range.
std::vector<double> logarithmic_ticks(double low, double high) {
  std::vector<double> ticks;
  for (int power = static_cast<int>(std::floor(std::log10(low))); power <= std::ceil(std::log10(high)); ++power) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double value = digit * std::pow(10.0, power);
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push_back(value);
    }
  }
  return ticks;
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

std::string tradeoff_svg(const std::vector<TradeoffPoint>& points, const std::string& title) {
  constexpr double kWidth = 760, kHeight = 480, kLeft = 78, kRight = 30, kTop = 56, kBottom = 64;
  double low = std::numeric_limits<double>::infinity(), high = 0, worst = low, best = -low;
  for (const TradeoffPoint& point : points) {
    low = std::min(low, point.flops);
    high = std::max(high, point.flops);
    worst = std::min(worst, point.dice);
    best = std::max(best, point.dice);
  }
  low /= 1.5;
  high *= 1.5;
  double tick = 0.001;  // of Dice: between three and eight lines
  for (const double next : {0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2}) {
    if ((best - worst) / tick > 6) tick = next;
  }
  const double bottom = (std::floor(worst / tick) - 1) * tick, top = (std::ceil(best / tick) + 1) * tick;
  const auto x_of = [&](double flops) {
    return kLeft + (std::log(flops) - std::log(low)) / (std::log(high) - std::log(low)) * (kWidth - kLeft - kRight);
  };
  const auto y_of = [&](double dice) { return kTop + (top - dice) / (top - bottom) * (kHeight - kTop - kBottom); };

  const std::string small = "font-size=\"13\" fill=\"#444\"", strong = "font-size=\"14\" fill=\"#111\"";
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 480\" width=\"760\" height=\"480\" "
      "font-family=\"Helvetica, Arial, sans-serif\">\n"
      "<rect width=\"760\" height=\"480\" fill=\"#fff\"/>\n";
  svg += text_at(kLeft, 30, "start", "font-size=\"17\" font-weight=\"600\" fill=\"#111\"", title);
  for (const double flops : logarithmic_ticks(low, high)) {
    const double x = x_of(flops);
    svg += "<line" + attribute("x1", x) + attribute("x2", x) + attribute("y1", kTop) +
           attribute("y2", kHeight - kBottom) + " stroke=\"#e6e6e6\"/>\n";
    const double giga = flops * 1e-9;
    svg += text_at(x, kHeight - kBottom + 20, "middle", small, fixed(giga, giga < 0.1 ? 2 : giga < 1 ? 1 : 0));
  }
  for (int i = 0; bottom + i * tick <= top + tick / 2; ++i) {
    const double dice = bottom + i * tick, y = y_of(dice);
    svg += "<line" + attribute("x1", kLeft) + attribute("x2", kWidth - kRight) + attribute("y1", y) +
           attribute("y2", y) + " stroke=\"#e6e6e6\"/>\n";
    svg += text_at(kLeft - 10, y + 4.5, "end", small, fixed(dice, tick < 0.01 ? 3 : 2));
  }
  svg += "<path d=\"M" + fixed(kLeft, 1) + " " + fixed(kTop, 1) + "V" + fixed(kHeight - kBottom, 1) + "H" +
         fixed(kWidth - kRight, 1) + "\" fill=\"none\" stroke=\"#888\"/>\n";
  svg += text_at((kLeft + kWidth - kRight) / 2, kHeight - 18, "middle", strong,
                 "executed GFLOP for a patch (logarithmic)");
  svg += "<text transform=\"translate(22 " + fixed((kTop + kHeight - kBottom) / 2, 1) +
         ") rotate(-90)\" text-anchor=\"middle\" " + strong + ">mean Dice</text>\n";

  std::vector<TradeoffPoint> by_cost = points;
  std::stable_sort(by_cost.begin(), by_cost.end(), [](const TradeoffPoint& a, const TradeoffPoint& b) {
    return a.flops < b.flops || (a.flops == b.flops && a.dice > b.dice);
  });
  std::string front;
  double reached = -1;
  for (const TradeoffPoint& point : by_cost) {
    if (point.dice <= reached) continue;
    reached = point.dice;
    front += (front.empty() ? "M" : "L") + fixed(x_of(point.flops), 1) + " " + fixed(y_of(point.dice), 1);
  }
  svg += "<path d=\"" + front + "\" fill=\"none\" stroke=\"#999\" stroke-dasharray=\"5 4\"/>\n";
  std::vector<std::pair<double, double>> taken;  // where names stand, so that two of them do not cover each other
  for (std::size_t i = 0; i < points.size(); ++i) {
    const TradeoffPoint& point = points[i];
    const double x = x_of(point.flops), y = y_of(point.dice);
    const bool leftwards = x > kLeft + 0.62 * (kWidth - kLeft - kRight);
    double label_y = y - 9;
    const auto covered = [&] {
      return std::any_of(taken.begin(), taken.end(), [&](const std::pair<double, double>& other) {
        return std::fabs(other.first - x) < 220 && std::fabs(other.second - label_y) < 15;
      });
    };
    while (covered()) label_y += 16;
    taken.emplace_back(x, label_y);
    svg += "<circle" + attribute("cx", x) + attribute("cy", y) + " r=\"6\" fill=\"" +
           kPalette[i % std::size(kPalette)] + "\" stroke=\"#fff\" stroke-width=\"1.5\"><title>" +
           escaped(point.details) + "</title></circle>\n";
    svg += text_at(leftwards ? x - 10 : x + 10, label_y, leftwards ? "end" : "start", "font-size=\"13\" fill=\"#111\"",
                   point.name);
  }
  return svg + "</svg>\n";
}

}  // namespace e2enet::cli
