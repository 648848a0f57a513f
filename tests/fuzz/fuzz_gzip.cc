// libFuzzer entry: a NIfTI file cut into gzip members of any size and kind reads as the plain file does; a damaged one
// reads as that or is refused with an Error, but never gives other values.
#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_reader.h"
#include "input_bytes.h"
#include "input_file.h"

namespace {

// Nothing where the file is refused, or asks for more than this compares.
std::optional<std::vector<float>> values_of(const std::string& path, bool& compared) {
  compared = true;
  try {
    e2enet::imaging::ImageReader reader(path);
    const std::int64_t slices = reader.shape()[0], slice = reader.slice_size();
    if (slice > 1 << 16 || slices > 1 << 16 || slice * slices > 1 << 16) {
      compared = false;
      return std::nullopt;
    }
    std::vector<float> values(static_cast<std::size_t>(slice * slices));
    for (std::int64_t d = 0; d < slices; ++d) reader.read(d, d + 1, values.data() + d * slice);
    return values;
  } catch (const e2enet::Error&) {
    return std::nullopt;
  }
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void add_member(std::vector<std::uint8_t>& out, const std::uint8_t* bytes, std::size_t size, unsigned kind) {
  z_stream stream{};
  const int level = static_cast<int>(kind % 10), strategy = static_cast<int>(kind / 10 % 5);
  if (deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 1, strategy) != Z_OK) std::abort();
  std::vector<std::uint8_t> member(deflateBound(&stream, static_cast<uLong>(size)));
  stream.next_in = const_cast<Bytef*>(bytes);
  stream.avail_in = static_cast<uInt>(size);
  stream.next_out = member.data();
  stream.avail_out = static_cast<uInt>(member.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) std::abort();
  out.insert(out.end(), member.begin(), member.begin() + static_cast<std::ptrdiff_t>(stream.total_out));
  deflateEnd(&stream);
}

}  // namespace

// The input: what is damaged (1 byte: nothing, a byte, the end), where (2 bytes), with what (1 byte); the number of
// members (1 byte); for each its kind and length (1 and 2 bytes); the plain file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const e2enet::test::InputFile plain("plain.nii"), zipped("zipped.nii");
  e2enet::test::InputBytes input(bytes, size);
  const unsigned damage = input.take<std::uint8_t>() % 3;
  const std::size_t where = input.take<std::uint16_t>();
  const std::uint8_t with = input.take<std::uint8_t>();
  struct Member {
    unsigned kind;
    std::size_t length;
  };
  std::vector<Member> members(1 + input.take<std::uint8_t>() % 6);
  for (Member& member : members) {
    member.kind = input.take<std::uint8_t>();
    member.length = input.take<std::uint16_t>();
  }
  const std::uint8_t* content = input.rest();
  std::size_t left = input.size();
  plain.write(content, left);
  std::vector<std::uint8_t> file;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::size_t length = i + 1 < members.size() ? std::min(members[i].length, left) : left;
    add_member(file, content, length, members[i].kind);
    content += length;
    left -= length;
  }
  if (damage == 1) file[where % file.size()] = with;
  if (damage == 2) file.resize(where % file.size());
  zipped.write(file.data(), file.size());

  bool compared_plain = false, compared_zipped = false;
  const auto expected = values_of(plain.path(), compared_plain);
  const auto found = values_of(zipped.path(), compared_zipped);
  // A header may claim more than a plain file has, which is refused before it is asked how much.
  if (!compared_plain || !compared_zipped) return 0;
  if (damage == 0 && expected.has_value() != found.has_value()) std::abort();
  if (found && (!expected || !same(*expected, *found))) std::abort();
  return 0;
}
