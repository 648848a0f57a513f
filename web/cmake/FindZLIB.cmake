# zlib for WebAssembly, of its sources below E2ENET_WEB_LIBRARIES.
if(NOT TARGET ZLIB::ZLIB)
  set(E2ENET_ZLIB ${E2ENET_WEB_LIBRARIES}/zlib)
  add_library(zlib STATIC)
  foreach(name adler32 crc32 deflate gzclose gzlib gzread gzwrite inffast inflate inftrees trees zutil)
    target_sources(zlib PRIVATE ${E2ENET_ZLIB}/${name}.c)
  endforeach()
  target_include_directories(zlib SYSTEM PUBLIC ${E2ENET_ZLIB})
  # As its configure script would find: files with offsets of 64 bits.
  target_compile_definitions(zlib PUBLIC HAVE_UNISTD_H=1)
  add_library(ZLIB::ZLIB ALIAS zlib)
endif()
set(ZLIB_FOUND TRUE)
