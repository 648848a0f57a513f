// Scores across two ways of labelling: which labels of the prediction mean what in the reference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace e2enet::evaluate {

// All of `prediction`, joined, are the same structure as all of `reference`, joined. It is scored under the number of
// the first of `reference`.
struct LabelMatch {
  std::vector<int> prediction;
  std::vector<int> reference;

  int label() const { return reference.front(); }
};

// "1+2=38": the prediction's labels 1 and 2 against the reference's 38; several labels joined by +, several matches
// separated by commas. Throws Error (invalid_argument) where the text is something else, a label is not within 1 to
// 65535, or one is named twice on the same side.
std::vector<LabelMatch> parse_label_matches(const std::string& text);

// "1+2=38"
std::string match_text(const LabelMatch& match);

// Renumber a volume's labels for the comparison; what no match names becomes 0.
void renumber_prediction(const std::vector<LabelMatch>& matches, std::vector<std::uint16_t>& labels);
void renumber_reference(const std::vector<LabelMatch>& matches, std::vector<std::uint16_t>& labels);

}  // namespace e2enet::evaluate
