#include "e2enet/evaluate.h"

#include <charconv>
#include <set>

#include "e2enet/error.h"

namespace e2enet::evaluate {
namespace {

constexpr int kLargestLabel = 65535;

[[noreturn]] void refuse(const std::string& expected, const std::string& found) {
  throw Error(ErrorCode::invalid_argument, "expected " + expected + ", found '" + found + "'");
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find(separator, begin)) != std::string::npos; begin = end + 1) {
    parts.push_back(text.substr(begin, end - begin));
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<int> parse_labels(const std::string& text, const char* side, std::set<int>& seen) {
  std::vector<int> labels;
  for (const std::string& part : split(text, '+')) {
    int label = 0;
    const auto [rest, error] = std::from_chars(part.data(), part.data() + part.size(), label);
    if (error != std::errc() || rest != part.data() + part.size() || label < 1 || label > kLargestLabel) {
      refuse("labels from 1 to " + std::to_string(kLargestLabel) + " joined by +", text);
    }
    if (!seen.insert(label).second)
      refuse(std::string("each label once among the ") + side + "'s", std::to_string(label));
    labels.push_back(label);
  }
  return labels;
}

std::string join(const std::vector<int>& labels) {
  std::string text;
  for (const int label : labels) text += (text.empty() ? "" : "+") + std::to_string(label);
  return text;
}

void renumber(const std::vector<LabelMatch>& matches, std::vector<int> LabelMatch::*side,
              std::vector<std::uint16_t>& labels) {
  std::vector<std::uint16_t> number(kLargestLabel + 1, 0);
  for (const LabelMatch& match : matches) {
    for (const int label : match.*side)
      number[static_cast<std::size_t>(label)] = static_cast<std::uint16_t>(match.label());
  }
  for (std::uint16_t& label : labels) label = number[label];
}

}  // namespace

std::vector<LabelMatch> parse_label_matches(const std::string& text) {
  std::vector<LabelMatch> matches;
  std::set<int> predictions, references;
  for (const std::string& part : split(text, ',')) {
    const std::vector<std::string> sides = split(part, '=');
    if (sides.size() != 2) refuse("P+P=R, labels of the prediction and of the reference", part);
    LabelMatch match;
    match.prediction = parse_labels(sides[0], "prediction", predictions);
    match.reference = parse_labels(sides[1], "reference", references);
    matches.push_back(std::move(match));
  }
  return matches;
}

std::string match_text(const LabelMatch& match) { return join(match.prediction) + "=" + join(match.reference); }

void renumber_prediction(const std::vector<LabelMatch>& matches, std::vector<std::uint16_t>& labels) {
  renumber(matches, &LabelMatch::prediction, labels);
}

void renumber_reference(const std::vector<LabelMatch>& matches, std::vector<std::uint16_t>& labels) {
  renumber(matches, &LabelMatch::reference, labels);
}

}  // namespace e2enet::evaluate
