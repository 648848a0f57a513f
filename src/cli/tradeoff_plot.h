// The plot of `tradeoff`: accuracy against work, as SVG.
#pragma once

#include <string>
#include <vector>

namespace e2enet::cli {

struct TradeoffPoint {
  std::string name;
  double flops = 0;     // of a patch, executed
  double dice = 0;      // mean
  std::string details;  // shown when the pointer rests on the point
};

// Dice over FLOPs, which have a logarithmic axis; a line joins the models that no other beats in both.
std::string tradeoff_svg(const std::vector<TradeoffPoint>& points, const std::string& title);

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
