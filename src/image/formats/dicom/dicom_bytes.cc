#include "image/formats/dicom/dicom_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/input_file.h"
#include "e2enet/error.h"

namespace e2enet::imaging::dicom {
namespace {

constexpr std::size_t kWindow = 1 << 16;
constexpr std::int64_t kMostInflated = std::int64_t{1} << 30;
constexpr std::int64_t kMostHeaderBytes = std::int64_t{256} << 20;
constexpr std::int64_t kMostElements = 4'000'000;
constexpr int kDeepest = 32;
constexpr std::uint32_t kUndefined = 0xffffffff;

constexpr Tag kItem{0xfffe, 0xe000}, kItemEnd{0xfffe, 0xe00d}, kSequenceEnd{0xfffe, 0xe0dd};
constexpr Tag kTransferSyntax{0x0002, 0x0010};
constexpr Tag kFloatPixels{0x7fe0, 0x0008}, kDoublePixels{0x7fe0, 0x0009};

constexpr char kImplicit[] = "1.2.840.10008.1.2";
constexpr char kExplicit[] = "1.2.840.10008.1.2.1";
constexpr char kDeflated[] = "1.2.840.10008.1.2.1.99";
constexpr char kBigEndian[] = "1.2.840.10008.1.2.2";

// Value representations, those with a length of 32 bits apart.
constexpr const char* kLong[] = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"};
constexpr const char* kShort[] = {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO",
                                  "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"};

template <std::size_t Count>
bool is_one_of(const char* vr, const char* const (&all)[Count]) {
  return std::any_of(all, all + Count, [&](const char* one) { return one[0] == vr[0] && one[1] == vr[1]; });
}

// Goes through the elements of a data set.
class Walk {
 public:
  explicit Walk(DicomBytes& bytes) : bytes_(bytes) {}

  struct Element {
    Tag tag;
    char vr[3] = "";  // empty where implicit
    std::uint32_t length = 0;
    std::int64_t value = 0;  // where it begins
  };

  // How elements are written. Inside a value of unknown representation it is not as around it.
  struct Encoding {
    bool explicit_vr = true, big_endian = false;
  };

  Element element(std::int64_t at, std::int64_t end, const Encoding& encoding) {
    if (++elements_ > kMostElements) {
      fail(ErrorCode::invalid_image, "elements", "expected at most " + std::to_string(kMostElements) + ", found more");
    }
    unsigned char head[12];
    require(at, 8, end, "an element");
    bytes_.read(at, 8, head);
    Element e;
    e.tag = {u16(head, encoding), u16(head + 2, encoding)};
    e.value = at + 8;
    if (e.tag.group == kItem.group || !encoding.explicit_vr) {
      e.length = u32(head + 4, encoding);
      return e;
    }
    e.vr[0] = static_cast<char>(head[4]);
    e.vr[1] = static_cast<char>(head[5]);
    if (is_one_of(e.vr, kShort)) {
      e.length = u16(head + 6, encoding);
    } else if (is_one_of(e.vr, kLong)) {
      require(at, 12, end, text(e.tag));
      bytes_.read(at + 8, 4, head + 8);
      e.length = u32(head + 8, encoding);
      e.value = at + 12;
    } else {
      char found[32];
      std::snprintf(found, sizeof found, "bytes %02x %02x", head[4], head[5]);
      fail(ErrorCode::invalid_image, text(e.tag), std::string("expected a value representation, found ") + found);
    }
    return e;
  }

  // Elements from `at` to `end`, or, where `delimited`, to the item's end before it. Returns what follows.
  std::int64_t items_elements(std::int64_t at, std::int64_t end, bool delimited, int depth, const Encoding& encoding) {
    while (delimited || at < end) {
      const Element e = element(at, end, encoding);
      if (delimited && e.tag == kItemEnd) return e.value;
      at = past(e, end, depth, encoding);
    }
    return at;
  }

  // What follows an element.
  std::int64_t past(const Element& e, std::int64_t end, int depth, const Encoding& encoding) {
    if (e.tag.group == kItem.group) {
      fail(ErrorCode::invalid_image, text(e.tag), "expected an element, found the mark of an item where there is none");
    }
    const bool unknown = e.vr[0] == 'U' && e.vr[1] == 'N';
    const bool sequence = e.vr[0] == 'S' && e.vr[1] == 'Q';
    if (e.length == kUndefined) {
      if (e.tag == kPixelData && encoding.explicit_vr) return encapsulated(e, end, nullptr);
      if (encoding.explicit_vr && !sequence && !unknown) {
        fail(ErrorCode::invalid_image, text(e.tag), "expected a length, found an undefined one");
      }
      return items(e.value, end, true, depth + 1, unknown ? Encoding{false, false} : encoding, e.tag);
    }
    require(e.value, e.length, end, text(e.tag));
    const std::int64_t after = e.value + e.length;
    if (sequence) {
      items(e.value, after, false, depth + 1, encoding, e.tag);
    } else if ((!encoding.explicit_vr || unknown) && e.length >= 8) {
      // Whether this is a sequence stands in a dictionary that DCMTK has. Where it is none after all, its bytes do not
      // follow one's form for long, and what they seem to say does not matter.
      try {
        unsigned char head[8];
        bytes_.read(e.value, 8, head);
        const Encoding inside = unknown ? Encoding{false, false} : encoding;
        if (Tag{u16(head, inside), u16(head + 2, inside)} == kItem) {
          items(e.value, after, false, depth + 1, inside, e.tag);
        }
      } catch (const TooDeep&) {
        throw;
      } catch (const Error&) {
        if (elements_ > kMostElements) throw;
      }
    }
    return after;
  }

  // The fragments of encapsulated pixel data; the first is the offset table.
  std::int64_t encapsulated(const Element& e, std::int64_t end, std::vector<Fragment>* fragments) {
    const Encoding encoding{true, false};
    std::int64_t at = e.value;
    for (;;) {
      const Element item = element(at, end, encoding);
      if (item.tag == kSequenceEnd) return item.value;
      if (!(item.tag == kItem) || item.length == kUndefined) {
        fail(ErrorCode::invalid_image, text(e.tag), "expected an item with a length, found " + text(item.tag));
      }
      require(item.value, item.length, end, text(e.tag));
      if (fragments) fragments->push_back({item.value, item.length});
      at = item.value + item.length;
    }
  }

  static std::uint16_t u16(const unsigned char* p, const Encoding& encoding) {
    return static_cast<std::uint16_t>(encoding.big_endian ? p[0] << 8 | p[1] : p[1] << 8 | p[0]);
  }
  static std::uint32_t u32(const unsigned char* p, const Encoding& encoding) {
    const std::uint32_t first = u16(p, encoding), second = u16(p + 2, encoding);
    return encoding.big_endian ? first << 16 | second : second << 16 | first;
  }

  [[noreturn]] void fail(ErrorCode code, const std::string& where, const std::string& what) const {
    throw Error(code, bytes_.path() + ": " + where + ": " + what);
  }

 private:
  // Must not be taken for bytes that are no sequence.
  struct TooDeep : Error {
    using Error::Error;
  };

  void require(std::int64_t at, std::int64_t count, std::int64_t end, const std::string& what) const {
    if (count <= end - at) return;
    const std::string expected = "expected " + std::to_string(count) + " bytes at byte " + std::to_string(at);
    if (end == bytes_.size()) fail(ErrorCode::cannot_read, what, expected + ", found the file's end: it is cut short");
    fail(ErrorCode::invalid_image, what, expected + ", found the end of the sequence that holds them");
  }

  // The items of a sequence.
  std::int64_t items(std::int64_t at, std::int64_t end, bool delimited, int depth, const Encoding& encoding,
                     const Tag& tag) {
    if (depth > kDeepest) {
      throw TooDeep(ErrorCode::invalid_image, bytes_.path() + ": " + text(tag) + ": expected at most " +
                                                  std::to_string(kDeepest) + " nested sequences, found more");
    }
    while (delimited || at < end) {
      const Element item = element(at, end, encoding);
      if (delimited && item.tag == kSequenceEnd) return item.value;
      if (!(item.tag == kItem)) {
        fail(ErrorCode::invalid_image, text(tag), "expected an item of the sequence, found " + text(item.tag));
      }
      if (item.length == kUndefined) {
        at = items_elements(item.value, end, true, depth, encoding);
      } else {
        require(item.value, item.length, end, text(tag));
        at = items_elements(item.value, item.value + item.length, false, depth, encoding);
      }
    }
    return at;
  }

  DicomBytes& bytes_;
  std::int64_t elements_ = 0;
};

// The transfer syntax of a file that has no group 2: explicit where the first element has a known representation.
std::string bare_transfer_syntax(const unsigned char* head) {
  const char vr[3] = {static_cast<char>(head[4]), static_cast<char>(head[5]), 0};
  return is_one_of(vr, kShort) || is_one_of(vr, kLong) ? kExplicit : kImplicit;
}

// Where the first element is: after a preamble, or at the beginning. -1: nowhere.
std::int64_t first_element(DicomBytes& bytes) {
  unsigned char head[132];
  if (bytes.size() >= 140) {
    bytes.read(0, sizeof head, head);
    if (std::memcmp(head + 128, "DICM", 4) == 0) return 132;
  }
  if (bytes.size() < 32) return -1;
  bytes.read(0, 12, head);
  const Walk::Encoding encoding{true, false};
  const std::uint16_t group = Walk::u16(head, encoding), element = Walk::u16(head + 2, encoding);
  const bool explicit_vr = bare_transfer_syntax(head) == kExplicit;
  // Without "DICM" only what cannot well be anything else: group 2 or 8, low elements, a small first value.
  if (group == 0x0002 && element <= 0x0010 && explicit_vr) return 0;
  if (group != 0x0008 || element > 0x0018) return -1;
  const std::uint32_t length = explicit_vr ? Walk::u16(head + 6, encoding) : Walk::u32(head + 4, encoding);
  return length <= 256 && length < bytes.size() ? 0 : -1;
}

}  // namespace

std::string text(const Tag& tag) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "(%04X,%04X)", static_cast<unsigned>(tag.group),
                static_cast<unsigned>(tag.element));
  return buffer;
}

DicomBytes::DicomBytes(const std::string& path) : path_(path), descriptor_(open_regular_file(path)) {
  try {
    file_size_ = state().size;
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

DicomBytes::~DicomBytes() { close(descriptor_); }

FileState DicomBytes::state() const {
  struct stat status;
  if (fstat(descriptor_, &status) != 0) {
    throw Error(ErrorCode::cannot_read, path_ + ": cannot open: " + std::strerror(errno));
  }
  return {static_cast<std::int64_t>(status.st_size), static_cast<std::int64_t>(status.st_mtim.tv_sec),
          static_cast<std::int64_t>(status.st_mtim.tv_nsec)};
}

void DicomBytes::read_file(std::int64_t offset, std::size_t count, unsigned char* out) {
  while (count > 0) {
    const ssize_t got = pread(descriptor_, out, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorCode::cannot_read, path_ + ": cannot read: " + std::strerror(errno));
    if (got == 0) {
      throw Error(ErrorCode::cannot_read, path_ + ": expected " + std::to_string(count) + " bytes at byte " +
                                              std::to_string(offset) + ", found the file's end: it is cut short");
    }
    offset += got;
    out += got;
    count -= static_cast<std::size_t>(got);
  }
}

void DicomBytes::read(std::int64_t offset, std::size_t count, unsigned char* out) {
  if (offset < 0 || static_cast<std::int64_t>(count) > size() - offset) {
    throw Error(ErrorCode::cannot_read, path_ + ": expected " + std::to_string(count) + " bytes at byte " +
                                            std::to_string(offset) + ", found the file's end: it is cut short");
  }
  if (count == 0) return;
  if (inflated_from_ >= 0 && offset >= inflated_from_) {
    std::memcpy(out, inflated_.data() + (offset - inflated_from_), count);
    return;
  }
  if (count >= kWindow) return read_file(offset, count, out);
  const auto held = [&]() {
    return offset >= window_offset_ &&
           offset + static_cast<std::int64_t>(count) <= window_offset_ + static_cast<std::int64_t>(window_.size());
  };
  if (!held()) {
    const std::int64_t most = std::min<std::int64_t>(static_cast<std::int64_t>(kWindow), file_size_ - offset);
    window_.resize(static_cast<std::size_t>(most));
    window_offset_ = offset;
    try {
      read_file(offset, window_.size(), window_.data());
    } catch (...) {
      window_.clear();
      throw;
    }
    if (!held()) {  // bytes beyond what is inflated
      throw Error(ErrorCode::cannot_read, path_ + ": expected more bytes, found the file's end: it is cut short");
    }
  }
  std::memcpy(out, window_.data() + (offset - window_offset_), count);
}

void DicomBytes::inflate(std::int64_t offset) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
    throw Error(ErrorCode::out_of_memory, path_ + ": no memory to inflate it");
  }
  const std::unique_ptr<z_stream, int (*)(z_stream*)> closer(&stream, inflateEnd);
  std::vector<unsigned char> input(kWindow), output(kWindow), all;
  const auto fail = [&](ErrorCode code, const std::string& what) {
    throw Error(code, path_ + ": deflated data set: " + what);
  };
  int status = Z_OK;
  for (std::int64_t at = offset; status != Z_STREAM_END;) {
    if (stream.avail_in == 0) {
      const std::int64_t count = std::min<std::int64_t>(static_cast<std::int64_t>(kWindow), file_size_ - at);
      if (count <= 0) fail(ErrorCode::cannot_read, "expected the end of the stream, found the file's: it is cut short");
      read_file(at, static_cast<std::size_t>(count), input.data());
      at += count;
      stream.next_in = input.data();
      stream.avail_in = static_cast<uInt>(count);
    }
    stream.next_out = output.data();
    stream.avail_out = static_cast<uInt>(output.size());
    status = ::inflate(&stream, Z_NO_FLUSH);
    if (status == Z_MEM_ERROR) throw Error(ErrorCode::out_of_memory, path_ + ": no memory to inflate it");
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
      fail(ErrorCode::cannot_read, std::string("damaged: ") + (stream.msg ? stream.msg : "zlib gives no reason"));
    }
    all.insert(all.end(), output.data(), output.data() + (output.size() - stream.avail_out));
    if (static_cast<std::int64_t>(all.size()) > kMostInflated) {
      fail(ErrorCode::invalid_image, "expected at most 1 GiB inflated, found more");
    }
  }
  inflated_ = std::move(all);
  inflated_from_ = offset;
}

bool begins_as_dicom(DicomBytes& bytes) { return first_element(bytes) >= 0; }

Structure check_structure(DicomBytes& bytes) {
  Walk walk(bytes);
  std::int64_t at = first_element(bytes);
  if (at < 0) {
    walk.fail(ErrorCode::invalid_image, "beginning",
              "expected that of a DICOM file (\"DICM\" after 128 bytes), found another");
  }
  Structure structure;
  const Walk::Encoding meta{true, false};
  unsigned char head[8];
  bytes.read(at, sizeof head, head);
  if (Walk::u16(head, meta) != 0x0002) {
    structure.transfer_syntax = bare_transfer_syntax(head);
  } else {
    while (at + 8 <= bytes.size()) {
      bytes.read(at, 2, head);
      if (Walk::u16(head, meta) != 0x0002) break;
      const Walk::Element e = walk.element(at, bytes.size(), meta);
      at = walk.past(e, bytes.size(), 0, meta);
      if (!(e.tag == kTransferSyntax)) continue;
      if (e.length > 64) {
        walk.fail(ErrorCode::invalid_image, text(e.tag), "expected a UID of at most 64 letters, found more");
      }
      structure.transfer_syntax.resize(e.length);
      bytes.read(e.value, e.length, reinterpret_cast<unsigned char*>(structure.transfer_syntax.data()));
      while (!structure.transfer_syntax.empty() &&
             (structure.transfer_syntax.back() == '\0' || structure.transfer_syntax.back() == ' ')) {
        structure.transfer_syntax.pop_back();
      }
    }
    if (structure.transfer_syntax.empty()) {
      walk.fail(ErrorCode::invalid_image, text(kTransferSyntax) + " Transfer Syntax UID",
                "expected it in the file's first group, found none");
    }
  }
  if (structure.transfer_syntax == kDeflated) bytes.inflate(at);
  structure.explicit_vr = structure.transfer_syntax != kImplicit;
  structure.big_endian = structure.transfer_syntax == kBigEndian;
  structure.data_set = at;
  structure.header_end = bytes.size();

  const Walk::Encoding encoding{structure.explicit_vr, structure.big_endian};
  for (bool header = true; at < bytes.size();) {
    const Walk::Element e = walk.element(at, bytes.size(), encoding);
    if (header && (e.tag == kPixelData || e.tag == kFloatPixels || e.tag == kDoublePixels)) {
      header = false;
      structure.header_end = at;
      structure.pixels = e.tag == kPixelData;
      structure.encapsulated = structure.pixels && e.length == kUndefined && encoding.explicit_vr;
      structure.native = {e.value, e.length};
      structure.words = e.vr[0] == 'O' && e.vr[1] == 'W';
      if (structure.encapsulated) {
        at = walk.encapsulated(e, bytes.size(), &structure.fragments);
        continue;
      }
    }
    at = walk.past(e, bytes.size(), 0, encoding);
  }
  if (structure.header_end - structure.data_set > kMostHeaderBytes) {
    walk.fail(ErrorCode::invalid_image, "header", "expected at most 256 MiB before the pixel data, found more");
  }
  if (!structure.fragments.empty()) {
    const Fragment table = structure.fragments.front();
    structure.fragments.erase(structure.fragments.begin());
    if (table.length % 4 != 0 || table.length > kMostHeaderBytes) {
      walk.fail(ErrorCode::invalid_image, text(kPixelData) + " offset table",
                "expected a multiple of 4 bytes, found " + std::to_string(table.length));
    }
    std::vector<unsigned char> stored(static_cast<std::size_t>(table.length));
    bytes.read(table.offset, stored.size(), stored.data());
    for (std::size_t i = 0; i < stored.size(); i += 4) {
      structure.offset_table.push_back(Walk::u32(stored.data() + i, {true, false}));
    }
  }
  return structure;
}

}  // namespace e2enet::imaging::dicom
