// JSON from strangers: what a model file or a configuration says, parsed within bounds.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace e2enet::model {

class JsonDocument;

// Parses `text`. Refuses, as Error (invalid_model) beginning with `where`: what is not JSON, a key twice in one object
// (readers differ in which one counts), and more nesting or values than any model needs, before they take memory.
JsonDocument parse_json(const std::string& text, const std::string& where);

// What was parsed. nlohmann's destructor asks for memory for each value that holds others, and ends the process where
// there is none; a document is taken apart first, which asks for none.
class JsonDocument {
 public:
  JsonDocument() = default;
  JsonDocument(JsonDocument&& other) noexcept : value_(std::move(other.value_)) {}
  JsonDocument& operator=(JsonDocument&&) = delete;
  ~JsonDocument();

  const nlohmann::json& value() const { return value_; }

 private:
  friend JsonDocument parse_json(const std::string& text, const std::string& where);
  nlohmann::json value_;
};

// A text from the file as part of a one-line message: cut to `most` bytes, everything but printable ASCII as '?'.
std::string printable(const std::string& text, std::size_t most = 80);

}  // namespace e2enet::model
