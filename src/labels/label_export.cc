#include "labels/label_export.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/parallel.h"
#include "e2enet/error.h"
#include "prepare/line_kernels.h"

namespace e2enet::imaging {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

int LabelRule::largest_label(int classes) const {
  return regions ? *std::max_element(region_order.begin(), region_order.end()) : classes - 1;
}

LabelExport::LabelExport(const PreprocessPlan& plan, const LabelRule& rule, int classes)
    : along_(plan.export_operators()),
      rule_(rule),
      classes_(classes),
      image_shape_(plan.geometry().shape),
      cropped_shape_(plan.cropped_shape()),
      box_(plan.box()),
      frame_(plan.frame()) {
  if (rule_.regions && static_cast<int>(rule_.region_order.size()) != classes) {
    throw Error(ErrorCode::invalid_argument, "region_order: expected " + std::to_string(classes) +
                                                 " labels, one a region, found " +
                                                 std::to_string(rule_.region_order.size()));
  }
  // Two taps for every column, so that the loop over columns is the same for all.
  const AxisOperator& along_w = along_[2];
  for (std::int64_t w = 0; w < along_w.output_size; ++w) {
    first_w_.push_back(static_cast<std::int32_t>(along_w.first[index(w)]));
    weight0_w_.push_back(along_w.row(w)[0]);
    weight1_w_.push_back(along_w.taps > 1 ? along_w.row(w)[1] : 0.0);
  }
}

LabelExport::Needed LabelExport::needed(std::int64_t plane) const {
  return {along_[0].first[index(plane)], along_[0].taps};
}

LabelExport::Workspace::Workspace(const LabelExport& exporter)
    : line_(index(exporter.along_[2].input_size + 1), 0.0),
      value_(index(exporter.width())),
      best_(index(exporter.width())) {}

void LabelExport::plane(std::int64_t plane, const float* const* planes, std::int64_t class_stride,
                        std::int64_t row_stride, Workspace& workspace, std::uint16_t* labels,
                        float* probabilities) const {
  const AxisOperator &along_d = along_[0], &along_h = along_[1], &along_w = along_[2];
  if (row_stride == 0) row_stride = along_w.input_size;
  const double z0 = along_d.row(plane)[0], z1 = along_d.taps > 1 ? along_d.row(plane)[1] : 0.0;
  const float* plane0 = planes[0];
  const float* plane1 = along_d.taps > 1 ? planes[1] : planes[0];
  double* line = workspace.line_.data();
  for (std::int64_t h = 0; h < height(); ++h) {
    const double y0 = along_h.row(h)[0], y1 = along_h.taps > 1 ? along_h.row(h)[1] : 0.0;
    const std::int64_t row0 = along_h.first[index(h)] * row_stride;
    const std::int64_t row1 = along_h.taps > 1 ? row0 + row_stride : row0;
    std::uint16_t* out = labels + h * width();
    std::fill(out, out + width(), std::uint16_t{0});
    float* best = workspace.best_.data();
    for (int c = 0; c < classes_; ++c) {
      const std::int64_t at = c * class_stride;
      blend_rows(plane0 + at + row0, plane0 + at + row1, plane1 + at + row0, plane1 + at + row1, z0, z1, y0, y1,
                 along_w.input_size, line);
      // In argmax the first class is the one to beat; the labels are already 0.
      float* value = probabilities              ? probabilities + c * plane_size() + h * width()
                     : c == 0 && !rule_.regions ? best
                                                : workspace.value_.data();
      gather_linear(line, first_w_.data(), weight0_w_.data(), weight1_w_.data(), width(), value);
      if (rule_.regions) {
        const std::uint16_t label = static_cast<std::uint16_t>(rule_.region_order[index(c)]);
        for (std::int64_t w = 0; w < width(); ++w) out[w] = value[w] > 0.5f ? label : out[w];
      } else if (c == 0) {
        if (value != best) std::copy(value, value + width(), best);
      } else {
        keep_larger(value, static_cast<std::uint16_t>(c), width(), best, out);
      }
    }
  }
}

LabelExport::Position LabelExport::position(std::int64_t plane) const {
  const std::int64_t file_strides[3] = {image_shape_[1] * image_shape_[2], image_shape_[2], 1};
  Position position{0, 0, 0};
  std::int64_t strides[3];
  for (std::size_t a = 0; a < 3; ++a) {
    const std::size_t f = index(frame_.source[a]);
    const std::int64_t start = frame_.flip[a] ? box_.end[f] - 1 : box_.begin[f];
    strides[a] = frame_.flip[a] ? -file_strides[f] : file_strides[f];
    position.origin += start * file_strides[f];
  }
  position.origin += plane * strides[0];
  position.stride_h = strides[1];
  position.stride_w = strides[2];
  return position;
}

bool LabelExport::planes_are_file_slices(bool* ascending) const {
  if (ascending) *ascending = !frame_.flip[0];
  return frame_.source[0] == 0;
}

void export_labels(const LabelExport& exporter, const float* probabilities, const Shape& probabilities_shape,
                   std::uint16_t* labels, const Shape& image_shape, int threads) {
  const std::int64_t plane_size = probabilities_shape[1] * probabilities_shape[2];
  const std::int64_t class_stride = probabilities_shape[0] * plane_size;
  std::fill(labels, labels + image_shape[0] * image_shape[1] * image_shape[2], std::uint16_t{0});
  if (threads <= 0) threads = available_threads();
  struct PerThread {
    explicit PerThread(const LabelExport& exporter)
        : workspace(exporter), labels(static_cast<std::size_t>(exporter.plane_size())) {}
    LabelExport::Workspace workspace;
    std::vector<std::uint16_t> labels;
  };
  std::vector<PerThread> per_thread(static_cast<std::size_t>(threads), PerThread(exporter));
  run_team(threads, [&](const Worker& worker) {
    PerThread& mine = per_thread[static_cast<std::size_t>(worker.thread())];
    worker.for_each(exporter.planes(), [&](std::int64_t p) {
      const LabelExport::Needed needed = exporter.needed(p);
      const float* planes[2] = {probabilities + needed.first * plane_size,
                                probabilities + (needed.first + needed.count - 1) * plane_size};
      exporter.plane(p, planes, class_stride, 0, mine.workspace, mine.labels.data());
      exporter.place(p, mine.labels.data(), labels);
    });
  });
}

}  // namespace e2enet::imaging
