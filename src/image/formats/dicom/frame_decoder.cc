#include "image/formats/dicom/frame_decoder.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/checked_size.h"
#include "e2enet/error.h"
#include "image/formats/dicom/dicom_header.h"
#include "image/formats/dicom/jpeg2000.h"
#include "image/formats/dicom/rle.h"

namespace e2enet::imaging::dicom {
namespace {

constexpr char kPixels[] = ": (7FE0,0010) Pixel Data";
constexpr std::int64_t kMostCompressed = std::int64_t{1} << 30;  // of one frame

struct Compression {
  const char* uid;
  E_TransferSyntax syntax;
  enum class Kind { jpeg, jpeg_ls, rle, jpeg2000 } kind;
};

constexpr Compression kCompressions[] = {
    {"1.2.840.10008.1.2.4.50", EXS_JPEGProcess1, Compression::Kind::jpeg},       // baseline
    {"1.2.840.10008.1.2.4.51", EXS_JPEGProcess2_4, Compression::Kind::jpeg},     // extended, 12 bits
    {"1.2.840.10008.1.2.4.57", EXS_JPEGProcess14, Compression::Kind::jpeg},      // lossless
    {"1.2.840.10008.1.2.4.70", EXS_JPEGProcess14SV1, Compression::Kind::jpeg},   // lossless, first-order prediction
    {"1.2.840.10008.1.2.4.80", EXS_JPEGLSLossless, Compression::Kind::jpeg_ls},  // lossless
    {"1.2.840.10008.1.2.4.81", EXS_JPEGLSLossy, Compression::Kind::jpeg_ls},     // nearly lossless
    {"1.2.840.10008.1.2.4.90", EXS_JPEG2000LosslessOnly, Compression::Kind::jpeg2000},
    {"1.2.840.10008.1.2.4.91", EXS_JPEG2000, Compression::Kind::jpeg2000},
    {"1.2.840.10008.1.2.5", EXS_RLELossless, Compression::Kind::rle},
};

constexpr const char* kNative[] = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99",
                                   "1.2.840.10008.1.2.2"};
constexpr char kBigEndian[] = "1.2.840.10008.1.2.2";

bool is_little_endian() {
  const std::uint16_t one = 1;
  unsigned char first;
  std::memcpy(&first, &one, 1);
  return first == 1;
}

// What a JPEG or JPEG-LS stream's frame header says.
struct JpegClaims {
  bool found = false;
  int precision = 0, rows = 0, columns = 0, components = 0;
};

// Takes fill bytes between markers out, which decoders need not know. Nothing is found where a marker before the frame
// header has no length: none such may be there, and on one of them (TEM) DCMTK 3.6.7 never ends.
JpegClaims jpeg_claims(std::vector<unsigned char>& bytes) {
  JpegClaims claims;
  std::size_t at = 2;  // after SOI
  while (at + 9 < bytes.size() && bytes[at] == 0xff) {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = std::find_if(begin, bytes.end(), [](unsigned char byte) { return byte != 0xff; });
    bytes.erase(begin + 1, end);
    if (at + 9 >= bytes.size()) return claims;
    const int marker = bytes[at + 1];
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd9)) return claims;
    const std::size_t length = static_cast<std::size_t>(bytes[at + 2]) << 8 | bytes[at + 3];
    const bool frame =
        (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) || marker == 0xf7;
    if (frame) {
      claims.found = true;
      claims.precision = bytes[at + 4];
      claims.rows = bytes[at + 5] << 8 | bytes[at + 6];
      claims.columns = bytes[at + 7] << 8 | bytes[at + 8];
      claims.components = bytes[at + 9];
      return claims;
    }
    if (marker == 0xda || length < 2) return claims;  // pixels before any frame header
    at += 2 + length;
  }
  return claims;
}

template <typename Unsigned>
void convert(const PixelFormat& format, const unsigned char* stored, std::int64_t count, float* out) {
  const int shift = format.high_bit + 1 - format.bits_stored;
  const std::uint32_t mask = format.bits_stored == 32 ? 0xffffffffU : (std::uint32_t{1} << format.bits_stored) - 1;
  const std::uint32_t sign = format.is_signed ? std::uint32_t{1} << (format.bits_stored - 1) : 0;
  const bool scaled = format.slope != 1 || format.intercept != 0;
  const float slope = static_cast<float>(format.slope), intercept = static_cast<float>(format.intercept);
  for (std::int64_t i = 0; i < count; ++i) {
    Unsigned word;
    std::memcpy(&word, stored + static_cast<std::size_t>(i) * sizeof word, sizeof word);
    std::uint32_t bits = (static_cast<std::uint32_t>(word) >> shift) & mask;
    if (format.inverted) bits = ~bits & mask;  // the largest becomes the least, of signed numbers too
    const std::int64_t value =
        bits & sign ? static_cast<std::int64_t>(bits) - static_cast<std::int64_t>(mask) - 1 : bits;
    if (!scaled) {
      out[i] = static_cast<float>(value);
    } else if (format.in_float32) {
      out[i] = static_cast<float>(value) * slope + intercept;
    } else {
      out[i] = static_cast<float>(static_cast<double>(value) * format.slope + format.intercept);
    }
  }
}

}  // namespace

struct FrameDecoder::OpenFile {
  OpenFile(std::size_t index_, const std::string& path) : index(index_), bytes(path) {}
  std::size_t index;
  DicomBytes bytes;
};

FrameDecoder::FrameDecoder(const Series& series) : series_(series) { prepare_dcmtk(); }
FrameDecoder::~FrameDecoder() = default;

void FrameDecoder::decode(const Frame& frame, std::vector<unsigned char>& stored) {
  const SourceFile& file = series_.files[frame.file];
  const std::string where = series_.name_of(frame) + kPixels;
  if (!open_ || open_->index != frame.file) {
    open_.reset();
    open_ = std::make_unique<OpenFile>(frame.file, file.path);
  }
  const auto require_unchanged = [&]() {
    if (open_->bytes.state() == file.state) return;
    open_.reset();
    throw Error(ErrorCode::invalid_image, file.path + ": size and modification time: expected those of when the " +
                                              "series was looked through, found others: it changed meanwhile");
  };
  require_unchanged();
  if (file.deflated && open_->bytes.size() == file.state.size) open_->bytes.inflate(file.data_set);

  const std::int64_t pixels = std::int64_t{frame.rows} * frame.columns;
  const std::size_t sample = static_cast<std::size_t>(frame.format.bits_allocated / 8);
  const std::size_t size = checked_size(where.c_str(), pixels, static_cast<std::int64_t>(sample));

  if (!file.encapsulated) {
    if (std::none_of(std::begin(kNative), std::end(kNative),
                     [&](const char* uid) { return file.transfer_syntax == uid; })) {
      throw Error(ErrorCode::invalid_image, file.path + ": (0002,0010) Transfer Syntax UID: expected one that is " +
                                                "read (docs/dicom.md), found " + file.transfer_syntax);
    }
    const std::int64_t begin = static_cast<std::int64_t>(size) * frame.number;
    // Numbers of 32 bits are two words in ascending order whatever the order of bytes in each. Pixels of a byte are
    // stored as they are, or two in a word (OW), the first in its lower byte.
    const bool swap = sample > 1 ? (file.transfer_syntax == kBigEndian) == is_little_endian()
                                 : file.transfer_syntax == kBigEndian && file.words;
    const std::int64_t before = swap && sample == 1 ? begin % 2 : 0;  // of a frame that begins within a word
    const std::int64_t wanted = before + static_cast<std::int64_t>(size);
    const std::int64_t words = std::min(wanted + (swap ? wanted % 2 : 0), file.native.length - begin + before);
    stored.resize(static_cast<std::size_t>(words));
    open_->bytes.read(file.native.offset + begin - before, stored.size(), stored.data());
    if (swap) {
      for (std::size_t i = 0; i + 1 < stored.size(); i += 2) std::swap(stored[i], stored[i + 1]);
    }
    stored.erase(stored.begin(), stored.begin() + static_cast<std::ptrdiff_t>(before));
    stored.resize(size);
    require_unchanged();
    return;
  }

  const auto compression = std::find_if(std::begin(kCompressions), std::end(kCompressions),
                                        [&](const Compression& one) { return file.transfer_syntax == one.uid; });
  if (compression == std::end(kCompressions)) {
    throw Error(ErrorCode::invalid_image, file.path + ": (0002,0010) Transfer Syntax UID: expected one that is read " +
                                              "(docs/dicom.md), found " + file.transfer_syntax);
  }
  const std::size_t first = file.first_fragment[frame.number], end = file.first_fragment[frame.number + 1];
  std::int64_t total = 0;
  for (std::size_t f = first; f < end; ++f) total += file.fragments[f].length;
  if (total > kMostCompressed) {
    throw Error(ErrorCode::invalid_image, where + ": expected at most 1 GiB for a frame, found more");
  }
  std::vector<unsigned char> compressed(static_cast<std::size_t>(total));
  std::size_t at = 0;
  for (std::size_t f = first; f < end; ++f) {
    const std::size_t length = static_cast<std::size_t>(file.fragments[f].length);
    open_->bytes.read(file.fragments[f].offset, length, compressed.data() + at);
    at += length;
  }
  require_unchanged();

  using Kind = Compression::Kind;
  if (compression->kind == Kind::jpeg2000) {
    return decode_jpeg2000(compressed, frame.columns, frame.rows, static_cast<int>(sample), where, stored);
  }
  if (compression->kind == Kind::rle) {
    return decode_rle(compressed, static_cast<std::size_t>(pixels), sample, where, stored);
  }
  const JpegClaims claims = jpeg_claims(compressed);
  const bool fits = claims.found && claims.rows == frame.rows && claims.columns == frame.columns &&
                    claims.components == 1 && claims.precision <= frame.format.bits_allocated &&
                    (claims.precision > 8) == (sample > 1);
  if (!fits) {
    throw Error(ErrorCode::invalid_image,
                where + ": expected a JPEG image of " + std::to_string(frame.columns) + " x " +
                    std::to_string(frame.rows) + " grey pixels of " + (sample > 1 ? "9 to 16" : "at most 8") +
                    " bits, found " +
                    (claims.found ? std::to_string(claims.columns) + " x " + std::to_string(claims.rows) + " of " +
                                        std::to_string(claims.components) + " components and " +
                                        std::to_string(claims.precision) + " bits"
                                  : "none"));
  }

  // DCMTK's codecs work on data sets: one is made of what was checked.
  if (compressed.size() % 2 != 0) compressed.push_back(0);
  DcmDataset data_set;
  data_set.putAndInsertUint16(DCM_SamplesPerPixel, 1);
  data_set.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME2");
  data_set.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(frame.rows));
  data_set.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(frame.columns));
  data_set.putAndInsertUint16(DCM_BitsAllocated, static_cast<Uint16>(frame.format.bits_allocated));
  data_set.putAndInsertUint16(DCM_BitsStored, static_cast<Uint16>(frame.format.bits_stored));
  data_set.putAndInsertUint16(DCM_HighBit, static_cast<Uint16>(frame.format.high_bit));
  data_set.putAndInsertUint16(DCM_PixelRepresentation, frame.format.is_signed ? 1 : 0);
  auto sequence = std::make_unique<DcmPixelSequence>(DcmTag(DCM_PixelData, EVR_OB));
  sequence->insert(new DcmPixelItem(DcmTag(DCM_Item, EVR_OB)));  // an empty offset table; the sequence owns it
  auto* item = new DcmPixelItem(DcmTag(DCM_Item, EVR_OB));
  sequence->insert(item);
  item->putUint8Array(compressed.data(), static_cast<unsigned long>(compressed.size()));
  auto* element = new DcmPixelData(DCM_PixelData);
  element->putOriginalRepresentation(compression->syntax, nullptr, sequence.release());
  data_set.insert(element);
  stored.assign(size + size % 2, 0);
  Uint32 fragment = 1;
  OFString color_model;
  const OFCondition result = element->getUncompressedFrame(&data_set, 0, fragment, stored.data(),
                                                           static_cast<Uint32>(stored.size()), color_model);
  if (result.bad()) {
    throw Error(result == EC_MemoryExhausted ? ErrorCode::out_of_memory : ErrorCode::cannot_read,
                where + ": damaged: " + result.text());
  }
  stored.resize(size);
}

void to_values(const PixelFormat& format, const unsigned char* stored, std::int64_t count, float* out) {
  switch (format.bits_allocated) {
    case 8:
      return convert<std::uint8_t>(format, stored, count, out);
    case 16:
      return convert<std::uint16_t>(format, stored, count, out);
    default:
      return convert<std::uint32_t>(format, stored, count, out);
  }
}

}  // namespace e2enet::imaging::dicom
