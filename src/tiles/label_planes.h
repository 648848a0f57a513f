// From finished slices of probabilities to the slices of labels that leave: planes of labels as soon as all that a
// plane needs is there, put into the image's order.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/checked_size.h"
#include "base/memory_ledger.h"
#include "base/parallel.h"
#include "e2enet/volume.h"
#include "labels/components.h"
#include "labels/label_export.h"
#include "tiles/sliding_window.h"

namespace e2enet::tiles {

// Takes the labels, slice after slice of the image from k = 0, on the calling thread; every voxel of the image is in
// it.
class LabelSink {
 public:
  virtual ~LabelSink() = default;
  virtual void consume(std::int64_t first_slice, std::int64_t slices, const std::uint16_t* labels) = 0;
};

// Planes whose labels are made at a time and wait for the sink, or as many as there are threads, if these are more.
constexpr std::int64_t kPlanesTogether = 16;

// Where finished label planes go: straight to the sink when they are the image's slices in order and nobody needs the
// volume as a whole, into a label volume otherwise.
class LabelCollector {
 public:
  LabelCollector(const imaging::LabelExport& exporter, const Shape& image, const std::vector<int>& largest_component,
                 std::int64_t first_plane_slice, LabelSink& sink)
      : exporter_(exporter), image_(image), components_(largest_component), sink_(sink) {
    bool ascending = false;
    in_order_ = exporter.planes_are_file_slices(&ascending) && ascending && components_.empty();
    first_plane_slice_ = first_plane_slice;
    if (!in_order_) {
      volume_ = AlignedBuffer(checked_size("the label volume", image[0], image[1], image[2], sizeof(std::uint16_t)),
                              "the label volume");
    }
  }

  std::int64_t slice_size() const { return image_[1] * image_[2]; }

  // Planes [first, first + count) of the cropped volume, one after the other.
  void add(std::int64_t first, std::int64_t count, const std::uint16_t* planes) {
    if (!in_order_) {
      for (std::int64_t i = 0; i < count; ++i)
        exporter_.place(first + i, planes + i * exporter_.plane_size(), volume());
      return;
    }
    write_background(first_plane_slice_ + first);
    slices_.assign(checked_count<std::uint16_t>("slices of labels", count, slice_size()), 0);
    const std::int64_t first_voxel = (first_plane_slice_ + first) * slice_size();
    for (std::int64_t i = 0; i < count; ++i) {
      exporter_.place(first + i, planes + i * exporter_.plane_size(), slices_.data(), first_voxel);
    }
    sink_.consume(next_slice_, count, slices_.data());
    next_slice_ += count;
  }

  void finish() {
    if (in_order_) {
      write_background(image_[0]);
      return;
    }
    if (!components_.empty()) imaging::keep_largest_components(volume(), image_, components_);
    sink_.consume(0, image_[0], volume());
  }

 private:
  std::uint16_t* volume() { return reinterpret_cast<std::uint16_t*>(volume_.data()); }

  void write_background(std::int64_t up_to) {
    if (next_slice_ >= up_to) return;
    slices_.assign(std::size_t(slice_size()), 0);
    for (; next_slice_ < up_to; ++next_slice_) sink_.consume(next_slice_, 1, slices_.data());
  }

  const imaging::LabelExport& exporter_;
  Shape image_;
  const std::vector<int>& components_;
  LabelSink& sink_;
  bool in_order_ = false;
  std::int64_t first_plane_slice_ = 0;
  std::int64_t next_slice_ = 0;
  std::vector<std::uint16_t> slices_;
  AlignedBuffer volume_;
};

// Turns finished slices of probabilities into label planes as soon as all that a plane needs is there.
class ExportSlices : public SliceSink {
 public:
  ExportSlices(const imaging::LabelExport& exporter, const imaging::PreprocessPlan& plan, LabelCollector& collector,
               float* probabilities, int threads)
      : exporter_(exporter), collector_(collector), probabilities_(probabilities), threads_(threads) {
    class_stride_ = plan.shape()[1] * plan.shape()[2];
    slice_size_ = class_stride_ * exporter.classes();
    image_voxels_ = plan.geometry().voxels();
    for (int i = 0; i < threads; ++i) workspaces_.emplace_back(exporter);
    if (probabilities_)
      plane_probabilities_.resize(
          checked_count<float>("planes of probabilities", threads, exporter.classes(), exporter.plane_size()));
  }

  void consume(const FinishedSlices& slices) override {
    const auto start = std::chrono::steady_clock::now();
    std::int64_t end = next_plane_;
    while (end < exporter_.planes() && last_needed(end) < slices.end()) ++end;
    const auto slice = [&](std::int64_t d) { return d < slices.begin() ? kept_.data() : slices.slice(int(d)); };
    const std::int64_t batch = std::max(std::int64_t{threads_}, kPlanesTogether);
    while (next_plane_ < end) {
      const std::int64_t count = std::min(batch, end - next_plane_);
      labels_.resize(checked_count<std::uint16_t>("planes of labels", count, exporter_.plane_size()));
      run_team(threads_, [&](const Worker& worker) {
        worker.for_each(count, [&](std::int64_t i) { export_plane(next_plane_ + i, i, slice, worker.thread()); });
      });
      collector_.add(next_plane_, count, labels_.data());
      next_plane_ += count;
    }
    // A plane to come may lie between the last of these slices and the first of the next.
    kept_.assign(slices.slice(slices.end() - 1), slices.slice(slices.end() - 1) + slice_size_);
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  double seconds() const { return seconds_; }

 private:
  std::int64_t last_needed(std::int64_t plane) const {
    const auto needed = exporter_.needed(plane);
    return needed.first + needed.count - 1;
  }

  template <typename Slice>
  void export_plane(std::int64_t plane, std::int64_t index, const Slice& slice, int thread) {
    const auto needed = exporter_.needed(plane);
    const float* planes[2] = {slice(needed.first), slice(needed.first + needed.count - 1)};
    const std::int64_t plane_size = exporter_.plane_size();
    float* probabilities = probabilities_
                               ? plane_probabilities_.data() + std::int64_t{thread} * exporter_.classes() * plane_size
                               : nullptr;
    exporter_.plane(plane, planes, class_stride_, 0, workspaces_[std::size_t(thread)],
                    labels_.data() + index * plane_size, probabilities);
    for (std::int64_t c = 0; probabilities && c < exporter_.classes(); ++c) {
      exporter_.place(plane, probabilities + c * plane_size, probabilities_ + c * image_voxels_);
    }
  }

  const imaging::LabelExport& exporter_;
  LabelCollector& collector_;
  float* probabilities_;
  int threads_;
  std::int64_t class_stride_ = 0;
  std::int64_t slice_size_ = 0;
  std::int64_t image_voxels_ = 0;
  std::int64_t next_plane_ = 0;
  std::vector<imaging::LabelExport::Workspace> workspaces_;
  std::vector<float> plane_probabilities_;
  std::vector<std::uint16_t> labels_;
  std::vector<float> kept_;
  double seconds_ = 0;
};

// What is known of the labels before the work: what the two above hold.
struct LabelPlanes {
  Shape image{0, 0, 0};
  Shape cropped{0, 0, 0};    // in the network's frame
  double network_slice = 0;  // voxels
  int classes = 0;
  int threads = 1;
  bool in_order = false;       // the network's planes are the image's slices, in order
  bool components = false;     // only largest components are kept
  bool probabilities = false;  // are wanted too
};
void book_label_planes(const LabelPlanes& planes, MemoryLedger& ledger);

}  // namespace e2enet::tiles
