# The examples in C++ and in C give the same labels of a file, and an error names a file that is not there.
#   cmake -D PROGRAMS=... -D SOURCE=... -D WORK=... -P segment_file.cmake
cmake_minimum_required(VERSION 3.22)
file(MAKE_DIRECTORY ${WORK})
set(model ${SOURCE}/tests/data/golden/e2e/plain.safetensors)
file(GLOB images ${SOURCE}/tests/data/golden/e2e/plain*.nii*)
list(GET images 0 image)
foreach(program segment_file segment_file_c)
  execute_process(COMMAND ${PROGRAMS}/${program} ${model} ${image} ${WORK}/${program}.nii RESULT_VARIABLE result
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  if(NOT result EQUAL 0 OR NOT output MATCHES "mL")
    message(FATAL_ERROR "${program} ended with ${result}: ${output}${errors}")
  endif()
  file(SHA256 ${WORK}/${program}.nii of_${program})
  execute_process(COMMAND ${PROGRAMS}/${program} ${model} ${WORK}/nothing.nii ${WORK}/none.nii RESULT_VARIABLE result
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  if(NOT result EQUAL 1 OR NOT errors MATCHES "error: .*nothing.nii" OR EXISTS ${WORK}/none.nii)
    message(FATAL_ERROR "${program}: expected an error that names nothing.nii, found ${result}: ${errors}")
  endif()
endforeach()
if(NOT of_segment_file STREQUAL of_segment_file_c)
  message(FATAL_ERROR "expected the same labels from C++ and C, found others")
endif()
