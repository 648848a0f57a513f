// Segmentation of a volume in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "e2enet/model.h"
#include "e2enet/volume.h"

namespace e2enet {

enum class Precision {
  f32,
  bf16,  // features are stored in bfloat16, arithmetic stays in float32: half the memory, about three decimal digits
};

// Of which labels only the largest component (face-connected) is kept.
enum class LargestComponent {
  model,  // those that the model names (postprocessing.largest_component of its file), often none
  none,   // of none, whatever the model says
  all,    // of every label but the background
};

struct Options {
  // 0: as many as this process may use (cores, affinity, a container's quota). More than that are not started: they
  // would only wait for each other, and no bit of a result depends on their number. At most 4096.
  int threads = 0;
  Precision precision = Precision::f32;
  // Distance of neighbouring tiles as a fraction of the patch, at most 1 and at least one voxel along each axis.
  double step = 0.5;
  bool mirror = false;  // average over mirrored copies of each tile (the model's mirror axes): better, 2-8 times slower
  LargestComponent largest_component = LargestComponent::model;
  bool probabilities = false;  // also return probabilities
  // A spacing with which the image's field of view along an axis is above 3 m, or below 5 mm with voxels below 0.1 mm,
  // or which is more than ten times the model's or less than a tenth of it, is most likely a mistaken unit: refused
  // unless this is set.
  bool allow_implausible_spacing = false;
};

struct Progress {
  enum class Stage { prepare, segment, export_labels };
  Stage stage = Stage::prepare;
  std::int64_t done = 0;  // tiles in stage `segment`, steps otherwise
  std::int64_t total = 0;
  double seconds_left = 0;  // estimate; below 0 when not known yet
};

// Called from the thread that called segment(), at least once a tile. Return false to cancel: segment() then throws
// Error (cancelled) within one tile. An exception that the callback throws ends segment() the same way and comes out of
// it as it is; all other exceptions of the library are Errors.
using ProgressCallback = std::function<bool(const Progress&)>;

struct Segmentation {
  Geometry geometry;                  // that of the image
  std::vector<std::uint16_t> labels;  // one per voxel, D,H,W order
  std::vector<float> probabilities;   // (classes, D, H, W) at the image's resolution, if asked for; else empty
  bool empty_image = false;           // the image had no nonzero voxel: everything is background
  // One line each: where spacing and affine contradict each other by more than 1%, or axes are not at right angles. The
  // spacing is what was used for distances; the affine for directions (and Geometry::voxel_ml() for volumes).
  std::vector<std::string> remarks;
};

// Holds a plan and its working memory for one model. One Segmenter serves one thread at a time; several may share a
// Model. The same input gives the same bits on every run and for every number of threads.
//
//   e2enet::Segmenter segmenter(e2enet::Model::load("model.safetensors"));
//   e2enet::Segmentation result = segmenter.segment(image, [](const e2enet::Progress& p) {
//     std::printf("%lld of %lld\n", (long long)p.done, (long long)p.total);
//     return true;
//   });
class Segmenter {
 public:
  // Plans the network for the model's patch size and gets all memory that inference needs. The kernels are packed into
  // memory of the Segmenter's own: a model that is handed over, or freed afterwards, takes no memory any more. Throws
  // Error: invalid_argument, out_of_memory.
  explicit Segmenter(Model model, const Options& options = {});
  ~Segmenter();
  Segmenter(Segmenter&&) noexcept;
  Segmenter& operator=(Segmenter&&) noexcept;

  // The image must have the model's number of channels and 1 to 32767 voxels an axis; NaN counts as 0. The affine tells
  // which way the axes run: one that does not (zero or dependent columns, as in a zeroed structure) is refused. Throws
  // Error: invalid_argument (affine), invalid_image (all else, infinite voxels too), cancelled, out_of_memory.
  Segmentation segment(const ImageView& image, const ProgressCallback& progress = {});

  // The bare network on one patch: `patch` is (channels, D, H, W) of the model's patch size, already normalised; writes
  // (classes, D, H, W) logits. Throws Error: out_of_memory (where the system gives no thread).
  void run_patch(const float* patch, float* logits);

  std::int64_t planned_peak_bytes() const;  // working memory of the network: features, scratch, packed weights

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace e2enet
