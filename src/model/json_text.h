// JSON from strangers: what a model file or a configuration says, parsed within bounds.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

namespace e2enet::model {

// Parses `text`. Refuses, as Error (invalid_model) beginning with `where`: what is not JSON, a key twice in one object
// (readers differ in which one counts), and more nesting or values than any model needs, before they take memory.
nlohmann::json parse_json(const std::string& text, const std::string& where);

// A text from the file as part of a one-line message: cut to `most` bytes, everything but printable ASCII as '?'.
std::string printable(const std::string& text, std::size_t most = 80);

}  // namespace e2enet::model
