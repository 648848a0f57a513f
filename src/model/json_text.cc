#include "model/json_text.h"

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "e2enet/error.h"

namespace e2enet::model {
namespace {

using Json = nlohmann::json;

// nlohmann's own functions recurse over nested values, and each value costs many times its byte in the text: both
// bounds keep a small file from taking the stack or the memory. The largest network has some thousand tensors.
constexpr std::size_t kDeepestNesting = 64;
constexpr std::int64_t kMostValues = 200'000;

// From the inside out, so that every value is empty when it goes.
void take_apart(Json& value) {
  if (value.is_array()) {
    for (Json& element : value.get_ref<Json::array_t&>()) take_apart(element);
    value.get_ref<Json::array_t&>().clear();
  } else if (value.is_object()) {
    for (auto& [key, element] : value.get_ref<Json::object_t&>()) take_apart(element);
    value.get_ref<Json::object_t&>().clear();
  }
}

// Builds a document where it will stay, as the parser finds its parts.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(Json& root, const std::string& where) : root_(root), where_(where) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& value) override { return add(std::move(value)); }  // JSON has none

  bool start_object(std::size_t) override {
    open(Json::value_t::object);
    keys_.emplace_back();
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return close();
  }
  bool start_array(std::size_t) override {
    open(Json::value_t::array);
    return true;
  }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    count();
    if (!keys_.back().insert(name).second) refuse("each key once", "\"" + printable(name) + "\" twice");
    member_ = &open_.back()->get_ref<Json::object_t&>()[name];
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& problem) override {
    refuse("JSON", printable(problem.what(), 200));
    return false;
  }

 private:
  void refuse(const std::string& expected, const std::string& found) const {
    throw Error(ErrorCode::invalid_model, where_ + ": expected " + expected + ", found " + found);
  }
  void count() {
    if (open_.size() > kDeepestNesting) {
      refuse("JSON of at most " + std::to_string(kDeepestNesting) + " levels", "more");
    }
    if (++values_ > kMostValues) refuse("at most " + std::to_string(kMostValues) + " JSON values", "more");
  }

  // A container of the document holds still while a value within it is open: only its last element is.
  Json& place(Json value) {
    count();
    if (open_.empty()) return root_ = std::move(value);
    if (open_.back()->is_array()) {
      open_.back()->get_ref<Json::array_t&>().push_back(std::move(value));
      return open_.back()->get_ref<Json::array_t&>().back();
    }
    return *member_ = std::move(value);
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  void open(Json::value_t kind) { open_.push_back(&place(kind)); }
  bool close() {
    open_.pop_back();
    count();
    return true;
  }

  Json& root_;
  const std::string& where_;
  std::vector<Json*> open_;
  Json* member_ = nullptr;  // that the next value becomes
  std::vector<std::set<std::string>> keys_;
  std::int64_t values_ = 0;
};

}  // namespace

std::string printable(const std::string& text, std::size_t most) {
  std::string result = text.substr(0, most);
  for (char& c : result) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return text.size() > most ? result + "..." : result;
}

JsonDocument parse_json(const std::string& text, const std::string& where) {
  JsonDocument document;
  Builder builder(document.value_, where);
  Json::sax_parse(text, &builder);
  return document;
}

JsonDocument::~JsonDocument() { take_apart(value_); }

}  // namespace e2enet::model
