// Segments a volume of raw voxels in memory.
//
//   segment_volume MODEL.safetensors VOXELS.raw D H W LABELS.raw
//
// VOXELS.raw holds D * H * W float32 values, W fastest, 1 mm apart; LABELS.raw receives one uint16 a voxel.
#include <e2enet/e2enet.h>

#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <vector>

namespace {

void segment(char** arguments) {
  e2enet::Segmenter segmenter(e2enet::Model::load(arguments[0]));

  const e2enet::Geometry geometry =
      e2enet::geometry_of({std::atoll(arguments[2]), std::atoll(arguments[3]), std::atoll(arguments[4])}, {1, 1, 1});
  std::vector<float> voxels(static_cast<std::size_t>(geometry.voxels()));
  std::ifstream(arguments[1]).read(reinterpret_cast<char*>(voxels.data()), geometry.voxels() * 4);
  const e2enet::Image image = e2enet::Image::from_arrays(geometry, {{voxels.data()}});

  const e2enet::Segmentation result = segmenter.segment(image, {}, [](const e2enet::Progress& progress) {
    std::cerr << progress.done << " of " << progress.total << "\n";
    return true;  // false cancels
  });
  e2enet::write_whole_file(arguments[5], result.labels.data(), result.labels.size() * sizeof result.labels[0]);
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 7) {
    std::cerr << "Usage: segment_volume MODEL.safetensors VOXELS.raw D H W LABELS.raw\n";
    return 2;
  }
  segment(arguments + 1);
  return 0;
} catch (const std::exception& error) {  // e2enet::Error says what failed, where, what was expected and what was found
  std::cerr << "segment_volume: error: " << error.what() << "\n";
  return 1;
}
