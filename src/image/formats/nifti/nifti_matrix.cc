#include "image/formats/nifti/nifti_matrix.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_layout.h"

namespace e2enet::imaging {
namespace {

Affine sform_matrix(const NiftiHeader& header) {
  Affine affine{};
  std::copy(header.s_rows.begin(), header.s_rows.end(), affine.begin());
  affine[15] = 1;
  return affine;
}

// By the definition in nifti1.h, METHOD 2.
Affine qform_matrix(const NiftiHeader& header) {
  const std::array<double, 3>&q = header.quaternion, &o = header.q_offset;
  const std::array<double, 8>& p = header.pixdim;
  const nifti_dmat44 matrix = nifti_quatern_to_dmat44(q[0], q[1], q[2], o[0], o[1], o[2], std::abs(p[1]),
                                                      std::abs(p[2]), std::abs(p[3]), p[0] < 0 ? -1 : 1);
  Affine affine;
  std::copy_n(&matrix.m[0][0], affine.size(), affine.begin());
  return affine;
}

// Why the sform cannot be used; empty where it can.
std::string fault_of_sform(const NiftiHeader& header) {
  for (std::size_t i = 0; i < 12; ++i) {
    if (std::isfinite(header.s_rows[i])) continue;
    return std::string("srow_") + "xyz"[i / 4] + "[" + std::to_string(i % 4) + "] " + text(header.s_rows[i]);
  }
  const Affine affine = sform_matrix(header);
  if (usable(affine)) return "";
  Geometry geometry;
  geometry.affine = affine;
  return "srow_x, srow_y, srow_z with a determinant of " + text(geometry.voxel_ml() * 1000) +
         ", which are not three independent axes";
}

// Why the qform cannot be used; empty where it can.
std::string fault_of_qform(const NiftiHeader& header) {
  // Files round a half turn's quaternion; a longer one is no rotation at all.
  constexpr double kLongest = 1.001;
  double squares = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    if (!std::isfinite(header.quaternion[i])) {
      return std::string("quatern_") + "bcd"[i] + " " + text(header.quaternion[i]);
    }
    if (!std::isfinite(header.q_offset[i])) {
      return std::string("qoffset_") + "xyz"[i] + " " + text(header.q_offset[i]);
    }
    squares += header.quaternion[i] * header.quaternion[i];
  }
  if (squares <= kLongest) return "";
  return "quatern_b, quatern_c, quatern_d with squares that add up to " + text(squares) + ", where 1 is the most";
}

}  // namespace

// Decides between the two matrices and says so where that needs an explanation.
void check_matrices(NiftiHeader& header, const std::string& path) {
  constexpr int kLastCode = 5;  // NIFTI_XFORM_TEMPLATE_OTHER
  const std::pair<const char*, int> codes[] = {{"sform_code", header.sform_code}, {"qform_code", header.qform_code}};
  for (const auto& [field, code] : codes) {
    // Some programs take the matrix of an unknown code, others take it for 0.
    if (code > kLastCode) fail(path, field, "0 to " + std::to_string(kLastCode), std::to_string(code));
  }
  const auto remark = [&](const std::string& what) { header.remarks.push_back({Remark::Weight::remark, what}); };
  if (header.sform_code <= 0 && header.qform_code <= 0) {
    remark(
        "it does not tell how it lies (sform_code and qform_code are 0): i, j, k are taken to run to the right, to the "
        "front and upwards (RAS)");
    return;
  }
  const std::string sform = header.sform_code > 0 ? fault_of_sform(header) : "";
  const std::string qform = header.qform_code > 0 ? fault_of_qform(header) : "";
  switch (header.matrix_source()) {
    case MatrixSource::sform:
      if (!qform.empty())
        remark("its qform cannot be used (" + qform + "): the sform is used, as always where it is good");
      if (header.qform_code > 0 && qform.empty()) {
        const std::string differs = difference(sform_matrix(header), qform_matrix(header));
        if (!differs.empty()) remark("its sform and qform differ (" + differs + "): the sform is used");
      }
      break;
    case MatrixSource::qform:
      if (header.pixdim[0] < 0 && header.pixdim[0] != -1) {
        // Some programs look at the sign, others take what is not -1 for 1: k runs one way or the other.
        fail(path, "pixdim[0]", "1 or -1, as the qform is used", text(header.pixdim[0]));
      }
      if (!sform.empty()) remark("its sform cannot be used (" + sform + "): the qform is used");
      break;
    case MatrixSource::spacing:
      fail(path, header.sform_code > 0 ? header.qform_code > 0 ? "sform and qform" : "sform" : "qform",
           "a usable matrix, as its code is above 0", sform + (sform.empty() || qform.empty() ? "" : ", and ") + qform);
  }
}

double millimetres_per_unit(int units) {
  switch (units & 7) {
    case NIFTI_UNITS_METER:
      return 1000.0;
    case NIFTI_UNITS_MICRON:
      return 0.001;
    default:
      return 1.0;  // mm, or not said
  }
}

const char* matrix_name(MatrixSource source) {
  switch (source) {
    case MatrixSource::sform:
      return "sform";
    case MatrixSource::qform:
      return "qform";
    case MatrixSource::spacing:
      return "spacing";
  }
  throw Error(ErrorCode::internal, "a matrix without a name");
}

MatrixSource NiftiHeader::matrix_source() const {
  if (sform_code > 0 && fault_of_sform(*this).empty()) return MatrixSource::sform;
  if (qform_code > 0 && fault_of_qform(*this).empty()) return MatrixSource::qform;
  return MatrixSource::spacing;
}

Geometry NiftiHeader::geometry() const {
  Geometry geometry;
  geometry.shape = shape;
  const double scale = millimetres_per_unit(units);
  geometry.spacing = {std::abs(pixdim[3]) * scale, std::abs(pixdim[2]) * scale, std::abs(pixdim[1]) * scale};
  switch (matrix_source()) {
    case MatrixSource::sform:
      geometry.affine = sform_matrix(*this);
      break;
    case MatrixSource::qform:
      geometry.affine = qform_matrix(*this);
      break;
    case MatrixSource::spacing:
      geometry.affine = {
          std::abs(pixdim[1]), 0, 0, 0, 0, std::abs(pixdim[2]), 0, 0, 0, 0, std::abs(pixdim[3]), 0, 0, 0, 0, 1};
      break;
  }
  for (std::size_t i = 0; i < 12; ++i) geometry.affine[i] *= scale;
  return geometry;
}

NiftiHeader NiftiHeader::from_geometry(const Geometry& geometry) {
  NiftiHeader header;
  header.shape = geometry.shape;
  header.pixdim = {1, geometry.spacing[2], geometry.spacing[1], geometry.spacing[0], 0, 0, 0, 0};
  header.sform_code = NIFTI_XFORM_SCANNER_ANAT;
  std::copy_n(geometry.affine.begin(), 12, header.s_rows.begin());
  header.units = NIFTI_UNITS_MM;
  return header;
}

}  // namespace e2enet::imaging
