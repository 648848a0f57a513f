#include "image/formats/dicom/jpeg2000.h"

#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "e2enet/error.h"

namespace e2enet::imaging::dicom {
namespace {

struct Input {
  const std::vector<unsigned char>* bytes;
  std::size_t at;
};

OPJ_SIZE_T read_input(void* buffer, OPJ_SIZE_T wanted, void* user) {
  Input& input = *static_cast<Input*>(user);
  const std::size_t count = std::min<std::size_t>(wanted, input.bytes->size() - input.at);
  if (count == 0) return static_cast<OPJ_SIZE_T>(-1);
  std::memcpy(buffer, input.bytes->data() + input.at, count);
  input.at += count;
  return count;
}

OPJ_OFF_T skip_input(OPJ_OFF_T wanted, void* user) {
  Input& input = *static_cast<Input*>(user);
  if (wanted < 0) return -1;
  const std::size_t count = static_cast<std::size_t>(
      std::min<std::uint64_t>(static_cast<std::uint64_t>(wanted), input.bytes->size() - input.at));
  input.at += count;
  return static_cast<OPJ_OFF_T>(count);
}

OPJ_BOOL seek_input(OPJ_OFF_T wanted, void* user) {
  Input& input = *static_cast<Input*>(user);
  if (wanted < 0 || static_cast<std::uint64_t>(wanted) > input.bytes->size()) return OPJ_FALSE;
  input.at = static_cast<std::size_t>(wanted);
  return OPJ_TRUE;
}

void keep_message(const char* message, void* user) {
  std::string& first = *static_cast<std::string*>(user);
  if (!first.empty()) return;
  first = message;
  while (!first.empty() && (first.back() == '\n' || first.back() == ' ')) first.pop_back();
}
void no_message(const char*, void*) {}

// The number of components as the codestream's SIZ marker says, which comes first; 0 where there is none. OpenJPEG
// takes memory for every component and tile that a header claims.
struct Claims {
  std::uint32_t width = 0, height = 0, tile_width = 0, tile_height = 0, components = 0;
};

Claims claims_of(const std::vector<unsigned char>& bytes) {
  const unsigned char mark[] = {0xff, 0x4f, 0xff, 0x51};
  const auto found = std::search(bytes.begin(), bytes.end(), mark, mark + 4);
  if (bytes.end() - found < 42) return {};
  const auto u32 = [&](std::ptrdiff_t at) {
    return static_cast<std::uint32_t>(found[at]) << 24 | static_cast<std::uint32_t>(found[at + 1]) << 16 |
           static_cast<std::uint32_t>(found[at + 2]) << 8 | static_cast<std::uint32_t>(found[at + 3]);
  };
  Claims claims;
  const std::uint32_t width = u32(8), height = u32(12), x = u32(16), y = u32(20);
  if (x > width || y > height) return {};
  claims.width = width - x;
  claims.height = height - y;
  claims.tile_width = u32(24);
  claims.tile_height = u32(28);
  claims.components = static_cast<std::uint32_t>(found[40]) << 8 | found[41];
  return claims;
}

}  // namespace

void decode_jpeg2000(const std::vector<unsigned char>& compressed, int columns, int rows, int bytes,
                     const std::string& where, std::vector<unsigned char>& stored) {
  const auto refuse = [&](ErrorCode code, const std::string& what) { throw Error(code, where + ": " + what); };
  const Claims claims = claims_of(compressed);
  const std::uint32_t width = static_cast<std::uint32_t>(columns), height = static_cast<std::uint32_t>(rows);
  if (claims.width != width || claims.height != height || claims.components != 1) {
    refuse(ErrorCode::invalid_image, "expected a JPEG 2000 image of " + std::to_string(width) + " x " +
                                         std::to_string(height) + " pixels of one component, found " +
                                         std::to_string(claims.width) + " x " + std::to_string(claims.height) + " of " +
                                         std::to_string(claims.components));
  }
  constexpr std::uint64_t kMostTiles = 65535;  // of the format itself; each takes memory
  const std::uint64_t tiles =
      claims.tile_width == 0 || claims.tile_height == 0
          ? kMostTiles + 1
          : (std::uint64_t{width} / claims.tile_width + 1) * (std::uint64_t{height} / claims.tile_height + 1);
  if (tiles > kMostTiles || tiles > 16 + compressed.size()) {
    refuse(ErrorCode::invalid_image,
           "expected JPEG 2000 tiles for whose headers there is room, found " + std::to_string(tiles));
  }

  const bool jp2 = compressed.size() > 12 && std::memcmp(compressed.data() + 4, "jP  ", 4) == 0;
  const std::unique_ptr<opj_codec_t, void (*)(opj_codec_t*)> codec(
      opj_create_decompress(jp2 ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K), opj_destroy_codec);
  const std::unique_ptr<opj_stream_t, void (*)(opj_stream_t*)> stream(opj_stream_default_create(OPJ_TRUE),
                                                                      opj_stream_destroy);
  if (!codec || !stream) refuse(ErrorCode::out_of_memory, "no memory to decode it");
  std::string message;
  opj_set_error_handler(codec.get(), keep_message, &message);
  opj_set_warning_handler(codec.get(), no_message, nullptr);
  opj_set_info_handler(codec.get(), no_message, nullptr);
  Input input{&compressed, 0};
  opj_stream_set_user_data(stream.get(), &input, nullptr);
  opj_stream_set_user_data_length(stream.get(), compressed.size());
  opj_stream_set_read_function(stream.get(), read_input);
  opj_stream_set_skip_function(stream.get(), skip_input);
  opj_stream_set_seek_function(stream.get(), seek_input);
  const auto damaged = [&]() {
    refuse(ErrorCode::cannot_read,
           "damaged JPEG 2000: " + (message.empty() ? std::string("OpenJPEG gives no reason") : message));
  };
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  if (!opj_setup_decoder(codec.get(), &parameters)) damaged();
  opj_decoder_set_strict_mode(codec.get(), OPJ_TRUE);  // a cut stream is an error, not a blurred picture
  opj_image_t* raw = nullptr;
  const bool header = opj_read_header(stream.get(), codec.get(), &raw);
  const std::unique_ptr<opj_image_t, void (*)(opj_image_t*)> image(raw, opj_image_destroy);
  if (!header || !image) damaged();
  if (image->numcomps != 1 || image->comps[0].w != width || image->comps[0].h != height) {
    refuse(ErrorCode::invalid_image, "expected a JPEG 2000 image of the size in the header, found another");
  }
  if (image->comps[0].prec > static_cast<OPJ_UINT32>(8 * bytes) || image->comps[0].prec > 31) {
    refuse(ErrorCode::invalid_image, "expected a JPEG 2000 image of at most " + std::to_string(8 * bytes) +
                                         " bits, found " + std::to_string(image->comps[0].prec));
  }
  if (!opj_decode(codec.get(), stream.get(), image.get()) || !opj_end_decompress(codec.get(), stream.get())) damaged();
  const opj_image_comp_t& component = image->comps[0];
  if (!component.data || component.w != width || component.h != height) damaged();
  const std::size_t pixels = static_cast<std::size_t>(width) * height;
  stored.resize(pixels * static_cast<std::size_t>(bytes));
  for (std::size_t i = 0; i < pixels; ++i) {
    const std::uint32_t value = static_cast<std::uint32_t>(component.data[i]);
    if (bytes == 1) {
      stored[i] = static_cast<unsigned char>(value);
    } else if (bytes == 2) {
      const std::uint16_t two = static_cast<std::uint16_t>(value);
      std::memcpy(stored.data() + 2 * i, &two, 2);
    } else {
      std::memcpy(stored.data() + 4 * i, &value, 4);
    }
  }
}

}  // namespace e2enet::imaging::dicom
