#include "model/label_sides.h"

#include <algorithm>
#include <cctype>

namespace e2enet::model {
namespace {

// The name without its words "left", "right", "l" and "r"; the side is empty where there is none of them.
struct SidedName {
  std::string rest;
  std::string side;
};

SidedName without_side(const std::string& name) {
  SidedName result;
  std::string word;
  const auto end_of_word = [&]() {
    const bool is_side = word == "left" || word == "right" || word == "l" || word == "r";
    if (is_side && result.side.empty()) {
      result.side = word.substr(0, 1);
    } else if (!word.empty()) {
      result.rest += (result.rest.empty() ? "" : " ") + word;
    }
    word.clear();
  };
  for (const char c : name) {
    if (c == ' ' || c == '_' || c == '-' || c == '.' || c == ',' || c == '(' || c == ')') {
      end_of_word();
    } else {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  end_of_word();
  return result;
}

}  // namespace

std::vector<SidePair> side_pairs(const std::map<int, std::string>& names) {
  std::vector<SidePair> pairs;
  std::map<std::string, int> waiting;  // a side whose other one has not come
  for (const auto& [label, name] : names) {
    const SidedName sided = without_side(name);
    if (sided.side.empty()) continue;
    const bool left = sided.side == "l";
    const auto other = waiting.find(sided.rest + (left ? "/r" : "/l"));
    if (other == waiting.end()) {
      waiting[sided.rest + "/" + sided.side] = label;
      continue;
    }
    pairs.push_back({sided.rest, left ? label : other->second, left ? other->second : label});
    waiting.erase(other);
  }
  std::sort(pairs.begin(), pairs.end(),
            [](const SidePair& a, const SidePair& b) { return std::min(a.left, a.right) < std::min(b.left, b.right); });
  return pairs;
}

std::vector<SidePair> side_pairs(const Configuration& configuration) {
  std::vector<SidePair> pairs = side_pairs(configuration.labels);
  const auto& mirrored = configuration.mirrored_labels;
  if (mirrored.empty()) return pairs;
  const auto unknown = [&](const SidePair& pair) {
    return std::none_of(mirrored.begin(), mirrored.end(), [&](const auto& known) {
      return std::minmax(known[0], known[1]) == std::minmax(pair.left, pair.right);
    });
  };
  pairs.erase(std::remove_if(pairs.begin(), pairs.end(), unknown), pairs.end());
  return pairs;
}

}  // namespace e2enet::model
