// libFuzzer entry: whatever a DICOM file holds, it is read or refused with an Error; of what is read every frame can be
// asked for. What the stack of its slices makes of places and directions is part of it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "e2enet/error.h"
#include "image/formats/dicom/dicom_reader.h"
#include "input_file.h"

namespace dicom = e2enet::imaging::dicom;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const e2enet::test::InputFile file("image.dcm");
  file.write(bytes, size);
  dicom::Scan scan;
  try {
    scan = dicom::scan({file.path()});
  } catch (const e2enet::Error&) {
    return 0;
  }
  if (!scan.series.empty() && dicom::series_list(scan).empty()) std::abort();
  for (const dicom::Series& series : scan.series) {
    dicom::FrameDecoder decoder(series);
    std::vector<unsigned char> stored;
    std::vector<float> values;
    int decoded = 0;
    for (const dicom::Frame& frame : series.frames) {
      // A header may claim frames beyond any memory; the caller decides what it can hold.
      const std::int64_t pixels = std::int64_t{frame.rows} * frame.columns;
      if (!frame.problem.empty() || pixels > 1 << 18 || ++decoded > 16) continue;
      try {
        decoder.decode(frame, stored);
      } catch (const e2enet::Error&) {
        continue;
      }
      if (stored.size() != static_cast<std::size_t>(pixels * frame.format.bits_allocated / 8)) std::abort();
      values.resize(static_cast<std::size_t>(pixels));
      dicom::to_values(frame.format, stored.data(), pixels, values.data());
    }
    for (const bool allow_uneven : {false, true}) {
      try {
        const dicom::Stack stack = dicom::make_stack(series, {allow_uneven});
        if (stack.order.size() < 2 || stack.geometry.shape[1] < 1 || stack.geometry.shape[2] < 1) std::abort();
        if (!e2enet::imaging::usable(stack.geometry.affine)) std::abort();
      } catch (const e2enet::Error&) {
      }
    }
  }
  return 0;
}
