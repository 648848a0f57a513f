// Writes files for the fuzzers to begin from, valid ones and headers that are peculiar as files in the wild are:
// make_seeds FOLDER, which gets one folder a fuzzer.
#include <nifti/nifti1.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/random_model.h"
#include "support/nifti_images.h"
#ifdef E2ENET_HAS_DICOM
#include "dicom/made_series.h"
#endif

namespace {

const char* const kConfigurations[] = {
    R"({"input_channels": 1, "classes": 2, "base_features": 1, "pool_strides": [[1, 1, 1]], "patch_size": [1, 1, 1],
        "density": 0.5})",
    R"({"format_version": 1, "input_channels": 2, "classes": 2, "base_features": 2, "max_features": 3, "groups": 3,
        "pool_strides": [[1, 2, 2], [2, 1, 2]], "patch_size": [4, 4, 4], "density": 0.5, "output": "sigmoid",
        "region_order": [2, 1], "labels": {"0": "background", "2": "whole"}, "mirror_axes": [0, 2],
        "preprocessing": {"spacing": [1, 2.5, 1e-1], "transpose_forward": [2, 0, 1], "orientation": "RAS",
                          "normalization": [{"scheme": "CT", "clip": [-1, 1], "mean": 0, "sd": 1, "use_mask": true},
                                            {"scheme": "CT2", "clip": [0, 9]}]},
        "postprocessing": {"largest_component": [1, 2]}, "provenance": {"licence": "CC0-1.0"}})",
    R"({"input_channels": 1, "classes": 3, "base_features": 1, "pool_strides": [[1, 1, 1]], "patch_size": [1, 1, 1],
        "density": 0.5, "mirror_axes": [0], "mirrored_labels": [[1, 2]], "preprocessing": {"orientation": "PSR"}})",
};

void set_row(float (&row)[4], float a, float b, float c, float d) {
  const float values[4] = {a, b, c, d};
  std::copy_n(values, 4, row);
}

// Headers that some program took otherwise than another, or this one once took wrongly: each differs from a sound one
// in what its name says.
struct Peculiar {
  const char* name;
  void (*change)(nifti_1_header& header);
};
const Peculiar kPeculiar[] = {
    {"no_codes", [](nifti_1_header& header) { header.sform_code = 0; }},
    {"code_beyond_the_last", [](nifti_1_header& header) { header.sform_code = 6; }},
    {"bitpix_of_another_type", [](nifti_1_header& header) { header.bitpix = 16; }},
    {"negative_spacing", [](nifti_1_header& header) { header.pixdim[1] = -1; }},
    {"spacing_of_zero", [](nifti_1_header& header) { header.pixdim[3] = 0; }},
    {"spacing_infinite", [](nifti_1_header& header) { header.pixdim[2] = std::numeric_limits<float>::infinity(); }},
    {"spacing_of_a_thousandth", [](nifti_1_header& header) { header.pixdim[3] = 0.001f; }},
    {"metres", [](nifti_1_header& header) { header.xyzt_units = NIFTI_UNITS_METER; }},
    {"micrometres", [](nifti_1_header& header) { header.xyzt_units = NIFTI_UNITS_MICRON; }},
    {"fourth_axis_of_zero",
     [](nifti_1_header& header) {
       header.dim[0] = 4;
       header.dim[4] = 0;
     }},
    {"two_volumes",
     [](nifti_1_header& header) {
       header.dim[0] = 4;
       header.dim[4] = 2;
     }},
    {"negative_axis", [](nifti_1_header& header) { header.dim[2] = -3; }},
    {"voxel_offset_of_zero", [](nifti_1_header& header) { header.vox_offset = 0; }},
    {"voxel_offset_in_the_header", [](nifti_1_header& header) { header.vox_offset = 100; }},
    {"voxel_offset_not_whole", [](nifti_1_header& header) { header.vox_offset = 352.5f; }},
    {"slope_not_a_number", [](nifti_1_header& header) { header.scl_slope = std::numeric_limits<float>::quiet_NaN(); }},
    {"slope_infinite", [](nifti_1_header& header) { header.scl_slope = std::numeric_limits<float>::infinity(); }},
    {"sform_of_zeros",
     [](nifti_1_header& header) {
       set_row(header.srow_x, 0, 0, 0, 0);
       set_row(header.srow_y, 0, 0, 0, 0);
       set_row(header.srow_z, 0, 0, 0, 0);
     }},
    {"sform_of_zeros_and_qform",
     [](nifti_1_header& header) {
       set_row(header.srow_x, 0, 0, 0, 0);
       set_row(header.srow_y, 0, 0, 0, 0);
       set_row(header.srow_z, 0, 0, 0, 0);
       header.qform_code = 1;
     }},
    {"sform_not_a_number", [](nifti_1_header& header) { header.srow_y[3] = std::numeric_limits<float>::quiet_NaN(); }},
    {"sform_sheared", [](nifti_1_header& header) { set_row(header.srow_x, 1, 0.4f, 0, -7); }},
    {"sform_and_qform_differ",
     [](nifti_1_header& header) {
       header.qform_code = 1;
       header.quatern_d = 1;
     }},
    {"quaternion_too_long",
     [](nifti_1_header& header) {
       header.sform_code = 0;
       header.qform_code = 1;
       header.quatern_b = 0.9f;
       header.quatern_c = 0.9f;
     }},
    {"quaternion_of_half_a_turn",
     [](nifti_1_header& header) {
       header.sform_code = 0;
       header.qform_code = 1;
       header.quatern_c = 1.0000001f;
     }},
    {"handedness_of_a_half",
     [](nifti_1_header& header) {
       header.sform_code = 0;
       header.qform_code = 1;
       header.pixdim[0] = -0.5f;
     }},
    {"colours", [](nifti_1_header& header) { header.datatype = NIFTI_TYPE_RGB24; }},
    {"analyze", [](nifti_1_header& header) { std::memset(header.magic, 0, sizeof header.magic); }},
};

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 2) {
    std::cerr << "Usage: make_seeds FOLDER\n";
    return 2;
  }
  const std::filesystem::path folder = arguments[1];
  for (const char* name :
       {"model_file", "configuration", "nifti", "nifti_header", "gzip", "npy", "c_functions", "dicom"})
    std::filesystem::create_directories(folder / name);

  int number = 0;
  for (const char* configuration : kConfigurations) {
    const std::string name = std::to_string(number++);
    std::ofstream(folder / "configuration" / name) << configuration;
    e2enet::model::write_random_model(configuration, "seed", 1, (folder / "model_file" / name).string());
  }

  e2enet::Geometry geometry;
  geometry.shape = {3, 2, 4};
  const std::vector<std::uint16_t> labels(24, 1);
  const std::vector<float> values(48, 0.5f);
  auto header = e2enet::imaging::NiftiHeader::from_geometry(geometry);
  for (const int version : {1, 2}) {
    header.version = version;
    for (const char* suffix : {".nii", ".nii.gz"}) {
      const std::string name = (folder / "nifti" / ("v" + std::to_string(version))).string();
      e2enet::imaging::write_labels(name + "labels" + suffix, header, labels.data(), 1, 1);
      e2enet::imaging::write_labels(name + "many" + suffix, header, labels.data(), 300, 1);
      e2enet::imaging::write_volumes(name + "floats" + suffix, header, values.data(), 2, 1);
    }
    // A header alone; and the plain files as gzip members, sound and damaged (the layout is told in fuzz_gzip.cc).
    const std::string version_name = "v" + std::to_string(version);
    for (const char* kind : {"labels", "many", "floats"}) {
      const std::string file = read(folder / "nifti" / (version_name + kind + ".nii"));
      write(folder / "nifti_header" / (version_name + kind), file.substr(0, version == 1 ? 352 : 544));
      for (const char damage : {0, 1, 2}) {
        const std::string cut = {damage, 90, 1, 77, 2, 9, 100, 0, 0, 50, 1, 16, 0, 0};
        write(folder / "gzip" / (version_name + kind + std::to_string(damage)), cut + file);
      }
    }
  }

  const std::string sound = read(folder / "nifti_header" / "v1floats");
  for (const auto& [name, change] : kPeculiar) {
    nifti_1_header raw;
    std::memcpy(&raw, sound.data(), sizeof raw);
    change(raw);
    std::string bytes = sound;
    std::memcpy(bytes.data(), &raw, sizeof raw);
    write(folder / "nifti_header" / name, bytes);
  }

  for (const char* shape : {"(2, 3)", "(6,)", "()", "(1, 2, 1, 3)", "(0, 3)"}) {
    std::string dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': " + std::string(shape) + ", }";
    dictionary.resize(117, ' ');
    dictionary += '\n';
    const std::size_t bytes = shape == std::string("()") ? 4 : shape == std::string("(0, 3)") ? 0 : 24;
    write(folder / "npy" / shape,
          "\x93NUMPY\x01" + std::string(1, 0) + "v" + std::string(1, 0) + dictionary + std::string(bytes, '?'));
  }
  // Bytes that mean sensible numbers (fuzz_c_functions.cc), for each of the options' flags.
  for (int flags = 0; flags < 256; flags = 2 * flags + 1) {
    std::string bytes(600, char(60));
    for (std::size_t i = 40; i < bytes.size(); ++i) bytes[i] = char(i * 37 % 150);
    bytes[4] = char(flags);
    write(folder / "c_functions" / std::to_string(flags), bytes);
  }
#ifdef E2ENET_HAS_DICOM
  for (int coding = 0; coding <= static_cast<int>(e2enet::test::Coding::jpeg2000); ++coding) {
    for (const bool enhanced : {false, true}) {
      e2enet::test::MadeSeries series;
      series.coding = static_cast<e2enet::test::Coding>(coding);
      if (series.coding == e2enet::test::Coding::jpeg_baseline) {
        series.bits_allocated = series.bits_stored = 8;
        series.high_bit = 7;
      }
      if (series.coding == e2enet::test::Coding::jpeg_extended) {
        series.bits_stored = 12;
        series.high_bit = 11;
      }
      series.columns = series.rows = 16;
      series.slices = enhanced ? 2 : 1;
      series.enhanced = enhanced;
      series.write((folder / "dicom").string(), (enhanced ? "enhanced" : "plain") + std::to_string(coding) + "_");
    }
  }
#endif
  return 0;
} catch (const std::exception& error) {
  std::cerr << "make_seeds: error: " << error.what() << "\n";
  return 1;
}
