# Highway for WebAssembly, of its sources below E2ENET_WEB_LIBRARIES: what is compiled for instruction sets is in its
# headers, and of the rest only the list of instruction sets is used.
if(NOT TARGET hwy::hwy)
  set(E2ENET_HIGHWAY ${E2ENET_WEB_LIBRARIES}/highway)
  add_library(hwy STATIC ${E2ENET_HIGHWAY}/hwy/targets.cc ${E2ENET_HIGHWAY}/hwy/per_target.cc)
  target_include_directories(hwy SYSTEM PUBLIC ${E2ENET_HIGHWAY})
  add_library(hwy::hwy ALIAS hwy)
endif()
set(hwy_FOUND TRUE)
