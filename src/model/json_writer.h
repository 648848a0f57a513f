// JSON written as it comes, without building a document first: nlohmann's destructor of a document asks for memory, and
// ends the process where there is none. Numbers and texts are nlohmann's.
#pragma once

#include <cstdint>
#include <string>

namespace e2enet {

class JsonWriter {
 public:
  JsonWriter& begin_object() { return begin('{'); }
  JsonWriter& end_object() { return end('}'); }
  JsonWriter& begin_array() { return begin('['); }
  JsonWriter& end_array() { return end(']'); }

  // Of the value that follows.
  JsonWriter& key(const std::string& name) {
    value(name);
    text_ += ':';
    first_ = true;
    return *this;
  }

  JsonWriter& value(const std::string& text);
  JsonWriter& value(const char* text) { return value(std::string(text)); }
  JsonWriter& value(bool truth) { return raw(truth ? "true" : "false"); }
  JsonWriter& value(int number) { return value(std::int64_t{number}); }
  JsonWriter& value(std::int64_t number) { return raw(std::to_string(number)); }
  JsonWriter& value(std::uint64_t number) { return raw(std::to_string(number)); }
  JsonWriter& value(double number);  // null where it is not finite
  JsonWriter& null() { return raw("null"); }
  // What is JSON already.
  JsonWriter& raw(const std::string& json) {
    separate();
    text_ += json;
    return *this;
  }

  template <typename Value>
  JsonWriter& member(const char* name, const Value& of) {
    return key(name).value(of);
  }
  template <typename Values>
  JsonWriter& array(const char* name, const Values& values) {
    key(name).begin_array();
    for (const auto& one : values) value(one);
    return end_array();
  }

  const std::string& text() const { return text_; }

 private:
  JsonWriter& begin(char bracket) {
    separate();
    text_ += bracket;
    first_ = true;
    return *this;
  }
  JsonWriter& end(char bracket) {
    text_ += bracket;
    first_ = false;
    return *this;
  }
  void separate() {
    if (!first_) text_ += ',';
    first_ = false;
  }

  std::string text_;
  bool first_ = true;  // whether nothing stands before the next value that a comma would separate it from
};

}  // namespace e2enet
