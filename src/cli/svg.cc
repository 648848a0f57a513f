#include "cli/svg.h"

#include <iterator>

#include "cli/text.h"

namespace e2enet::cli {
namespace {

constexpr const char* kPalette[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5F5F5F"};

}  // namespace

const char* const kSvgSmall = "font-size=\"12\" fill=\"#444\"";
const char* const kSvgStrong = "font-size=\"13\" fill=\"#111\"";
const char* const kSvgTitle = "font-size=\"17\" font-weight=\"600\" fill=\"#111\"";

const char* model_color(std::size_t model) { return kPalette[model % std::size(kPalette)]; }

std::string svg_escaped(const std::string& text) {
  std::string result;
  for (const char c : valid_utf8(text)) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string svg_attribute(const char* name, double value) {
  return std::string(" ") + name + "=\"" + fixed(value, 1) + "\"";
}

std::string svg_text(double x, double y, const std::string& anchor, const std::string& style, const std::string& text) {
  return "<text" + svg_attribute("x", x) + svg_attribute("y", y) + " text-anchor=\"" + anchor + "\" " + style + ">" +
         svg_escaped(text) + "</text>\n";
}

std::string svg_header(double width, double height) {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + fixed(width, 0) + " " + fixed(height, 0) +
         "\" width=\"" + fixed(width, 0) + "\" height=\"" + fixed(height, 0) +
         "\" font-family=\"Helvetica, Arial, sans-serif\">\n<rect" + svg_attribute("width", width) +
         svg_attribute("height", height) + " fill=\"#fff\"/>\n";
}

}  // namespace e2enet::cli
