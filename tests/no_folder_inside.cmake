# No file holds the name of a folder.
#   cmake -D FILES=PATH,PATH -D FOLDER=... -P no_folder_inside.cmake
cmake_minimum_required(VERSION 3.22)
string(REPLACE "," ";" FILES "${FILES}")
string(REGEX REPLACE "([][+.*()^$?|\\\\])" "\\\\\\1" pattern "${FOLDER}")
foreach(file IN LISTS FILES)
  file(STRINGS ${file} found REGEX "${pattern}" LIMIT_COUNT 3)
  if(found)
    message(FATAL_ERROR "${file}: expected nothing of where it was built, found: ${found}")
  endif()
  file(STRINGS ${file} known REGEX "E2ENET_TARGET" LIMIT_COUNT 1)  # which is in both: that this search finds things
  if(NOT known)
    message(FATAL_ERROR "${file}: expected a text that is known to be in it, found none")
  endif()
endforeach()
