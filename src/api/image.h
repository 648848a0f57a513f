// What an Image of the public API is made of.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "e2enet/image.h"
#include "image/formats/channel_file.h"

namespace e2enet {

// As the public API says it: of which file.
inline Remark public_remark(const imaging::Remark& remark, const std::string& source) {
  return {remark.weight == imaging::Remark::Weight::warning, source, remark.text};
}

class Image::Implementation {
 public:
  std::string name;
  Geometry geometry;
  std::string matrix;
  std::vector<Remark> remarks;
  std::vector<std::unique_ptr<imaging::SliceSource>> channels;
  // The first channel, where it is a file; its place goes to NIfTI outputs as it is stored.
  const imaging::ChannelFile* file = nullptr;
  imaging::NiftiHeader nifti_header;
  std::vector<std::string> files;  // all that are read
  // Of all channels, as they are stored in files but unpacked: what keeping them takes.
  std::int64_t stored_bytes = 0;
  std::int64_t open_bytes = 0;  // of the buffers of open files
  // Whether a thread of the library's own may read the next slices while others work; a caller's function is called
  // from the caller's thread only, and memory needs no reading ahead.
  bool may_read_ahead = false;
  // What a reader of the caller threw: its owner's, not the library's.
  std::exception_ptr of_reader;

  std::vector<imaging::SliceSource*> sources() const;
};

}  // namespace e2enet
