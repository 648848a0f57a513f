#include "model/json_text.h"

#include <cstdint>
#include <set>
#include <vector>

#include "e2enet/error.h"

namespace e2enet::model {
namespace {

using Json = nlohmann::json;

// nlohmann's own functions recurse over nested values, and each value costs many times its byte in the text: both
// bounds keep a small file from taking the stack or the memory. The largest network has some thousand tensors.
constexpr int kDeepestNesting = 64;
constexpr std::int64_t kMostValues = 200'000;

}  // namespace

std::string printable(const std::string& text, std::size_t most) {
  std::string result = text.substr(0, most);
  for (char& c : result) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return text.size() > most ? result + "..." : result;
}

Json parse_json(const std::string& text, const std::string& where) {
  std::vector<std::set<std::string>> keys;
  std::int64_t values = 0;
  const auto refuse = [&](const std::string& expected, const std::string& found) {
    throw Error(ErrorCode::invalid_model, where + ": expected " + expected + ", found " + found);
  };
  const Json::parser_callback_t watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kDeepestNesting) refuse("JSON of at most " + std::to_string(kDeepestNesting) + " levels", "more");
    if (++values > kMostValues) refuse("at most " + std::to_string(kMostValues) + " JSON values", "more");
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get_ref<const std::string&>()).second) {
      refuse("each key once", "\"" + printable(value.get_ref<const std::string&>()) + "\" twice");
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& problem) {
    throw Error(ErrorCode::invalid_model, where + ": expected JSON, found " + printable(problem.what(), 200));
  }
}

}  // namespace e2enet::model
