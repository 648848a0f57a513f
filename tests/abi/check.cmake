# Compares what the shared library promises with the stored description of it.
#   cmake -D LIBRARY=... -D BASELINE=... -D HEADERS=... -D ABIDIFF=... -D WORK=... -P check.cmake
cmake_minimum_required(VERSION 3.22)
file(MAKE_DIRECTORY ${WORK})
execute_process(COMMAND xz --decompress --stdout ${BASELINE} OUTPUT_FILE ${WORK}/baseline.abi RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${BASELINE}: expected a description packed with xz, found something else")
endif()
execute_process(COMMAND ${ABIDIFF} --headers-dir2 ${HEADERS} --drop-private-types ${WORK}/baseline.abi ${LIBRARY}
                RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${output}\nThe library's binary interface is not that of ${BASELINE}.\n"
                      "Where that is meant, scripts/renew_abi.sh renews it; docs/api-stability.md says what is allowed.")
endif()
