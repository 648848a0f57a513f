#include "model/json_writer.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace e2enet {

JsonWriter& JsonWriter::value(const std::string& text) {
  return raw(nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

JsonWriter& JsonWriter::value(double number) {
  return raw(std::isfinite(number) ? nlohmann::json(number).dump() : "null");
}

}  // namespace e2enet
