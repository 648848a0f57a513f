#include "image/formats/dicom/dicom_stack.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "e2enet/error.h"

namespace e2enet::imaging::dicom {
namespace {

using Vector = std::array<double, 3>;

constexpr double kSameDirection = 1e-4;  // of each component: 0.02 mm at the edge of a field of view of 400 mm
constexpr double kSamePixelSpacing = 1e-4;
constexpr double kSamePlace = 1e-3;  // mm
// How far from its place in an even stack a slice may lie: a hundredth of the distance, or what files with two decimals
// are rounded by.
constexpr double kUnevenFraction = 0.01, kUnevenLength = 0.01;
// Slices that drift by less, from the first to the last, are not those of a tilted gantry.
constexpr double kDrift = 0.1;  // pixels
constexpr double kDegrees = 57.29577951308232;

constexpr char kPosition[] = "(0020,0032) Image Position Patient";
constexpr char kOrientation[] = "(0020,0037) Image Orientation Patient";

double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
Vector minus(const Vector& a, const Vector& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
Vector cross(const Vector& a, const Vector& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

std::string text(double value) {
  std::ostringstream out;
  out.precision(6);
  out << value;
  return out.str();
}

class Maker {
 public:
  Maker(const Series& series, const StackOptions& options) : series_(series), options_(options) {}

  Stack make() {
    require_slices();
    require_alike();
    sort();
    require_places_of_their_own();
    measure();
    fill_geometry();
    add_remarks();
    return std::move(stack_);
  }

 private:
  const Frame& frame(std::size_t i) const { return series_.frames[i]; }
  const Frame& slice(std::size_t i) const { return series_.frames[stack_.order[i]]; }
  std::string name(const Frame& frame) const { return series_.name_of(frame); }
  std::size_t count() const { return series_.frames.size(); }

  [[noreturn]] void refuse(const Frame& frame, const std::string& what) const {
    throw Error(ErrorCode::invalid_image, name(frame) + ": " + what);
  }
  [[noreturn]] void refuse_unlike(const Frame& other, const std::string& tag, const std::string& expected,
                                  const std::string& found) const {
    refuse(other, tag + ": expected " + expected + " as in " + name(frame(0)) + ", found " + found);
  }

  void require_slices() const {
    if (count() == 0) {
      throw Error(ErrorCode::invalid_image,
                  "DICOM series " + series_.uid + ": slices: expected at least 2, found none");
    }
    if (!series_.not_a_volume.empty() && series_.not_a_volume != "a single slice" && frame(0).problem.empty()) {
      refuse(frame(0), "(0008,0008) Image Type: expected slices of a volume, found a " + series_.not_a_volume);
    }
    for (const Frame& one : series_.frames) {
      if (!one.problem.empty()) refuse(one, one.problem);
    }
    if (count() < 2) {
      refuse(frame(0), std::string(kPosition) + ": expected at least 2 slices in the series, found this one alone");
    }
  }

  void require_alike() const {
    const Frame& first = frame(0);
    for (const Frame& other : series_.frames) {
      if (other.rows != first.rows) {
        refuse_unlike(other, "(0028,0010) Rows", std::to_string(first.rows), std::to_string(other.rows));
      }
      if (other.columns != first.columns) {
        refuse_unlike(other, "(0028,0011) Columns", std::to_string(first.columns), std::to_string(other.columns));
      }
      if (other.frame_of_reference != first.frame_of_reference) {
        refuse_unlike(other, "(0020,0052) Frame Of Reference UID", "'" + first.frame_of_reference + "'",
                      "'" + other.frame_of_reference + "'");
      }
      for (std::size_t i = 0; i < 2; ++i) {
        if (std::abs(other.pixel_spacing[i] - first.pixel_spacing[i]) > kSamePixelSpacing * first.pixel_spacing[i]) {
          refuse_unlike(other, "(0028,0030) Pixel Spacing",
                        text(first.pixel_spacing[0]) + " x " + text(first.pixel_spacing[1]) + " mm",
                        text(other.pixel_spacing[0]) + " x " + text(other.pixel_spacing[1]) + " mm");
        }
      }
      for (std::size_t i = 0; i < 6; ++i) {
        if (std::abs(other.directions[i] - first.directions[i]) > kSameDirection) {
          const auto all = [](const std::array<double, 6>& d) {
            std::string joined;
            for (const double one : d) joined += (joined.empty() ? "" : "\\") + text(one);
            return joined;
          };
          refuse_unlike(other, kOrientation, "one orientation of all slices, " + all(first.directions) + ",",
                        all(other.directions));
        }
      }
    }
  }

  void sort() {
    const std::array<double, 6>& d = frame(0).directions;
    row_ = {d[0], d[1], d[2]};
    normal_ = cross(row_, {d[3], d[4], d[5]});
    const double length = std::sqrt(dot(normal_, normal_));
    for (double& component : normal_) component /= length;
    column_ = {d[3], d[4], d[5]};
    stack_.order.resize(count());
    std::iota(stack_.order.begin(), stack_.order.end(), std::size_t{0});
    std::stable_sort(stack_.order.begin(), stack_.order.end(), [&](std::size_t a, std::size_t b) {
      return dot(normal_, frame(a).position) < dot(normal_, frame(b).position);
    });
    for (std::size_t i = 0; i < count(); ++i) {
      const Vector from_first = minus(slice(i).position, slice(0).position);
      stack_.along.push_back(dot(normal_, from_first));
      stack_.shift.push_back(
          {dot(row_, from_first) / slice(0).pixel_spacing[1], dot(column_, from_first) / slice(0).pixel_spacing[0]});
    }
  }

  // What tells two slices at one place apart, as " (tag: a and b)".
  static std::string apart(const Frame& a, const Frame& b) {
    for (const auto& [tag, value] : a.varying) {
      for (const auto& [other_tag, other] : b.varying) {
        if (tag == other_tag && value != other) return "; " + tag + " is '" + value + "' and '" + other + "'";
      }
    }
    return "";
  }

  void require_places_of_their_own() const {
    for (std::size_t i = 0; i + 1 < count(); ++i) {
      const Frame &a = slice(i), &b = slice(i + 1);
      const SourceFile &file_a = series_.files[a.file], &file_b = series_.files[b.file];
      if (a.file != b.file && !file_a.sop_instance.empty() && file_a.sop_instance == file_b.sop_instance) {
        refuse(b, "(0008,0018) SOP Instance UID: expected each instance once, found that of " + name(a) + " again");
      }
      if (stack_.along[i + 1] - stack_.along[i] > kSamePlace) continue;
      const Vector between = minus(b.position, a.position);
      const bool same = std::sqrt(dot(between, between)) <= kSamePlace;
      refuse(b, std::string(kPosition) + ": expected a place of its own for each slice, found " +
                    (same ? "that of " : "the plane of ") + name(a) +
                    (same ? ": several time points, echoes or copies in one series" : "") + apart(a, b));
    }
  }

  void measure() {
    const std::size_t last = count() - 1;
    step_ = stack_.along[last] / static_cast<double>(last);
    const double tolerance = std::max(kUnevenFraction * step_, kUnevenLength);
    for (std::size_t i = 0; i <= last && !stack_.uneven; ++i) {
      stack_.uneven = std::abs(stack_.along[i] - step_ * static_cast<double>(i)) > tolerance;
    }
    if (stack_.uneven && !options_.allow_uneven) refuse_uneven();

    const auto& s = stack_.shift;
    const double drift = std::hypot(s[last][0], s[last][1]);
    stack_.tilted = drift > kDrift;
    const auto& spacing = slice(0).pixel_spacing;
    const double in_plane = std::hypot(s[last][0] * spacing[1], s[last][1] * spacing[0]);
    stack_.tilt_degrees = std::atan2(in_plane, stack_.along[last]) * kDegrees;
    for (std::size_t i = 0; i <= last; ++i) {
      // On the line from the first slice to the last.
      const double fraction = stack_.along[i] / stack_.along[last];
      const double away =
          std::hypot((s[i][0] - fraction * s[last][0]) * spacing[1], (s[i][1] - fraction * s[last][1]) * spacing[0]);
      if (away <= std::max(tolerance, kDrift * std::min(spacing[0], spacing[1]))) continue;
      refuse(slice(i), std::string(kPosition) + ": expected a place on the line from " + name(slice(0)) + " to " +
                           name(slice(last)) + ", found one " + text(away) + " mm beside it");
    }
  }

  [[noreturn]] void refuse_uneven() const {
    // The distance that most slices have; where others are multiples of it, slices are missing.
    std::vector<double> distances;
    for (std::size_t i = 0; i + 1 < count(); ++i) distances.push_back(stack_.along[i + 1] - stack_.along[i]);
    std::vector<double> sorted = distances;
    std::sort(sorted.begin(), sorted.end());
    const double usual = sorted[(sorted.size() - 1) / 2];
    const double tolerance = std::max(kUnevenFraction * usual, kUnevenLength);
    std::size_t worst = 0, uneven = 0;
    bool multiples = true;
    for (std::size_t i = 0; i < distances.size(); ++i) {
      const double away = std::abs(distances[i] - usual);
      if (away > std::abs(distances[worst] - usual)) worst = i;
      uneven += away > tolerance;
      const double times = distances[i] / usual;
      multiples = multiples && std::abs(times - std::round(times)) * usual <= tolerance * std::round(times);
    }
    std::string missing;
    if (multiples && uneven > 0) {
      const long lost = std::lround(distances[worst] / usual) - 1;
      missing = lost == 1 ? ": a slice is missing between them"
                          : ": " + std::to_string(lost) + " slices are missing between them";
    } else if (uneven > 1) {
      missing = " (and " + std::to_string(uneven - 1) + " more uneven distances)";
    }
    refuse(slice(worst + 1), std::string(kPosition) + ": expected " + text(usual) + " mm from " + name(slice(worst)) +
                                 " as between other slices, found " + text(distances[worst]) + " mm" + missing +
                                 " (to take uneven distances all the same: --regrid)");
  }

  void fill_geometry() {
    const Frame& first = slice(0);
    const Vector whole = minus(slice(count() - 1).position, first.position);
    const double steps = static_cast<double>(count() - 1);
    Geometry& g = stack_.geometry;
    g.shape = {static_cast<std::int64_t>(count()), first.rows, first.columns};
    g.spacing = {step_, first.pixel_spacing[0], first.pixel_spacing[1]};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      // DICOM's x and y run to the left and to the back, NIfTI's to the right and to the front.
      const double sign = axis < 2 ? -1 : 1;
      g.affine[4 * axis + 0] = sign * row_[axis] * first.pixel_spacing[1] + 0.0;  // not -0
      g.affine[4 * axis + 1] = sign * column_[axis] * first.pixel_spacing[0] + 0.0;
      g.affine[4 * axis + 2] = sign * (stack_.tilted ? whole[axis] / steps : normal_[axis] * step_) + 0.0;
      g.affine[4 * axis + 3] = sign * first.position[axis] + 0.0;
    }
    if (!stack_.tilted) {
      for (auto& one : stack_.shift) one = {0, 0};
    }
  }

  void add_remarks() {
    const auto remark = [&](Remark::Weight weight, const std::string& what) {
      stack_.remarks.push_back({weight, what});
    };
    if (series_.localizers > 0) {
      remark(Remark::Weight::remark, std::to_string(series_.localizers) +
                                         " localisers, (0008,0008) Image Type, in the same series are set aside");
    }
    if (stack_.tilted) {
      remark(Remark::Weight::remark, "the gantry was tilted by " + text(stack_.tilt_degrees) +
                                         " degrees, (0020,0032) Image Position Patient: each slice is moved in its " +
                                         "plane for the network, and its labels back");
    }
    if (stack_.uneven) {
      remark(Remark::Weight::warning,
             "distances between slices differ, (0020,0032) Image Position Patient: the "
             "network sees interpolated slices, and labels are those at the real ones");
    }
    const bool inverted =
        std::any_of(series_.frames.begin(), series_.frames.end(), [](const Frame& one) { return one.format.inverted; });
    if (inverted) {
      remark(Remark::Weight::remark, "(0028,0004) Photometric Interpretation is MONOCHROME1: values are inverted");
    }
  }

  const Series& series_;
  const StackOptions& options_;
  Stack stack_;
  Vector row_{}, column_{}, normal_{};
  double step_ = 0;
};

}  // namespace

Stack make_stack(const Series& series, const StackOptions& options) { return Maker(series, options).make(); }

}  // namespace e2enet::imaging::dicom
