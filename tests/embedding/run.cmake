# Installs the library of a build under a fresh prefix and embeds it from outside.
#   cmake -D BUILD=... -D SOURCE=... -D SANITIZE=... -D CXX=... -D CC=... -D NM=... -P run.cmake
cmake_minimum_required(VERSION 3.22)
set(work ${BUILD}/tests/embedding)
file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work})

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output WORKING_DIRECTORY ${work})
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\n${output}\nended with ${result}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/prefix --component library)

# Nothing but the public API may be seen from outside: C functions under the version that they keep, C++ under that of its
# minor version.
file(GLOB_RECURSE library ${work}/prefix/libe2enet.so)
run(${NM} --dynamic --defined-only --demangle ${library})
string(REPLACE "\n" ";" lines "${output}")
set(exported 0)
foreach(line IN LISTS lines)
  if(NOT line MATCHES " A E2ENET_" AND line MATCHES "^[0-9a-f]* *[A-Za-z] (.*)$")
    set(symbol "${CMAKE_MATCH_1}")
    math(EXPR exported "${exported} + 1")
    if(NOT symbol MATCHES "^((typeinfo|typeinfo name|vtable) for e2enet::Error|e2enet::.*)@@E2ENET_CXX_[0-9_]+$" AND
       NOT symbol MATCHES "^e2enet_[a-z0-9_]+@@E2ENET_[0-9_]+$")
      message(FATAL_ERROR "exported, and not of the public API: ${symbol}")
    endif()
  endif()
endforeach()
# And all of it must be: what no part of the library calls is left out of a shared library otherwise.
set(declared 0)
foreach(header e2enet_c.h version.h)
  file(STRINGS ${SOURCE}/include/e2enet/${header} lines REGEX "^E2ENET_API ")
  foreach(line IN LISTS lines)
    if(line MATCHES "(e2enet_[a-z0-9_]+)[(]")
      math(EXPR declared "${declared} + 1")
      if(NOT output MATCHES "${CMAKE_MATCH_1}@@")
        message(FATAL_ERROR "declared in ${header}, and not exported: ${CMAKE_MATCH_1}")
      endif()
    endif()
  endforeach()
endforeach()
if(declared LESS 80 OR exported LESS 150)
  message(FATAL_ERROR "only ${declared} C functions are declared and ${exported} symbols exported by ${library}")
endif()

set(flags "")
if(SANITIZE)
  set(flags "-fsanitize=${SANITIZE}")
endif()
run(${CMAKE_COMMAND} -S ${SOURCE}/tests/embedding -B ${work}/embedder -DCMAKE_PREFIX_PATH=${work}/prefix
    -DCMAKE_C_COMPILER=${CC} -DCMAKE_C_FLAGS=${flags} -DEXAMPLES=${SOURCE}/examples -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_FLAGS=${flags} -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${work}/embedder)
run(${work}/embedder/catch_error)

# The shipped model on a volume of zeros, which is all background, and on one that holds something.
execute_process(COMMAND head -c 96000 /dev/zero OUTPUT_FILE ${work}/zeros.raw)
file(GLOB model ${SOURCE}/models/hippocampus*.safetensors)
list(GET model 0 model)
run(${work}/embedder/segment_volume ${model} ${work}/zeros.raw 20 30 40 ${work}/labels.raw)
file(SIZE ${work}/labels.raw size)
if(NOT size EQUAL 48000)
  message(FATAL_ERROR "expected 48000 bytes of labels, found ${size}")
endif()
execute_process(COMMAND tail -c 96000 ${model} OUTPUT_FILE ${work}/weights.raw)  # finite floats, whatever they mean
run(${work}/embedder/segment_volume ${model} ${work}/weights.raw 20 30 40 ${work}/labels.raw)
run(${work}/embedder/segment_c ${model})
