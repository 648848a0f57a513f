// What the plots share: text, attributes and the colours of models.
#pragma once

#include <cstddef>
#include <string>

namespace e2enet::cli {

// The colour of the model with this number; seven can be told apart, with any kind of sight.
const char* model_color(std::size_t model);

// For text and attributes of XML.
std::string svg_escaped(const std::string& text);
// " name=\"12.3\""
std::string svg_attribute(const char* name, double value);
std::string svg_text(double x, double y, const std::string& anchor, const std::string& style, const std::string& text);
std::string svg_header(double width, double height);

extern const char* const kSvgSmall;   // style of numbers at axes and of notes
extern const char* const kSvgStrong;  // of names
extern const char* const kSvgTitle;

}  // namespace e2enet::cli
