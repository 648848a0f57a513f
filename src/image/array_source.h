// Voxels in the caller's memory, or given by the caller slice by slice, as float32 slices.
#pragma once

#include <functional>
#include <string>

#include "e2enet/image.h"
#include "image/slice_source.h"

namespace e2enet::imaging {

// A channel of any scalar type and with any strides. Nothing of its size is copied.
class ArraySource : public SliceSource {
 public:
  // `array.data` is not null.
  ArraySource(const ArrayView& array, const Shape& shape, std::string name);
  ArraySource(const float* voxels, const Shape& shape) : ArraySource(ArrayView{voxels}, shape, "") {}

  const Shape& shape() const override { return shape_; }
  std::string name() const override { return name_; }
  // Where it is float32 without gaps.
  const float* view(std::int64_t begin, std::int64_t end) override;
  void read(std::int64_t begin, std::int64_t end, float* out) override;

 private:
  ArrayView array_;
  Shape shape_;
  std::string name_;
  bool plain_ = false;
};

class CallbackSource : public SliceSource {
 public:
  CallbackSource(const SliceReader& reader, int channel, const Shape& shape, std::string name)
      : reader_(reader), channel_(channel), shape_(shape), name_(std::move(name)) {}

  const Shape& shape() const override { return shape_; }
  std::string name() const override { return name_; }
  const float* view(std::int64_t, std::int64_t) override { return nullptr; }
  void read(std::int64_t begin, std::int64_t end, float* out) override { reader_(channel_, begin, end - begin, out); }

 private:
  SliceReader reader_;
  int channel_;
  Shape shape_;
  std::string name_;
};

}  // namespace e2enet::imaging
