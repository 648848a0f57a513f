// The plots of `tradeoff`: accuracy against cost, as SVG.
#pragma once

#include <string>
#include <vector>

namespace e2enet::cli {

// One model. Scores that it did not get (no case had the label) are NaN and are not drawn. An infinite Hausdorff
// distance is drawn above all others, as a triangle at the upper border with "inf" beside it.
struct TradeoffPoint {
  std::string name;
  // Accuracy.
  double dice = 0;  // means
  double nsd = 0;
  double hd95 = 0;  // mm; the smaller, the better
  // Cost.
  double parameters = 0;
  double flops = 0;  // of a patch, executed
  double seconds = 0;
  double peak_bytes = 0;
  std::string details;  // shown when the pointer rests on a point
};

// Each measure of accuracy over each of cost, in a plot of its own. Costs have logarithmic axes; a line joins the
// models that no other beats in both. `notes` stand below the plots, a line each.
std::string tradeoff_svg(const std::vector<TradeoffPoint>& points, const std::string& title,
                         const std::vector<std::string>& notes = {});

// The paper's performance trade-off score (Wu et al., NeurIPS 2024, equation 7) of each model within its group:
// weight_accuracy * dice / largest dice + weight_cost * (fewest parameters / parameters + fewest FLOPs / FLOPs).
struct TradeoffCost {
  double dice = 0;
  double parameters = 0;
  double flops = 0;
};
std::vector<double> tradeoff_scores(const std::vector<TradeoffCost>& models, double weight_accuracy,
                                    double weight_cost);

}  // namespace e2enet::cli
