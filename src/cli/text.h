// Numbers and tables as people read them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace e2enet::cli {

std::string fixed(double value, int decimals);
std::string short_number_text(double value);  // 0.5, 1e-12
std::string bytes_text(std::int64_t bytes);   // 1.4 GiB
std::string count_text(double count);         // 23.90 M, 969.54 G
std::string duration_text(double seconds);    // 0.42 s, 7.3 s, 2:05 min, 1:02:05 h

enum class Align { left, right };

// A table in plain text: two spaces between columns, a rule below the head.
class Table {
 public:
  struct Column {
    std::string head;
    Align align = Align::right;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> cells);
  void add_rule() { rows_.emplace_back(); }
  std::string text() const;
  std::string markdown() const;  // the same, without the rules

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;  // an empty row is a rule
};

// Length on a terminal: UTF-8 continuation bytes take no room.
std::size_t display_width(const std::string& text);

// One line for a terminal: control characters, which file names may have, become spaces.
std::string one_line(std::string text);

// The same text where it is UTF-8; each byte that is not part of a character as U+FFFD. File names may be any bytes,
// JSON and SVG may not.
std::string valid_utf8(const std::string& text);

// What the library writes as JSON, to be merged into more, keys in order.
nlohmann::ordered_json parsed(const std::string& json);

// Indented, of any bytes: see valid_utf8.
std::string json_text(const nlohmann::ordered_json& json);

// A CSV field, quoted where it has to be (RFC 4180).
std::string csv_field(const std::string& text);

// One JSON-style list of numbers: 128 x 128 x 128.
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace e2enet::cli
