# Headers only: those of the system, linked to below E2ENET_WEB_LIBRARIES.
if(NOT TARGET Eigen3::Eigen)
  add_library(Eigen3::Eigen INTERFACE IMPORTED)
  target_include_directories(Eigen3::Eigen INTERFACE ${E2ENET_WEB_LIBRARIES}/include/eigen3)
endif()
set(Eigen3_FOUND TRUE)
