#include "image/array_source.h"

#include <cstring>
#include <utility>

#include "base/checked_size.h"
#include "e2enet/error.h"

namespace e2enet {

std::size_t bytes_of(ScalarType type) {
  switch (type) {
    case ScalarType::uint8:
    case ScalarType::int8:
      return 1;
    case ScalarType::uint16:
    case ScalarType::int16:
      return 2;
    case ScalarType::uint32:
    case ScalarType::int32:
    case ScalarType::float32:
      return 4;
    case ScalarType::uint64:
    case ScalarType::int64:
    case ScalarType::float64:
      return 8;
  }
  return 0;
}

namespace imaging {
namespace {

// A row of values of one type, `stride` bytes apart, that need not be aligned.
template <typename Value>
void convert_row(const unsigned char* from, std::ptrdiff_t stride, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    Value value;
    std::memcpy(&value, from + i * stride, sizeof value);
    to[i] = static_cast<float>(value);
  }
}

using RowConverter = void (*)(const unsigned char*, std::ptrdiff_t, std::int64_t, float*);

RowConverter converter(ScalarType type) {
  switch (type) {
    case ScalarType::uint8:
      return convert_row<std::uint8_t>;
    case ScalarType::int8:
      return convert_row<std::int8_t>;
    case ScalarType::uint16:
      return convert_row<std::uint16_t>;
    case ScalarType::int16:
      return convert_row<std::int16_t>;
    case ScalarType::uint32:
      return convert_row<std::uint32_t>;
    case ScalarType::int32:
      return convert_row<std::int32_t>;
    case ScalarType::uint64:
      return convert_row<std::uint64_t>;
    case ScalarType::int64:
      return convert_row<std::int64_t>;
    case ScalarType::float32:
      return convert_row<float>;
    case ScalarType::float64:
      return convert_row<double>;
  }
  throw Error(ErrorCode::internal, "an array of a type without a conversion");
}

}  // namespace

ArraySource::ArraySource(const ArrayView& array, const Shape& shape, std::string name)
    : array_(array), shape_(shape), name_(std::move(name)) {
  const std::size_t bytes = bytes_of(array.type);
  const std::array<std::ptrdiff_t, 3> without_gaps = {
      static_cast<std::ptrdiff_t>(checked_size("a slice of an array", bytes, shape[1], shape[2])),
      static_cast<std::ptrdiff_t>(checked_size("a row of an array", bytes, shape[2])),
      static_cast<std::ptrdiff_t>(bytes)};
  if (array_.strides == std::array<std::ptrdiff_t, 3>{0, 0, 0}) {
    static_cast<void>(checked_size("an array", bytes, shape[0], shape[1], shape[2]));
    array_.strides = without_gaps;
  }
  plain_ = array_.type == ScalarType::float32 && array_.strides == without_gaps &&
           reinterpret_cast<std::uintptr_t>(array_.data) % alignof(float) == 0;
}

const float* ArraySource::view(std::int64_t begin, std::int64_t) {
  return plain_ ? static_cast<const float*>(array_.data) + begin * slice_size() : nullptr;
}

void ArraySource::read(std::int64_t begin, std::int64_t end, float* out) {
  if (plain_) {
    std::memcpy(out, view(begin, end), static_cast<std::size_t>((end - begin) * slice_size()) * sizeof(float));
    return;
  }
  const auto* const data = static_cast<const unsigned char*>(array_.data);
  const RowConverter convert = converter(array_.type);
  for (std::int64_t d = begin; d < end; ++d) {
    for (std::int64_t h = 0; h < shape_[1]; ++h) {
      convert(data + d * array_.strides[0] + h * array_.strides[1], array_.strides[2], shape_[2], out);
      out += shape_[2];
    }
  }
}

}  // namespace imaging
}  // namespace e2enet
