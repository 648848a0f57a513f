# Headers only: those of the system, linked to below E2ENET_WEB_LIBRARIES since what lies beside them there is not a
# browser's.
if(NOT TARGET nlohmann_json::nlohmann_json)
  add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
  target_include_directories(nlohmann_json::nlohmann_json INTERFACE ${E2ENET_WEB_LIBRARIES}/include)
  include_directories(SYSTEM ${E2ENET_WEB_LIBRARIES}/include)  # as the system's own headers are everywhere
endif()
set(nlohmann_json_FOUND TRUE)
