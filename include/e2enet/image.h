// An image to be segmented: from files, from memory, or from whoever has its slices. Its geometry is known before a
// voxel is read, and its voxels are read when they are needed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "e2enet/export.h"
#include "e2enet/volume.h"

namespace e2enet {

// The type of one voxel in memory, in this machine's byte order.
enum class ScalarType { uint8, int8, uint16, int16, uint32, int32, uint64, int64, float32, float64 };

// How many bytes one takes; 0 for a value that is none of them.
E2ENET_API std::size_t bytes_of(ScalarType type);

// One channel in the caller's memory. Values become float32 where they are used; nothing is copied as a whole. It must
// stay as it is while an Image of it is in use.
struct ArrayView {
  const void* data = nullptr;
  ScalarType type = ScalarType::float32;
  // Bytes from a voxel to the next along D, H, W; negative where an axis runs backwards. All 0: one volume without
  // gaps, W fastest. (A NIfTI array of another program is often Fortran-ordered: its axes are W, H, D with strides that
  // grow, so give its strides in the reverse order.)
  std::array<std::ptrdiff_t, 3> strides{0, 0, 0};
};

// Gives the voxels of slices [first, first + count) of a channel, `count * shape[1] * shape[2]` values, W fastest.
// Called from a thread that works for the caller of segment(), one call at a time: slices ascend, and each pass over
// the image (two or three of them) begins at 0 again. What it throws ends the work and comes out as it is.
using SliceReader = std::function<void(int channel, std::int64_t first, std::int64_t count, float* values)>;

// Something that the user of an image should know, though it can be worked with.
struct Remark {
  bool warning = false;  // figures or labels may not mean what they seem to; otherwise: how something peculiar was read
  std::string source;    // the file, or what the caller called the image
  std::string text;
};

// How files are opened.
struct OpenOptions {
  // Of DICOM: which series, each a UID or a number; one for all paths, or one a channel. Empty: the only one that is a
  // volume.
  std::vector<std::string> series;
  // Of DICOM: take slices at uneven distances, interpolated on an even grid. Labels go back to the slices in a DICOM
  // segmentation; in a NIfTI file they are on the grid.
  bool regrid = false;
};

// An image of one or more channels on the same voxels. Copies are cheap and are the same image; one thread at a time.
//
//   e2enet::Image head = e2enet::Image::open("head.nii.gz");
//   e2enet::Image scan = e2enet::Image::from_arrays(geometry, {{voxels, e2enet::ScalarType::int16}});
class E2ENET_API Image {
 public:
  // Files of one channel each: NIfTI (.nii, .hdr/.img, each also gzipped; told by content where names do not tell).
  // Headers are read and checked, no voxel is. Throws Error: cannot_read, invalid_image (also where the files do not
  // lie on the same voxels), invalid_argument (no file).
  //
  // A DICOM series (docs/dicom.md) is a folder, the list of its files, or an enhanced multi-frame file: several DICOM
  // files are one list, in which each of options.series is a channel; of several paths with a folder among them each is
  // a channel. Slices of a tilted gantry come moved in their planes to an upright volume, on which geometry() is.
  static Image open(const std::vector<std::string>& channels, const OpenOptions& options = {});
  static Image open(const std::string& path);

  // Arrays in the caller's memory, all of geometry.shape. `name` stands for the image in messages. Throws Error:
  // invalid_image (a shape outside 1 to 32767 voxels an axis, a spacing that is not above 0), invalid_argument (no
  // channel, a null pointer, an affine that gives no directions).
  static Image from_arrays(const Geometry& geometry, const std::vector<ArrayView>& channels,
                           const std::string& name = "image");

  // Slices that the caller gives when they are asked for. Throws as from_arrays().
  static Image from_slices(const Geometry& geometry, int channels, SliceReader reader,
                           const std::string& name = "image");

  const Geometry& geometry() const;
  int channels() const;
  // The first channel's file, or the name that was given.
  const std::string& name() const;
  // What says where the voxels lie: "sform", "qform" or "spacing" of a NIfTI file, "affine" of an image in memory.
  std::string matrix() const;
  // The directions in which i, j and k run, each the nearest of Left/Right, Anterior/Posterior, Inferior/Superior:
  // "RAS".
  std::string orientation() const;
  // Of all channels, in order.
  std::vector<Remark> remarks() const;

  // Slices [first, first + count) of a channel as float32. Ascending calls are cheap; going back may mean reading a
  // file from its start. Throws Error: invalid_argument (no such slices), cannot_read, invalid_image.
  void read(int channel, std::int64_t first, std::int64_t count, float* values) const;

  class Implementation;  // of the library
  Implementation& implementation() const { return *implementation_; }

 private:
  explicit Image(std::shared_ptr<Implementation> implementation);
  std::shared_ptr<Implementation> implementation_;
};

}  // namespace e2enet
