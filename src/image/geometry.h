// What a volume's geometry says of itself: whether its matrix can be used, whether matrix and spacing agree, and
// whether the spacing is one that a scan of a body can have. The rules are in docs/volumes.md, "Orientation".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "e2enet/volume.h"
#include "image/orientation.h"

namespace e2enet::imaging {

// Something about an image that its user should know, though it can be worked with.
struct Remark {
  enum class Weight {
    remark,   // how a peculiar header was read
    warning,  // figures or labels may not mean what they seem to
  };
  Weight weight = Weight::remark;
  std::string text;  // without the file's name
};

// 0 where a column is zero or a number is not finite; 1 for columns at right angles.
double independence(const Affine& affine);
// Whether a matrix gives every voxel a place of its own: finite, with three independent columns.
bool usable(const Affine& affine);

// Warnings where the spacing and the affine contradict each other, or the axes are not at right angles. `matrix` and
// `spacing` name the two ("sform", "pixdim").
std::vector<Remark> contradictions(const Geometry& geometry, const std::string& matrix, const std::string& spacing);

// In what two matrices for the same voxels differ by more than rounding and registration to nearby would explain; empty
// where they do not.
std::string difference(const Affine& a, const Affine& b);

// Throws Error (invalid_image) naming `image` and the spacing where no body has such a field of view, or where the
// model's own spacing (in the network's frame, if it has one) is more than ten times smaller or larger: units that were
// mistaken look like that.
void require_plausible_spacing(const std::string& image, const Geometry& geometry, const AxisMap& network_frame,
                               const std::optional<Spacing>& model_spacing);

}  // namespace e2enet::imaging
