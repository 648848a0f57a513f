#include "cli/statistics_output.h"

#include <optional>

#include "cli/text.h"

namespace e2enet::cli {

std::string asymmetry_table(const std::vector<Asymmetry>& asymmetries) {
  Table table({{"structure", Align::left}, {"left mL"}, {"right mL"}, {"(left - right) / mean"}});
  for (const Asymmetry& one : asymmetries) {
    const std::optional<double> percent = one.percent();
    table.add({one.pair.structure, fixed(one.left_ml, 3), fixed(one.right_ml, 3),
               percent ? fixed(*percent, 1) + "%" : std::string("-")});
  }
  return table.text();
}

}  // namespace e2enet::cli
