# Finds what the DICOM reader and writer need by headers and libraries: DCMTK (data sets, JPEG, JPEG-LS, RLE) and OpenJPEG
# (JPEG 2000). DCMTK's own package configuration asks for its programs too, which Debian ships apart. Defines
# DicomLibraries::DicomLibraries.
find_path(DCMTK_INCLUDE_DIR dcmtk/dcmdata/dctk.h)
find_path(OpenJPEG_INCLUDE_DIR openjpeg.h PATH_SUFFIXES openjpeg-2.5 openjpeg-2.4 openjpeg-2.3)
set(DicomLibraries_NEEDED DCMTK_INCLUDE_DIR OpenJPEG_INCLUDE_DIR)
foreach(library dcmjpls dcmjpeg dcmdata oflog ofstd openjp2)
  find_library(DicomLibraries_${library} ${library})
  list(APPEND DicomLibraries_NEEDED DicomLibraries_${library})
  list(APPEND DicomLibraries_LIBRARIES ${DicomLibraries_${library}})
endforeach()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(DicomLibraries REQUIRED_VARS ${DicomLibraries_NEEDED})
mark_as_advanced(${DicomLibraries_NEEDED})
if(DicomLibraries_FOUND AND NOT TARGET DicomLibraries::DicomLibraries)
  add_library(DicomLibraries::DicomLibraries INTERFACE IMPORTED)
  target_include_directories(DicomLibraries::DicomLibraries SYSTEM INTERFACE "${DCMTK_INCLUDE_DIR}"
                                                                            "${OpenJPEG_INCLUDE_DIR}")
  target_link_libraries(DicomLibraries::DicomLibraries INTERFACE ${DicomLibraries_LIBRARIES})
endif()
