// Colours of labels on a dark picture: as many as there are labels, all different, calm, and distinguishable with the
// common forms of colour blindness.
#pragma once

#include <map>
#include <string>

#include "report/canvas.h"

namespace e2enet::report {

// A colour for each label of `names` (label value -> name). Names that differ in nothing but "left" and "right" get one
// hue, the second of the two lighter or darker. The same names always get the same colours. Background, label 0, has
// none, and whether it is among the names changes no colour: picture and DICOM segmentation show the same ones.
std::map<int, Color> label_colors(const std::map<int, std::string>& names);

// How different two colours look (CIE 1976, where 2.3 is just noticeable): the least of what people with normal colour
// vision, without red cones and without green cones see, the latter two counted one and a half times.
double color_distance(const Color& a, const Color& b);

}  // namespace e2enet::report
