#include "cli/dicom_table.h"

#include "cli/text.h"

namespace e2enet::cli {

std::string dicom_table(const DicomFolder& folder) {
  Table table({{"number"},
               {"description", Align::left},
               {"modality", Align::left},
               {"slices"},
               {"volume", Align::left},
               {"UID", Align::left}});
  const auto cell = [](const std::string& text) {
    return text.empty() ? std::string("-") : one_line(valid_utf8(text));
  };
  for (const DicomSeries& series : folder.series) {
    const std::string volume = !series.not_a_volume.empty() ? "no: " + series.not_a_volume
                               : series.problem.empty()     ? "yes"
                                                            : "no: not a plain stack";
    table.add({cell(series.number), cell(series.description), cell(series.modality), std::to_string(series.slices),
               volume, cell(series.uid)});
  }
  return table.text();
}

}  // namespace e2enet::cli
