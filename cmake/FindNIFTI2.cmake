# Finds nifti_clib's library for NIfTI-1 and NIfTI-2 by header and library: its own package configuration asks for its
# programs too, which Debian ships apart. Defines NIFTI2::NIFTI2.
find_path(NIFTI2_INCLUDE_DIR nifti/nifti2_io.h)
find_library(NIFTI2_LIBRARY nifti2)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NIFTI2 REQUIRED_VARS NIFTI2_LIBRARY NIFTI2_INCLUDE_DIR)
mark_as_advanced(NIFTI2_LIBRARY NIFTI2_INCLUDE_DIR)
if(NIFTI2_FOUND AND NOT TARGET NIFTI2::NIFTI2)
  add_library(NIFTI2::NIFTI2 UNKNOWN IMPORTED)
  # The header includes one beside it by its bare name.
  set_target_properties(NIFTI2::NIFTI2 PROPERTIES IMPORTED_LOCATION "${NIFTI2_LIBRARY}"
                        INTERFACE_INCLUDE_DIRECTORIES "${NIFTI2_INCLUDE_DIR};${NIFTI2_INCLUDE_DIR}/nifti")
endif()
