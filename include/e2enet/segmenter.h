// Segmentation of an image: how it would be done, and doing it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "e2enet/export.h"
#include "e2enet/image.h"
#include "e2enet/model.h"
#include "e2enet/statistics.h"
#include "e2enet/volume.h"

namespace e2enet {

enum class Precision {
  f32,
  bf16,       // features are stored in bfloat16, arithmetic stays in float32: half the memory, three decimal digits
  automatic,  // f32, but bf16 for an image that does not fit into the memory limit otherwise
};

// Of which labels only the largest component (face-connected) is kept.
enum class LargestComponent {
  model,  // those that the model names (postprocessing.largest_component of its file), often none
  none,   // of none, whatever the model says
  all,    // of every label but the background
};

// The caller's own threads: must call body(0) to body(threads - 1), each once and ALL AT THE SAME TIME, each on a
// thread of its own (one of them may be the calling one), and return when all have returned. The bodies meet each other
// in between, so a pool with fewer free threads than that would never come to an end. `body` does not throw.
using ParallelFor = std::function<void(int threads, const std::function<void(int thread)>& body)>;

// Memory of the caller's for the network to work in: arena_bytes() of it (patch_runner.h), at a multiple of 64, for as
// long as what it is given to lives. Packed weights, images and labels are not in it.
struct Arena {
  void* memory = nullptr;  // null: the library gets its own
  std::size_t bytes = 0;
};

struct Options {
  // 0: as many as this process may use (cores, affinity, a container's quota). More than that are not started: they
  // would only wait for each other, and no bit of a result depends on their number. At most 4096.
  int threads = 0;
  // Where it is set, `threads` of it are used (0: as many as this process may use), and the library starts none.
  ParallelFor parallel_for;
  Precision precision = Precision::f32;
  // Distance of neighbouring tiles as a fraction of the patch, at most 1 and at least one voxel along each axis.
  double step = 0.5;
  bool mirror = false;  // average over mirrored copies of each tile (the model's mirror axes): better, 2-8 times slower
  LargestComponent largest_component = LargestComponent::model;
  // A spacing with which the image's field of view along an axis is above 3 m, or below 5 mm with voxels below 0.1 mm,
  // or which is more than ten times the model's or less than a tenth of it, is most likely a mistaken unit: refused
  // unless this is set.
  bool allow_implausible_spacing = false;
  // Bytes of resident memory that this process may have at the most while it segments, everything counted that it held
  // before; 0: what it has and three quarters of what the machine has free. An image that cannot be done within it is
  // refused before any work (ErrorCode::memory_limit).
  std::int64_t memory_limit = 0;
  Arena arena;  // for the network; with Precision::automatic it must do for f32
};

struct Progress {
  enum class Stage { prepare, segment, export_labels, write };
  Stage stage = Stage::prepare;
  std::int64_t done = 0;  // tiles in stage `segment`, steps otherwise
  std::int64_t total = 0;
  double seconds_left = 0;  // estimate; below 0 when not known yet
};

// Called from the thread that called segment(), at least once a tile. Return false to cancel: segment() then throws
// Error (cancelled) within one tile. An exception that the callback throws ends segment() the same way and comes out of
// it as it is; all other exceptions of the library are Errors.
using ProgressCallback = std::function<bool(const Progress&)>;

struct Segmentation;

// Takes slices [first_slice, first_slice + slices) of the labels, W fastest, from the image's first slice to its last,
// on the thread that called segment().
using LabelCallback = std::function<void(std::int64_t first_slice, std::int64_t slices, const std::uint16_t* labels)>;

// What is wanted of an image. Files get their names when everything else has been done, the labels' last: where they
// are, the image is finished. When segment() throws, none of them is there.
struct Request {
  std::optional<Box> box;         // segment only these voxels (D, H, W of the image); background outside of it
  bool labels = true;             // in Segmentation::labels
  bool probabilities = false;     // in Segmentation::probabilities
  bool mean_intensities = false;  // in Segmentation::statistics; needs the image a second time
  LabelCallback on_labels;
  // The caller's own arrays, filled instead of those of the Segmentation: one label a voxel; (classes, D, H, W)
  // probabilities at the image's resolution. Written while the work goes on: undefined when it fails.
  std::uint16_t* labels_into = nullptr;
  float* probabilities_into = nullptr;
  std::string labels_file;  // .nii, .nii.gz, .hdr or .img; .dcm: a DICOM segmentation (docs/dicom.md)
  // For a .dcm file where the image is no DICOM itself: the folder or file of the series that it was converted from,
  // and which series that is (a UID or number; empty: the only volume). Its slices must be the image's voxels.
  std::string dicom_reference, dicom_reference_series;
  std::string probabilities_file;  // the same; a 4D image, volume after volume one class
  std::string preview_file;        // .png: three views with the labels in colour
  // Called when all is computed and written, before any file gets its name. What it throws comes out of segment(), and
  // no file is left.
  std::function<void(const Segmentation&)> before_files_appear;
};

// How an image would be segmented, known before a voxel is read.
struct Forecast {
  bool fits = false;             // within the limit
  std::int64_t limit_bytes = 0;  // Options::memory_limit, or what it stands for
  std::int64_t peak_bytes = 0;   // resident memory of the process at the most, in this way
  std::int64_t smallest_limit_bytes = 0;
  std::string way;                       // the fastest within the limit, or the smallest: "image read twice"
  Precision precision = Precision::f32;  // f32 or bf16
  Shape network_shape{0, 0, 0};          // of the volume that the network sees, at most
  std::int64_t runs = 0;                 // of the network: tiles times mirrored copies
  double seconds_a_run = 0;              // measured now, on noise
  double seconds_network = 0;            // for all of them; reading and writing come on top
  struct Way {
    std::string name;
    std::int64_t peak_bytes = 0;
  };
  std::vector<Way> ways;  // all that there are, fastest first
  // Bytes of each part, by name: "process", "image", "image_until_end", "surveying", "preparing", "prepared",
  // "network", "probabilities", "exporting", "kept", "finishing". Parts of different stages do not add up.
  std::vector<std::pair<std::string, std::int64_t>> memory;
};

struct Segmentation {
  Geometry geometry;                  // that of the image
  std::vector<std::uint16_t> labels;  // one per voxel, D,H,W order, if asked for; else empty
  std::vector<float> probabilities;   // (classes, D, H, W) at the image's resolution, if asked for; else empty
  bool empty_image = false;           // the image had no nonzero voxel: everything is background
  // Of every label of the model but the background, and every other value that occurred.
  std::map<int, LabelStatistics> statistics;
  std::vector<Asymmetry> asymmetries;  // of the structures that have sides, as Model::side_pairs() lists them
  // The image's, and where something was found while segmenting it.
  std::vector<Remark> remarks;
  std::string way;                       // how much was held of the image
  Precision precision = Precision::f32;  // f32 or bf16
  std::int64_t planned_peak_bytes = 0;   // of the process
  std::int64_t runs = 0;                 // of the network
  double seconds = 0;                    // all in all
  double seconds_prepare = 0, seconds_network = 0, seconds_export = 0;
};

// Holds a plan and its working memory for one model. One Segmenter serves one thread at a time; several may share a
// Model. The same input gives the same bits on every run, for every number of threads and every memory limit.
//
//   e2enet::Segmenter segmenter(e2enet::Model::load("model.safetensors"));
//   e2enet::Request request;
//   request.labels_file = "labels.nii.gz";
//   segmenter.segment(e2enet::Image::open("head.nii.gz"), request);
class E2ENET_API Segmenter {
 public:
  // Plans the network for the model's patch size and gets all memory that the network needs. The kernels are packed
  // into memory of the Segmenter's own: a model that is handed over, or freed afterwards, takes no memory any more.
  // (With Precision::automatic both wait for an image, and the model stays.) Throws Error: invalid_argument (naming the
  // option), out_of_memory.
  explicit Segmenter(Model model, const Options& options = {});
  ~Segmenter();
  Segmenter(Segmenter&&) noexcept;
  Segmenter& operator=(Segmenter&&) noexcept;

  // The image must have the model's number of channels; NaN counts as 0. Throws Error: invalid_argument (a box outside
  // of the image, a request that contradicts itself), invalid_image (all else, infinite voxels too), cannot_read,
  // cannot_write, memory_limit, cancelled, out_of_memory.
  Segmentation segment(const Image& image, const Request& request = {}, const ProgressCallback& progress = {});

  // What segment() would do and take. Runs the network twice on noise the first time, to know its speed. Throws as
  // segment(), but not for what does not fit.
  Forecast forecast(const Image& image, const Request& request = {});

  int threads() const;                      // that are used
  std::int64_t planned_peak_bytes() const;  // working memory of the network: features, scratch, packed weights

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace e2enet
