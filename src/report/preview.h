// A picture of a segmentation: three orthogonal views, labels in colour over the image, a legend with volumes.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "e2enet/volume.h"
#include "image/slice_source.h"
#include "report/canvas.h"

namespace e2enet::report {

struct PreviewInput {
  Geometry geometry;
  imaging::SliceSource* image = nullptr;  // read once from first to last slice; NaN counts as 0
  const std::uint16_t* labels = nullptr;  // D, H, W order
  std::map<int, std::string> names;       // label value -> name; labels without a name show their number
  std::string title;
};

// Where things stand in a picture, in pixels from its upper left corner.
struct PreviewLayout {
  struct Letter {
    char letter = ' ';
    double center = 0;  // across
    double base = 0;    // the line on which it stands
    double size = 0;    // height of capitals
  };
  struct View {
    const char* name = "";
    int x = 0, y = 0, width = 0, height = 0;
    std::array<Letter, 4> letters;  // left, right, top, bottom
  };
  struct LegendEntry {
    int label = 0;
    Color color;
    std::string name;        // as it is drawn
    int swatch = 0;          // left side of its square of 13 pixels
    double name_left = 0;    // where the name begins
    double volume_left = 0;  // and the volume
    double volume_right = 0;
    int base = 0;  // the line on which both stand, one pixel above the square's lower side
    std::string volume;
  };
  int width = 0, height = 0;
  std::array<View, 3> views;  // axial, coronal, sagittal
  std::vector<LegendEntry> legend;
};

// Axial, coronal and sagittal views through the slices in which the labels' cross-section is largest (the middle of the
// volume where there are no labels), in proportion to the spacing, as radiologists look at them: the patient's right is
// on the left. Axes of an oblique volume are taken to be the anatomical ones that they are nearest to. Of the
// image, only three slices are held in memory. Names that are too long for the legend end in an ellipsis. Throws Error
// (cannot_read, cannot_write).
// What drawing one takes: the canvas, supersampled panels, a sample of the image's values, three slices of labels and
// image.
double preview_bytes(const Shape& image);

// The file is not committed.
PreviewLayout draw_preview(AtomicFile& file, const PreviewInput& input);
PreviewLayout write_preview(const std::string& path, const PreviewInput& input);

}  // namespace e2enet::report
