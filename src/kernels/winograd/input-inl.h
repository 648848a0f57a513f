// Step 1 of an item: its source pixels, activated, shifted and transformed, into the slab.
#if defined(E2ENET_KERNELS_WINOGRAD_INPUT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_WINOGRAD_INPUT_INL_H
#undef E2ENET_KERNELS_WINOGRAD_INPUT_INL_H
#else
#define E2ENET_KERNELS_WINOGRAD_INPUT_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/platform/processor.h"
#include "kernels/convolution.h"
#include "kernels/vector-inl.h"
#include "kernels/winograd/plan.h"
#include "kernels/winograd/transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
namespace winograd_kernels {

using winograd::ItemRegion;
using winograd::Plan;

// The input rows of a tile row, of one channel.
template <typename T, typename Form>
struct InputRows {
  const T* row[Form::kPatch];  // rows outside the patch point to some row inside
  bool inside[Form::kPatch];
  std::uintptr_t next;  // bytes to the next channel, to prefetch; imprecise where that is another source
  bool all_inside;
};

// Every kEvery-th element: lanes [first, last) from memory, 0 elsewhere; nothing else is read.
template <int kEvery, typename T>
HWY_INLINE FloatVector load_lanes(Floats d, const T* from, int first, int last) {
  HWY_ALIGN T padded[HWY_MAX_BYTES / sizeof(float)] = {};
  for (int i = first; i < last; ++i) padded[i] = from[kEvery * i];
  return load_elements(d, padded);
}

// Where load_between() exists for the element.
#if E2ENET_FLOAT_MASKS
template <int kEvery, typename T>
HWY_INLINE FloatVector load_masked(Floats d, const T* from, int first, int last) {
  if constexpr (kEvery == 1) return load_between(d, from, first, last);
  const int lanes = static_cast<int>(hn::Lanes(d));
  const auto part = [&](int begin) HWY_ATTR {
    const int low = std::clamp(2 * first - begin, 0, lanes);
    return load_between(d, from + begin, low, std::clamp(2 * last - 1 - begin, low, lanes));
  };
  return hn::ConcatEven(d, part(lanes), part(0));
}

template <int kEvery>
HWY_INLINE FloatVector load_lanes(Floats d, const float* from, int first, int last) {
  return load_masked<kEvery>(d, from, first, last);
}
#endif

#if E2ENET_MASKS
template <int kEvery>
HWY_INLINE FloatVector load_lanes(Floats d, const std::uint16_t* from, int first, int last) {
  return load_masked<kEvery>(d, from, first, last);
}
#endif

// All lanes. Reads the element after the last one too, if kEvery is 2.
template <int kEvery, typename T>
HWY_INLINE FloatVector load_vector(Floats d, const T* from) {
  const FloatVector low = load_elements(d, from);
  if constexpr (kEvery == 1) return low;
#if E2ENET_ONE_LANE
  return low;
#else
  return hn::ConcatEven(d, load_elements(d, from + hn::Lanes(d)), low);
#endif
}

// Whether a vector of every kEvery-th element, `element` elements after the first one, begins a cache line of its own:
// vectors may be shorter, and a line is asked for once.
template <int kEvery, typename T>
HWY_INLINE bool begins_line(std::ptrdiff_t element) {
  constexpr std::ptrdiff_t kLine = kCacheLine / sizeof(T);
  return kEvery * static_cast<std::ptrdiff_t>(hn::Lanes(Floats())) >= kLine || element % kLine == 0;
}

// Prefetches what lies `next` bytes and `elements` elements after `from`. In whole numbers, since the next channel may
// be another source's, and pointers into different blocks of memory have no difference.
template <typename T>
HWY_INLINE void prefetch_next(const T* from, std::uintptr_t next, std::ptrdiff_t elements) {
  // The first level is too small, and rows that lie a power of two apart share its sets.
  E2ENET_PREFETCH_TO_LEVEL2(reinterpret_cast<const T*>(reinterpret_cast<std::uintptr_t>(from) + next +
                                                       static_cast<std::uintptr_t>(elements) * sizeof(T)));
}

// A constant, so that the addresses of a column's six vectors need a single register.
template <typename Form>
HWY_INLINE std::size_t stage_row_stride() {
  return winograd::stage_row_vectors<Form>(hn::MaxLanes(Floats())) * hn::Lanes(Floats());
}

// A vector of each transformed row to one column of the stage.
template <typename Form>
HWY_INLINE void store_column(const PatchVectors<Form>& t, float* to) {
  const Floats d;
  E2ENET_UNROLL(9)
  for (int i = 0; i < Form::kPatch; ++i) hn::StoreU(t[i], d, to + i * stage_row_stride<Form>());
}

// Whether all lanes have an input and load_vector() reads nothing beyond the pixel.
template <int kEvery>
HWY_INLINE bool reads_whole_vector(int depth, int first_depth, int shift, int first_lane, int last_lane) {
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  return first_lane == 0 && last_lane == lanes && kEvery * (first_depth + lanes) - shift <= depth;
}

// Pixel columns of the item that are inside the patch: [first, end).
struct Columns {
  int first;
  int end;
};
template <typename Form>
HWY_INLINE Columns columns_inside(const Plan& plan, const ItemRegion& region) {
  return {region.first_tile == 0 ? 1 : 0,
          std::min(plan.columns(), plan.shape.input.width + 1 - Form::kStep * region.first_tile)};
}

// All ones where a row is inside the patch.
template <typename T, typename Form>
HWY_INLINE void find_rows_inside(const InputRows<T, Form>& rows, PatchVectors<Form>& inside) {
  const Floats d;
  const FloatVector ones = hn::BitCast(d, hn::Set(hn::RebindToSigned<Floats>(), -1));
  for (int i = 0; i < Form::kPatch; ++i) inside[i] = rows.inside[i] ? ones : hn::Zero(d);
}

// Transforms vector `part` of each pixel's depth segment along H.
// kEvery: stride along depth. kWhole: all rows and all lanes are inside the patch.
template <typename Form, int kEvery, typename T, bool kActivate, bool kWhole>
void stage_part(const Plan& plan, const ItemRegion& region, int part, int shift, const InputRows<T, Form>& rows,
                const ActivationVectors& activation, int first_lane, int last_lane, float* stage) {
  constexpr int kPatch = Form::kPatch;
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const std::ptrdiff_t depth = plan.shape.input.depth;
  const std::ptrdiff_t segment = plan.tiling.depth_segment;
  const Columns columns = columns_inside<Form>(plan, region);

  PatchVectors<Form> inside;
  if constexpr (!kWhole) {
    const auto lanes_inside = hn::AndNot(hn::FirstN(d, first_lane), hn::FirstN(d, last_lane));
    find_rows_inside(rows, inside);
    for (int i = 0; i < kPatch; ++i) inside[i] = hn::IfThenElseZero(lanes_inside, inside[i]);
  }
  const bool all_lanes = reads_whole_vector<kEvery>(plan.shape.input.depth, region.first_depth + part * lanes, shift,
                                                    first_lane, last_lane);

  // Copies, since the compiler must assume that storing vectors may change the originals.
  const ActivationVectors activate = activation;
  const std::ptrdiff_t begin = (Form::kStep * region.first_tile - 1) * depth +
                               kEvery * (region.first_depth + std::ptrdiff_t{part} * lanes) - shift;
  const T* row[kPatch];
  E2ENET_UNROLL(9)
  for (int i = 0; i < kPatch; ++i) row[i] = rows.row[i] + begin;
  // A shifted segment of whole cache lines reads one line more.
  const bool fetch = begins_line<kEvery, T>(std::ptrdiff_t{kEvery} * part * lanes);
  const bool last_line = shift != 0 && (part + 1) * lanes == segment;

  float* to = stage + columns.first * segment + part * lanes;
  for (int column = columns.first; column < columns.end; ++column, to += segment) {
    const std::ptrdiff_t at = column * depth;
    const T* from[kPatch];
    E2ENET_UNROLL(9)
    for (int i = 0; i < kPatch; ++i) {
      from[i] = row[i] + at;
      if (!fetch) continue;
      E2ENET_UNROLL(2)
      for (int line = 0; line < kEvery; ++line) {
        prefetch_next(from[i], rows.next, line * lanes);
        hwy::Prefetch(from[i] + 2 * depth + line * lanes);  // two pixels ahead, from the second-level cache
      }
    }
    if (last_line) {
      E2ENET_UNROLL(9)
      for (int i = 0; i < kPatch; ++i) prefetch_next(from[i], rows.next, kEvery * lanes - 1);
    }
    PatchVectors<Form> x, t;
    E2ENET_UNROLL(9)
    for (int i = 0; i < kPatch; ++i) {
      if constexpr (kWhole) {
        x[i] = load_vector<kEvery>(d, from[i]);
        if constexpr (kActivate) x[i] = activate(x[i]);
      } else {
        x[i] = all_lanes ? load_vector<kEvery>(d, from[i]) : load_lanes<kEvery>(d, from[i], first_lane, last_lane);
        if constexpr (kActivate) x[i] = activate(x[i]);
        x[i] = hn::And(x[i], inside[i]);
      }
    }
    transform_input<Form>(x, t);
    store_column<Form>(t, to);
  }
}

// Vectors shorter than a cache line: the parts of a pixel follow each other, so that each line is read at once and the
// processor sees streams. Longer ones take a part of every pixel in turn.
constexpr bool kShortVectors = HWY_MAX_BYTES < kCacheLine;

// Lanes that some elements are, each kEvery-th being one.
template <int kEvery>
HWY_INLINE int divide_up(int value) {
  return value >= 0 ? (value + kEvery - 1) / kEvery : 0;
}

// Transforms `count` consecutive lanes, each depth of some pixels, along H. Lane 0 reads element `first` of the rows,
// of `elements`, and what follows lane `count` in its vector becomes 0. kWhole: all rows are inside the patch and no
// lane within the run reads beyond its pixel.
template <typename Form, int kEvery, typename T, bool kActivate, bool kWhole>
void stage_run(const InputRows<T, Form>& rows, int first, int elements, int count, const std::uint64_t* depths_inside,
               const ActivationVectors& activation, float* stage) {
  constexpr int kPatch = Form::kPatch;
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const std::uint64_t all_depths = (std::uint64_t{1} << lanes) - 1;
  // Copies, since the compiler must assume that storing vectors may change the originals.
  const ActivationVectors activate = activation;
  PatchVectors<Form> rows_inside;
  if constexpr (!kWhole) find_rows_inside(rows, rows_inside);
  const T* row[kPatch];
  E2ENET_UNROLL(9)
  for (int i = 0; i < kPatch; ++i) row[i] = rows.row[i] + first;

  for (int lane = 0; lane < count; lane += lanes) {
    const std::ptrdiff_t at = std::ptrdiff_t{kEvery} * lane;
    const int element = first + kEvery * lane;
    const bool all_lanes = element >= 0 && element + kEvery * lanes <= elements && lane + lanes <= count;
    PatchVectors<Form> x, t;
    if (begins_line<kEvery, T>(at)) {
      E2ENET_UNROLL(9)
      for (int i = 0; i < kPatch; ++i) {
        E2ENET_UNROLL(2)
        for (int line = 0; line < kEvery; ++line) prefetch_next(row[i], rows.next, at + line * lanes);
      }
    }
    if (all_lanes) {
      E2ENET_UNROLL(9)
      for (int i = 0; i < kPatch; ++i) {
        x[i] = load_vector<kEvery>(d, row[i] + at);
        if constexpr (kActivate) x[i] = activate(x[i]);
      }
    } else {
      const int first_lane = std::min(divide_up<kEvery>(-element), lanes);
      const int last_lane =
          std::clamp(std::min(divide_up<kEvery>(elements - element), count - lane), first_lane, lanes);
      const auto inside = hn::FirstN(d, last_lane);
      E2ENET_UNROLL(9)
      for (int i = 0; i < kPatch; ++i) {
        x[i] = load_lanes<kEvery>(d, row[i] + at, first_lane, last_lane);
        if constexpr (kActivate) x[i] = activate(x[i]);
        x[i] = hn::IfThenElseZero(inside, x[i]);
      }
    }
    // Without registers for masks most vectors are worth a look whether they need one.
    if (!kWhole && !(kShortVectors && rows.all_inside && depths_inside[lane / lanes] == all_depths)) {
      const auto inside = hn::LoadMaskBits(d, reinterpret_cast<const std::uint8_t*>(depths_inside + lane / lanes));
      E2ENET_UNROLL(9)
      for (int i = 0; i < kPatch; ++i) x[i] = hn::IfThenElseZero(inside, hn::And(x[i], rows_inside[i]));
    }
    transform_input<Form>(x, t);
    store_column<Form>(t, stage + lane);
  }
}

template <typename Form, int kEvery, typename T, bool kActivate>
void stage_segments(const Plan& plan, const ItemRegion& region, int shift, const InputRows<T, Form>& rows,
                    const ActivationVectors& activate, float* stage) {
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const int depth = plan.shape.input.depth;
  int whole_begin = 0, whole_end = 0;  // parts that follow each other and are left to the loop over pixels
  for (int part = 0; part < plan.tiling.depth_segment / lanes; ++part) {
    // Lane i reads input depth kEvery * (first_depth + i) - shift.
    const int first_depth = region.first_depth + part * lanes;
    const int first_lane = std::clamp(divide_up<kEvery>(shift - kEvery * first_depth), 0, lanes);
    const int last_lane =
        std::clamp(std::min(divide_up<kEvery>(depth + shift - kEvery * first_depth), plan.output.depth - first_depth),
                   first_lane, lanes);
    if (rows.all_inside && reads_whole_vector<kEvery>(depth, first_depth, shift, first_lane, last_lane)) {
      if constexpr (kShortVectors) {
        if (whole_begin == whole_end) whole_begin = part;
        whole_end = part + 1;
      } else {
        stage_part<Form, kEvery, T, kActivate, true>(plan, region, part, shift, rows, activate, 0, lanes, stage);
      }
    } else {
      stage_part<Form, kEvery, T, kActivate, false>(plan, region, part, shift, rows, activate, first_lane, last_lane,
                                                    stage);
    }
  }
  if (whole_begin == whole_end) return;
  const Columns columns = columns_inside<Form>(plan, region);
  for (int column = columns.first; column < columns.end; ++column) {
    const int first = (Form::kStep * region.first_tile - 1 + column) * depth +
                      kEvery * (region.first_depth + whole_begin * lanes) - shift;
    stage_run<Form, kEvery, T, kActivate, true>(rows, first, plan.shape.input.width * depth,
                                                (whole_end - whole_begin) * lanes, nullptr, activate,
                                                stage + column * plan.tiling.depth_segment + whole_begin * lanes);
  }
}

template <typename Form, int kEvery, typename T, bool kActivate>
void stage_pixels(const Plan& plan, const ItemRegion& region, int shift, const std::uint64_t* depths_inside,
                  const InputRows<T, Form>& rows, const ActivationVectors& activate, float* stage) {
  const int depth = plan.shape.input.depth;
  const int staged_depth = plan.tiling.depth_segment;
  const Columns columns = columns_inside<Form>(plan, region);
  // Pixels of the stage follow each other as those of the source do, unless every second depth is one more than half.
  const int run = depth == kEvery * staged_depth ? columns.end - columns.first : 1;
  for (int column = columns.first; column < columns.end; column += run) {
    const int first = (Form::kStep * region.first_tile - 1 + column) * depth - shift;
    const int elements = plan.shape.input.width * depth;
    float* to = stage + column * staged_depth;
    if (rows.all_inside && shift == 0) {
      stage_run<Form, kEvery, T, kActivate, true>(rows, first, elements, run * staged_depth, depths_inside, activate,
                                                  to);
    } else {
      stage_run<Form, kEvery, T, kActivate, false>(rows, first, elements, run * staged_depth, depths_inside, activate,
                                                   to);
    }
  }
}

// `concatenated`: the channel's number among those of all sources.
template <typename Form, int kEvery, typename T, bool kActivate>
HWY_INLINE void stage_rows(const Plan& plan, const ItemRegion& region, int concatenated, const InputRows<T, Form>& rows,
                           const ActivationVectors& activate, float* stage) {
  const int shift = plan.shift[concatenated];
  if (plan.tiling.flat) {
    stage_pixels<Form, kEvery, T, kActivate>(plan, region, shift, plan.depths_inside_of(concatenated), rows, activate,
                                             stage);
  } else {
    stage_segments<Form, kEvery, T, kActivate>(plan, region, shift, rows, activate, stage);
  }
}

// From the stage along W into the slab, at `slab` for position 0: the lanes of one vector.
// kPieces: how many tiles they belong to; 0: `count`, any number.
template <typename Form, int kPieces>
HWY_INLINE void transform_vector(const float* stage, std::ptrdiff_t pixel, const winograd::StagePiece* pieces,
                                 int count, float* slab, std::size_t stride) {
  const Floats d;
  const int last = (kPieces > 0 ? kPieces : count) - 1;
  const auto before_last = hn::FirstN(d, last > 0 ? pieces[last - 1].end : 0);
  for (int i = 0; i < Form::kPatch; ++i) {
    PatchVectors<Form> x, t;
    E2ENET_UNROLL(9)
    for (int j = 0; j < Form::kPatch; ++j) {
      const float* from = stage + i * stage_row_stride<Form>() + j * pixel;
      x[j] = hn::LoadU(d, from + pieces[last].offset);
      if constexpr (kPieces != 1)
        x[j] = hn::IfThenElse(before_last, hn::LoadU(d, from + pieces[last - 1].offset), x[j]);
      if constexpr (kPieces == 0) {
        for (int p = last - 2; p >= 0; --p) {
          x[j] = hn::IfThenElse(hn::FirstN(d, pieces[p].end), hn::LoadU(d, from + pieces[p].offset), x[j]);
        }
      }
    }
    transform_input<Form>(x, t);
    float* to = slab + i * Form::kPatch * stride;
    E2ENET_UNROLL(9)
    for (int j = 0; j < Form::kPatch; ++j) hn::Store(t[j], d, to + j * stride);
  }
}

template <typename Form>
HWY_INLINE void transform_stage(const Plan& plan, const float* stage, float* slab) {
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const std::ptrdiff_t pixel = plan.tiling.depth_segment;
  const std::size_t stride = plan.region_stride;
  for (int v = 0; v < plan.tiling.vectors; ++v, slab += lanes) {
    const winograd::StagePiece* pieces = plan.pieces.data() + plan.piece_begin[v];
    const int count = static_cast<int>(plan.piece_begin[v + 1] - plan.piece_begin[v]);
    if (count == 1) {
      transform_vector<Form, 1>(stage, pixel, pieces, count, slab, stride);
    } else if (count == 2) {
      transform_vector<Form, 2>(stage, pixel, pieces, count, slab, stride);
    } else {
      transform_vector<Form, 0>(stage, pixel, pieces, count, slab, stride);
    }
  }
}

// Element offsets, in a channel, of the rows that an item reads. A row outside the patch gets the offset of the nearest
// one inside.
void find_rows(const Plan& plan, const ItemRegion& region, const Feature& feature, std::ptrdiff_t* offset) {
  const int first = plan.step * region.first_tile_row - 1;
  const int last = std::min(plan.shape.input.height, first + plan.shape.stride.height * (region.rows - 1) + 3) - 1;
  for (int i = 0; i < plan.rows_read(); ++i) {
    offset[i] = feature.element_offset(0, std::clamp(first + i, std::max(first, 0), last));
  }
}

// `channel` is the number in the source. `next` is where the next channel to be transformed begins, and `next_offset`
// its rows.
template <typename Form, int kEvery, typename T>
void transform_channel(const Plan& plan, const ItemRegion& region, const Source& source, int channel, int concatenated,
                       const std::ptrdiff_t* offset, const T* next, const std::ptrdiff_t* next_offset, float* stage,
                       float* slab) {
  const T* data = static_cast<const T*>(source.feature.data) + channel * source.feature.channel_stride;
  const ActivationVectors activate = activation_of(Floats(), source.activation, channel);
  for (int tile_row = 0; tile_row < plan.tiling.tile_rows; ++tile_row) {
    const int first = Form::kStep * (region.first_tile_row + tile_row) - 1;
    InputRows<T, Form> rows;
    rows.all_inside = first >= 0 && first + Form::kPatch <= plan.shape.input.height;
    for (int i = 0; i < Form::kPatch; ++i) {
      rows.inside[i] = first + i >= 0 && first + i < plan.shape.input.height;
      rows.row[i] = data + offset[Form::kStep * tile_row + i];
    }
    rows.next = reinterpret_cast<std::uintptr_t>(next + next_offset[Form::kStep * tile_row]) -
                reinterpret_cast<std::uintptr_t>(rows.row[0]);
    float* to = stage + std::ptrdiff_t{tile_row} * plan.columns() * plan.tiling.depth_segment;
    if (source.activation.scale != nullptr) {
      stage_rows<Form, kEvery, T, true>(plan, region, concatenated, rows, activate, to);
    } else {
      stage_rows<Form, kEvery, T, false>(plan, region, concatenated, rows, activate, to);
    }
  }
  transform_stage<Form>(plan, stage, slab);
}

template <typename Form, int kEvery, typename T>
void transform_source(const Plan& plan, const ItemRegion& region, const Source& source, int channels, int first_channel,
                      const std::ptrdiff_t* offset, const Source& next_source, const std::ptrdiff_t* next_offset,
                      float* stage, float* slab) {
  const std::size_t channel_floats = std::size_t(plan.tiling.vectors) * plan.unit.lanes;
  for (int c = 0; c < channels; ++c) {
    const bool last = c + 1 == channels;
    const T* next = last ? static_cast<const T*>(next_source.feature.data)
                         : static_cast<const T*>(source.feature.data) + (c + 1) * source.feature.channel_stride;
    transform_channel<Form, kEvery>(plan, region, source, c, first_channel + c, offset, next,
                                    last ? next_offset : offset, stage, slab + (first_channel + c) * channel_floats);
  }
}

template <typename Form, int kEvery>
void transform_sources(const Plan& plan, const ItemRegion& region, const Source* sources, float* scratch) {
  float* stage = scratch + plan.stage_offset;
  float* slab = scratch + plan.region_stride;
  // Pixels outside the patch, for all channels; and lanes that no pixel fills must hold numbers.
  std::memset(stage, 0, Form::kPatch * stage_row_stride<Form>() * sizeof(float));

  auto* offset = reinterpret_cast<std::ptrdiff_t*>(scratch + plan.rows_offset);
  std::ptrdiff_t* next_offset = offset + plan.rows_read();
  const std::size_t count = plan.shape.source_channels.size();
  int channel = 0;
  find_rows(plan, region, sources[0].feature, offset);
  for (std::size_t s = 0; s < count; ++s) {
    const Source& next = sources[s + 1 < count ? s + 1 : s];
    find_rows(plan, region, next.feature, next_offset);
    const int channels = plan.shape.source_channels[s];
    if (sources[s].feature.element == Element::f32) {
      transform_source<Form, kEvery, float>(plan, region, sources[s], channels, channel, offset, next, next_offset,
                                            stage, slab);
    } else {
      transform_source<Form, kEvery, std::uint16_t>(plan, region, sources[s], channels, channel, offset, next,
                                                    next_offset, stage, slab);
    }
    channel += channels;
    std::swap(offset, next_offset);
  }
}

void transform_inputs(const Plan& plan, const ItemRegion& region, const Source* sources, float* scratch) {
  if (!plan.strided) return transform_sources<Unstrided, 1>(plan, region, sources, scratch);
  if (plan.shape.stride.depth == 1) return transform_sources<Strided, 1>(plan, region, sources, scratch);
  transform_sources<Strided, 2>(plan, region, sources, scratch);
}

}  // namespace winograd_kernels
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
