// The public types of where voxels lie (e2enet/volume.h) as vectors and matrices of Eigen. All of them have fixed
// sizes, so nothing here asks for memory.
#pragma once

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <cmath>

#include "e2enet/volume.h"

namespace e2enet::imaging {

using Vector = Eigen::Vector3d;
using Axes = Eigen::Matrix3d;  // column a: one step along the file's axis i, j or k, in mm

inline Eigen::Map<const Eigen::Matrix<double, 4, 4, Eigen::RowMajor>> matrix_of(const Affine& affine) {
  return Eigen::Map<const Eigen::Matrix<double, 4, 4, Eigen::RowMajor>>(affine.data());
}
inline Eigen::Map<Eigen::Matrix<double, 4, 4, Eigen::RowMajor>> matrix_of(Affine& affine) {
  return Eigen::Map<Eigen::Matrix<double, 4, 4, Eigen::RowMajor>>(affine.data());
}
inline Axes axes_of(const Affine& affine) { return matrix_of(affine).topLeftCorner<3, 3>(); }
// Of voxel (0, 0, 0).
inline Vector origin_of(const Affine& affine) { return matrix_of(affine).topRightCorner<3, 1>(); }

// In the order x, y, z. Eigen's own dot() adds y and z first, which rounds otherwise, and how it groups is nothing that
// it promises.
inline double dot(const Vector& a, const Vector& b) { return a.x() * b.x() + a.y() * b.y() + a.z() * b.z(); }

// Also of what is too large or too small to be squared, as a stranger's header may be.
inline double length(const Vector& vector) { return std::hypot(vector.x(), vector.y(), vector.z()); }

}  // namespace e2enet::imaging
