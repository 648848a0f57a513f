#include "cli/text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace e2enet::cli {

std::string short_number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

std::string fixed(double value, int decimals) {
  if (std::isnan(value)) return "";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return buffer;
}

std::string bytes_text(std::int64_t bytes) {
  static const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  return fixed(value, unit == 0 ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0) + " " + units[unit];
}

std::string count_text(double count) {
  static const char* const units[] = {"", " k", " M", " G", " T", " P"};
  std::size_t unit = 0;
  while (std::fabs(count) >= 1000 && unit + 1 < std::size(units)) {
    count /= 1000;
    ++unit;
  }
  return fixed(count, unit == 0 ? 0 : 2) + units[unit];
}

std::string duration_text(double seconds) {
  if (seconds < 10) return fixed(seconds, 2) + " s";
  if (seconds < 60) return fixed(seconds, 1) + " s";
  const auto whole = static_cast<long>(std::lround(seconds));
  char buffer[64];
  if (whole < 3600) {
    std::snprintf(buffer, sizeof buffer, "%ld:%02ld min", whole / 60, whole % 60);
  } else {
    std::snprintf(buffer, sizeof buffer, "%ld:%02ld:%02ld h", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return buffer;
}

std::size_t display_width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

void Table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = display_width(columns_[c].head);
    for (const auto& row : rows_) {
      if (!row.empty()) width = std::max(width, display_width(row[c]));
    }
    widths.push_back(width);
  }
  std::string out;
  const auto line = [&](auto&& cell_of) {
    std::string text;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const std::string cell = cell_of(c);
      const std::string space(widths[c] - display_width(cell), ' ');
      if (c > 0) text += "  ";
      text += columns_[c].align == Align::right ? space + cell : cell + space;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  };
  const auto rule = [&] { line([&](std::size_t c) { return std::string(widths[c], '-'); }); };
  line([&](std::size_t c) { return columns_[c].head; });
  rule();
  for (const auto& row : rows_) {
    if (row.empty()) {
      rule();
    } else {
      line([&](std::size_t c) { return row[c]; });
    }
  }
  return out;
}

std::string Table::markdown() const {
  std::string out;
  const auto line = [&](auto&& cell_of) {
    out += "|";
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      out += " ";
      for (const char letter : cell_of(c)) out += letter == '|' ? std::string("\\|") : std::string(1, letter);
      out += " |";
    }
    out += "\n";
  };
  line([&](std::size_t c) { return columns_[c].head; });
  line([&](std::size_t c) { return std::string(columns_[c].align == Align::right ? "---:" : "---"); });
  for (const auto& row : rows_) {
    if (!row.empty()) line([&](std::size_t c) { return row[c]; });
  }
  return out;
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string valid_utf8(const std::string& text) {
  // The JSON library's own decoder, so that both always agree.
  const nlohmann::json json = text;
  return nlohmann::json::parse(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)).get<std::string>();
}

nlohmann::ordered_json parsed(const std::string& json) { return nlohmann::ordered_json::parse(json); }

std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t extent : shape) text += (text.empty() ? "" : " x ") + std::to_string(extent);
  return text;
}

}  // namespace e2enet::cli
