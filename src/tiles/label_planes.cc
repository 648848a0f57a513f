#include "tiles/label_planes.h"

#include "image/formats/gzip_writer.h"

namespace e2enet::tiles {

void book_label_planes(const LabelPlanes& planes, MemoryLedger& ledger) {
  const double plane = double(planes.cropped[1]) * double(planes.cropped[2]);
  const double image_slice = double(planes.image[1]) * double(planes.image[2]);
  const double image_voxels = double(planes.image[0]) * image_slice;
  const double threads = planes.threads;
  // Labels wait twice: in the network's frame and in the file's. The last slice of probabilities is kept for a plane
  // that lies between it and the next.
  const double together = std::max(double(kPlanesTogether), threads);
  double exporting = planes.classes * planes.network_slice * sizeof(float) +
                     together * sizeof(std::uint16_t) * (plane + image_slice) +
                     threads * (double(planes.cropped[2]) * 24 + plane * sizeof(float));
  exporting += double(imaging::GzipWriter::working_bytes(planes.threads));
  if (planes.probabilities) exporting += threads * planes.classes * plane * sizeof(float);
  ledger.book("exporting", WorkStage::network, exporting);

  const double volume = image_voxels * sizeof(std::uint16_t);
  if (!planes.in_order) ledger.book("kept", WorkStage::network, WorkStage::finish, volume);
  if (planes.components) {
    ledger.book("kept", WorkStage::network, WorkStage::finish, imaging::component_bytes(image_voxels));
  }
}

}  // namespace e2enet::tiles
