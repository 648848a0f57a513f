// From the network's probabilities back to labels on the image's voxels, plane by plane.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "e2enet/volume.h"
#include "prepare/preprocess.h"

namespace e2enet::imaging {

// How probabilities become a label.
struct LabelRule {
  bool regions = false;  // false: the class with the largest probability, the first of equals
  std::vector<int>
      region_order;  // regions: where region r is above 0.5 its value region_order[r] overwrites earlier ones
  int largest_label(int classes) const;
};

// Resamples probabilities to the cropped shape with order 1 and reduces them to labels, one plane across the network's
// D axis at a time: a plane needs one or two planes of probabilities, never the volume. Bits depend on neither the
// order of planes nor threads; different threads may compute different planes at once.
//
//   LabelExport exporter(plan, rule, classes);
//   LabelExport::Workspace workspace(exporter);
//   for (std::int64_t p = 0; p < exporter.planes(); ++p) {
//     const auto [first, count] = exporter.needed(p);
//     ... probabilities of planes first .. first + count - 1 ...
//     exporter.plane(p, slices, class_stride, workspace, labels);
//     exporter.place(p, labels, volume);
//   }
class LabelExport {
 public:
  LabelExport(const PreprocessPlan& plan, const LabelRule& rule, int classes);

  // Planes of the cropped volume along the network's D axis, and their height and width.
  std::int64_t planes() const { return along_[0].output_size; }
  std::int64_t height() const { return along_[1].output_size; }
  std::int64_t width() const { return along_[2].output_size; }
  std::int64_t plane_size() const { return height() * width(); }
  int classes() const { return classes_; }

  struct Needed {
    std::int64_t first, count;  // count is 1 or 2
  };
  Needed needed(std::int64_t plane) const;

  class Workspace {
   public:
    explicit Workspace(const LabelExport& exporter);

   private:
    friend class LabelExport;
    std::vector<double> line_;
    std::vector<float> value_, best_;
  };

  // planes[i] is plane needed(plane).first + i of the probabilities: class c at planes[i] + c * class_stride, rows of
  // the network's H at a distance of row_stride (0: the network's width). Writes height() * width() labels, and where
  // `probabilities` is given, the resampled ones of class c at probabilities + c * plane_size().
  void plane(std::int64_t plane, const float* const* planes, std::int64_t class_stride, std::int64_t row_stride,
             Workspace& workspace, std::uint16_t* labels, float* probabilities = nullptr) const;

  // Where voxel (h, w) of a plane lies in the image: element origin + h * stride_h + w * stride_w of the file's array.
  struct Position {
    std::int64_t origin, stride_h, stride_w;
  };
  Position position(std::int64_t plane) const;

  // Copies a plane's values to their places in an array that holds the image from voxel `first_voxel` on: all of its
  // full shape, or the slices that the plane lies in.
  template <typename From, typename To>
  void place(std::int64_t plane, const From* values, To* image, std::int64_t first_voxel = 0) const {
    const Position at = position(plane);
    for (std::int64_t h = 0; h < height(); ++h) {
      To* to = image + (at.origin - first_voxel + h * at.stride_h);
      const From* from = values + h * width();
      for (std::int64_t w = 0; w < width(); ++w) to[w * at.stride_w] = static_cast<To>(from[w]);
    }
  }

  // True where the planes are slices of the file (across its slowest axis), in `ascending` order of planes or
  // descending: then labels can be written as they come.
  bool planes_are_file_slices(bool* ascending) const;

 private:
  std::array<AxisOperator, 3> along_;  // of the network's frame
  LabelRule rule_;
  int classes_;
  Shape image_shape_, cropped_shape_;
  Box box_;
  AxisMap frame_;
  std::vector<std::int32_t> first_w_;
  std::vector<double> weight0_w_, weight1_w_;
};

// Everything at once: `probabilities` is (classes, plan.shape()); `labels` has the image's full shape and is
// overwritten.
void export_labels(const LabelExport& exporter, const float* probabilities, const Shape& probabilities_shape,
                   std::uint16_t* labels, const Shape& image_shape, int threads);

}  // namespace e2enet::imaging
