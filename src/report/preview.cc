#include "report/preview.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

#include "report/anatomical_view.h"
#include "report/canvas.h"
#include "report/label_colors.h"
#include "report/stroke_font.h"

namespace e2enet::report {
namespace {

std::string volume_text(double ml) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f mL", ml < 10 ? 2 : ml < 100 ? 1 : 0, ml);
  return text;
}

constexpr Color kBackground{17, 19, 23};
constexpr Color kText{232, 234, 237};
constexpr Color kFaint{150, 156, 166};

// What one panel shows: across and down are anatomical axes, both run against their anatomical direction on the screen
// (to the patient's left or back, and down).
struct Panel {
  const char* name;
  std::size_t across, down, through;
  char left, right, top, bottom;
  std::int64_t slice = 0;
  int x = 0, y = 0, width = 0, height = 0;  // on the canvas
  int head_x = 0, head_room = 0;            // where the name begins; what lies between it and the panel
  std::vector<float> image;                 // of the slice, (down, across)
  std::vector<std::uint16_t> labels;
};

struct Window {
  double low = 0, high = 1;
  double grey(double value) const { return std::clamp((value - low) / (high - low), 0.0, 1.0) * 255; }
};

// From the 1st to the 99th percentile, so that a few bright voxels do not darken everything.
Window robust_window(std::vector<float>& sample) {
  Window window;
  if (sample.empty()) return window;
  const auto at = [&](double fraction) {
    const auto rank = static_cast<std::ptrdiff_t>(fraction * static_cast<double>(sample.size() - 1));
    std::nth_element(sample.begin(), sample.begin() + rank, sample.end());
    return static_cast<double>(sample[static_cast<std::size_t>(rank)]);
  };
  window.low = at(0.01);
  window.high = at(0.99);
  if (window.high <= window.low) {
    window.low = *std::min_element(sample.begin(), sample.end());
    window.high = *std::max_element(sample.begin(), sample.end());
  }
  if (window.high <= window.low) window.high = window.low + 1;
  return window;
}

// Calls visit(place in the panel's arrays, place in the file's slice) for each voxel that slice k of the file shares
// with the panel. The panel's arrays are (down, across) along the anatomical axes.
template <typename Visit>
void for_shared_voxels(const AnatomicalView& view, const Panel& panel, const Shape& shape, std::int64_t k,
                       const Visit& visit) {
  std::array<std::int64_t, 3> begin{0, 0, k}, end{shape[2], shape[1], k + 1};  // i, j, k
  const auto fixed_axis = static_cast<std::size_t>(view.file_axis[panel.through]);
  const std::int64_t fixed = view.file_index(panel.through, panel.slice);
  if (fixed < begin[fixed_axis] || fixed >= end[fixed_axis]) return;
  begin[fixed_axis] = fixed;
  end[fixed_axis] = fixed + 1;
  for (std::int64_t j = begin[1]; j < end[1]; ++j) {
    for (std::int64_t i = begin[0]; i < end[0]; ++i) {
      const std::array<std::int64_t, 3> at{i, j, k};
      const auto anatomical = [&](std::size_t axis) {
        return view.file_index(axis, at[static_cast<std::size_t>(view.file_axis[axis])]);  // its own inverse
      };
      visit(static_cast<std::size_t>(anatomical(panel.down) * view.extent[panel.across] + anatomical(panel.across)),
            static_cast<std::size_t>(j * shape[2] + i));
    }
  }
}

// One pass over the image: what the panels show, and the window of grey values.
Window read_panels(const PreviewInput& input, const AnatomicalView& view, std::array<Panel, 3>& panels) {
  const Shape& shape = input.geometry.shape;
  const std::int64_t slice_size = shape[1] * shape[2];
  for (Panel& panel : panels) {
    const auto size = static_cast<std::size_t>(view.extent[panel.across] * view.extent[panel.down]);
    panel.image.assign(size, 0);
    panel.labels.assign(size, 0);
  }
  const std::int64_t every = std::max<std::int64_t>(1, input.geometry.voxels() / 2000000);
  std::vector<float> sample, slice(static_cast<std::size_t>(slice_size));
  for (std::int64_t k = 0; k < shape[0]; ++k) {
    input.image->read(k, k + 1, slice.data());
    for (std::int64_t i = (every - k * slice_size % every) % every; i < slice_size; i += every) {
      const float value = slice[static_cast<std::size_t>(i)];
      if (std::isfinite(value)) sample.push_back(value);
    }
    for (Panel& panel : panels) {
      for_shared_voxels(view, panel, shape, k, [&](std::size_t to, std::size_t from) {
        panel.image[to] = std::isnan(slice[from]) ? 0.0F : slice[from];
        panel.labels[to] = input.labels[static_cast<std::size_t>(k * slice_size) + from];
      });
    }
  }
  return robust_window(sample);
}

// For each anatomical axis the slice with most labelled voxels.
std::array<std::int64_t, 3> largest_sections(const PreviewInput& input, const AnatomicalView& view, bool& any) {
  std::array<std::vector<std::int64_t>, 3> counts;
  for (std::size_t axis = 0; axis < 3; ++axis) counts[axis].assign(static_cast<std::size_t>(view.extent[axis]), 0);
  any = false;
  for (std::int64_t z = 0; z < view.extent[2]; ++z) {
    for (std::int64_t y = 0; y < view.extent[1]; ++y) {
      for (std::int64_t x = 0; x < view.extent[0]; ++x) {
        if (input.labels[view.origin + x * view.stride[0] + y * view.stride[1] + z * view.stride[2]] == 0) continue;
        any = true;
        ++counts[0][static_cast<std::size_t>(x)];
        ++counts[1][static_cast<std::size_t>(y)];
        ++counts[2][static_cast<std::size_t>(z)];
      }
    }
  }
  std::array<std::int64_t, 3> slices{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    slices[axis] =
        any ? std::max_element(counts[axis].begin(), counts[axis].end()) - counts[axis].begin() : view.extent[axis] / 2;
  }
  return slices;
}

// The label at a point between voxel centres: the one with the largest bilinear weight, so that enlarged outlines are
// smooth.
int smooth_label(const std::array<int, 4>& labels, const std::array<double, 4>& weights) {
  int best = labels[0];
  double best_weight = -1;
  for (std::size_t i = 0; i < 4; ++i) {
    double weight = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      if (labels[j] == labels[i]) weight += weights[j];
    }
    if (weight > best_weight) {
      best = labels[i];
      best_weight = weight;
    }
  }
  return best;
}

void draw_panel(Canvas& canvas, const AnatomicalView& view, const Window& window, const Panel& panel,
                const std::map<int, Color>& colors) {
  constexpr int kSamples = 3;  // a pixel is the mean of 3 x 3 points
  const int fine_width = panel.width * kSamples, fine_height = panel.height * kSamples;
  const std::size_t fine_size = static_cast<std::size_t>(fine_width) * static_cast<std::size_t>(fine_height);
  std::vector<int> label(fine_size);
  std::vector<float> grey(fine_size);
  const auto clamp_to = [](std::int64_t value, std::int64_t extent) {
    return std::clamp<std::int64_t>(value, 0, extent - 1);
  };
  for (int y = 0; y < fine_height; ++y) {
    const double down = (fine_height - y - 0.5) / fine_height * static_cast<double>(view.extent[panel.down]) - 0.5;
    const auto v = static_cast<std::int64_t>(std::floor(down));
    const double fv = down - static_cast<double>(v);
    for (int x = 0; x < fine_width; ++x) {
      const double across = (fine_width - x - 0.5) / fine_width * static_cast<double>(view.extent[panel.across]) - 0.5;
      const auto u = static_cast<std::int64_t>(std::floor(across));
      const double fu = across - static_cast<double>(u);
      const std::array<double, 4> weights{(1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv};
      std::array<int, 4> labels{};
      double value = 0;
      for (int corner = 0; corner < 4; ++corner) {
        const auto at =
            static_cast<std::size_t>(clamp_to(v + corner / 2, view.extent[panel.down]) * view.extent[panel.across] +
                                     clamp_to(u + corner % 2, view.extent[panel.across]));
        labels[static_cast<std::size_t>(corner)] = panel.labels[at];
        const auto voxel = static_cast<double>(panel.image[at]);
        value += weights[static_cast<std::size_t>(corner)] * window.grey(voxel);
      }
      const std::size_t to =
          static_cast<std::size_t>(y) * static_cast<std::size_t>(fine_width) + static_cast<std::size_t>(x);
      label[to] = smooth_label(labels, weights);
      grey[to] = static_cast<float>(value);
    }
  }
  constexpr int kOutline = 5;  // thickness in points
  const auto label_at = [&](int x, int y) {
    return label[static_cast<std::size_t>(std::clamp(y, 0, fine_height - 1)) * static_cast<std::size_t>(fine_width) +
                 static_cast<std::size_t>(std::clamp(x, 0, fine_width - 1))];
  };
  const auto on_outline = [&](int x, int y, int own) {
    for (const auto& [dx, dy] : {std::pair{1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}}) {
      const int reach = dx != 0 && dy != 0 ? kOutline * 7 / 10 : kOutline;
      if (label_at(x + dx * reach, y + dy * reach) != own) return true;
    }
    return false;
  };
  for (int y = 0; y < panel.height; ++y) {
    for (int x = 0; x < panel.width; ++x) {
      Color sum;
      for (int sy = y * kSamples; sy < (y + 1) * kSamples; ++sy) {
        for (int sx = x * kSamples; sx < (x + 1) * kSamples; ++sx) {
          const double g =
              grey[static_cast<std::size_t>(sy) * static_cast<std::size_t>(fine_width) + static_cast<std::size_t>(sx)];
          Color color{g, g, g};
          const int own = label_at(sx, sy);
          if (own != 0) color = mixed(color, colors.at(own), on_outline(sx, sy, own) ? 0.95 : 0.32);
          sum = {sum.red + color.red, sum.green + color.green, sum.blue + color.blue};
        }
      }
      constexpr double n = kSamples * kSamples;
      canvas.blend(panel.x + x, panel.y + y, {sum.red / n, sum.green / n, sum.blue / n}, 1);
    }
  }
}

// Below that many pixels two letters would stand on one another within a panel; they stand outside of it then.
constexpr int kLettersInside = 48;
constexpr int kLetterRoom = 22;

std::array<PreviewLayout::Letter, 4> place_letters(const Panel& panel) {
  constexpr double size = 13;
  const double middle_x = panel.x + panel.width / 2.0, middle_y = panel.y + panel.height / 2.0 + size / 2;
  const auto half = [](char letter) { return text_width(std::string(1, letter)) * size / kCapitalHeight / 2; };
  // From a side of the panel to the letter beside it, inwards or outwards.
  const double across = panel.width < kLettersInside ? -9 : 9;
  const auto beside = [&](char letter) { return across > 0 ? across + half(letter) : across - half(letter); };
  const bool within = panel.height >= kLettersInside;
  return {{{panel.left, panel.x + beside(panel.left), middle_y, size},
           {panel.right, panel.x + panel.width - beside(panel.right), middle_y, size},
           {panel.top, middle_x, within ? panel.y + 9 + size : panel.y - 7.0, size},
           {panel.bottom, middle_x, within ? panel.y + panel.height - 10.0 : panel.y + panel.height + 7 + size, size}}};
}

void draw_letters(Canvas& canvas, const std::array<PreviewLayout::Letter, 4>& letters) {
  for (const PreviewLayout::Letter& one : letters) {
    canvas.text(std::string(1, one.letter), one.center, one.base, one.size, kText, Canvas::Anchor::center, true);
  }
}

// A round length of about a fifth of the panel.
void draw_scale_bar(Canvas& canvas, const Panel& panel, double pixels_per_mm) {
  const double wanted = 0.28 * panel.width / pixels_per_mm;
  double length = 0;
  for (const double candidate : {1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0}) {
    if (candidate <= wanted) length = candidate;
  }
  if (length == 0) return;
  const double x0 = panel.x + 14, y = panel.y + panel.height - 14;
  const double x1 = x0 + length * pixels_per_mm;
  canvas.line(x0, y, x1, y, 5, {0, 0, 0}, 0.65);
  canvas.line(x0, y, x1, y, 2, kText);
  canvas.text(std::to_string(std::lround(length)) + " mm", (x0 + x1) / 2, y - 8, 10, kText, Canvas::Anchor::center,
              true);
}

}  // namespace

double preview_bytes(const Shape& image) {
  constexpr double kCanvas = 80 << 20;
  const double d = double(image[0]), h = double(image[1]), w = double(image[2]);
  return kCanvas + (d * h + d * w + h * w) * 6 + h * w * double(sizeof(float));
}

PreviewLayout draw_preview(AtomicFile& file, const PreviewInput& input) {
  const AnatomicalView view(input.geometry);
  bool any = false;
  const std::array<std::int64_t, 3> slices = largest_sections(input, view, any);
  std::map<int, std::int64_t> voxels;
  for (const auto& [value, name] : input.names) {
    if (value != 0) voxels[value] = 0;
  }
  for (std::int64_t i = 0, count = input.geometry.voxels(); i < count; ++i) {
    if (input.labels[i] != 0) ++voxels[input.labels[i]];
  }
  std::map<int, std::string> names;
  for (const auto& [value, count] : voxels) {
    const auto name = input.names.find(value);
    names[value] = name != input.names.end() ? name->second : "label " + std::to_string(value);
  }
  const std::map<int, Color> colors = label_colors(names);

  // One scale for the three panels, so that lengths compare.
  constexpr int kMargin = 22, kHead = 64, kTitle = 30, kLargestWidth = 1500, kLargestHeight = 560;
  std::array<double, 3> size{};
  for (std::size_t axis = 0; axis < 3; ++axis) size[axis] = static_cast<double>(view.extent[axis]) * view.spacing[axis];
  const double scale =
      std::min((kLargestWidth - 4.0 * kMargin) / (2 * size[0] + size[1]), kLargestHeight / std::max(size[1], size[2]));
  std::array<Panel, 3> panels{{{"Axial", 0, 1, 2, 'R', 'L', 'A', 'P', 0, 0, 0, 0, 0, 0, 0, {}, {}},
                               {"Coronal", 0, 2, 1, 'R', 'L', 'S', 'I', 0, 0, 0, 0, 0, 0, 0, {}, {}},
                               {"Sagittal", 1, 2, 0, 'A', 'P', 'S', 'I', 0, 0, 0, 0, 0, 0, 0, {}, {}}}};
  int x = kMargin, tallest = 0;
  for (Panel& panel : panels) {
    panel.slice = slices[panel.through];
    panel.width = std::max(2, static_cast<int>(std::lround(size[panel.across] * scale)));
    panel.height = std::max(2, static_cast<int>(std::lround(size[panel.down] * scale)));
    // Room for letters that stand outside, and for the name above.
    const int outer = panel.width + (panel.width < kLettersInside ? 2 * kLetterRoom : 0);
    const int cell = std::max(outer, static_cast<int>(std::ceil(text_width(panel.name) * 1.2)));
    panel.head_x = x;
    panel.head_room = panel.height < kLettersInside ? kLetterRoom : 0;
    panel.x = x + (cell - panel.width) / 2;
    x += cell + kMargin;
    tallest = std::max(tallest, panel.height + 2 * panel.head_room);
  }
  const int width = std::max(x, 760);
  const int shift = (width - x) / 2;  // few and small panels stand in the middle
  for (Panel& panel : panels) {
    panel.x += shift;
    panel.head_x += shift;
    panel.y = kHead + kTitle + (tallest - panel.height) / 2;
  }

  const Window window = read_panels(input, view, panels);

  PreviewLayout layout;
  double widest = 0;
  constexpr double kLegendSize = 12;
  constexpr double kLongestName = 300;  // pixels
  const double voxel_ml = input.geometry.voxel_ml();
  for (const auto& [value, count] : voxels) {
    const double ml = static_cast<double>(count) * voxel_ml;
    PreviewLayout::LegendEntry entry;
    entry.label = value;
    entry.color = colors.at(value);
    entry.name = shortened(names[value], kLongestName / kLegendSize * kCapitalHeight);
    entry.volume = volume_text(ml);
    widest = std::max(widest, text_width(entry.name + "   " + entry.volume));
    layout.legend.push_back(std::move(entry));
  }
  const double cell = widest * kLegendSize / kCapitalHeight + 22 + 40;
  const int columns = std::max(1, static_cast<int>((width - 2 * kMargin) / cell));
  const int rows = (static_cast<int>(layout.legend.size()) + columns - 1) / columns;
  constexpr int kRow = 26;
  const int legend_y = kHead + kTitle + tallest + 20;
  const int height = legend_y + std::max(rows, 1) * kRow + 14;
  layout.width = width;
  layout.height = height;
  for (std::size_t i = 0; i < layout.legend.size(); ++i) {
    PreviewLayout::LegendEntry& entry = layout.legend[i];
    const int column = static_cast<int>(i) % columns, row = static_cast<int>(i) / columns;
    const double left = kMargin + column * cell;
    entry.swatch = static_cast<int>(left);
    entry.base = legend_y + row * kRow + 14;
    entry.name_left = left + 22;
    entry.volume_left = left + 22 + (text_width(entry.name) + 5) * kLegendSize / kCapitalHeight + 4;
    entry.volume_right = entry.volume_left + text_width(entry.volume) * kLegendSize / kCapitalHeight;
  }

  Canvas canvas(width, height, kBackground);
  const std::string title = shortened(input.title, (width - 2 * kMargin) / 1.5);
  canvas.text(title, kMargin, 36, 15, kText);
  const std::string convention = "radiological view: the patient's right is on the left";
  const double title_end = kMargin + text_width(title) * 1.5;
  const double convention_width = text_width(convention) * 1.05;
  if (title_end + convention_width + 3 * kMargin < width) {
    canvas.text(convention, width - kMargin, 36, 10.5, kFaint, Canvas::Anchor::right);
  } else {
    canvas.text(convention, kMargin, 58, 10.5, kFaint);
  }
  for (std::size_t i = 0; i < panels.size(); ++i) {
    const Panel& panel = panels[i];
    const char file_axis = "ijk"[view.file_axis[panel.through]];
    const std::string where =
        std::string("slice ") + file_axis + " = " + std::to_string(view.file_index(panel.through, panel.slice));
    const int head = panel.y - 10 - panel.head_room;
    canvas.text(panel.name, panel.head_x, head, 12, kText);
    if (panel.width > 190) {
      canvas.text(where, panel.x + panel.width, head, 10.5, kFaint, Canvas::Anchor::right);
    }
    draw_panel(canvas, view, window, panel, colors);
    layout.views[i] = {panel.name, panel.x, panel.y, panel.width, panel.height, place_letters(panel)};
    draw_letters(canvas, layout.views[i].letters);
  }
  for (const Panel& panel : panels) {
    if (panel.width < kLettersInside || panel.height < kLettersInside) continue;  // it would not stand within
    draw_scale_bar(canvas, panel, scale);
    break;
  }

  if (!any) {
    layout.legend.clear();
    canvas.text("no label found", kMargin, legend_y + 14, kLegendSize, kFaint);
  }
  for (const PreviewLayout::LegendEntry& entry : layout.legend) {
    canvas.fill(entry.swatch, entry.base - 12, 13, 13, entry.color);
    canvas.text(entry.name, entry.name_left, entry.base, kLegendSize, kText);
    canvas.text(entry.volume, entry.volume_left, entry.base, kLegendSize, kFaint);
  }
  canvas.write_png(file);
  return layout;
}

PreviewLayout write_preview(const std::string& path, const PreviewInput& input) {
  require_png(path);
  AtomicFile file(path);
  PreviewLayout layout = draw_preview(file, input);
  file.commit();
  return layout;
}

}  // namespace e2enet::report
