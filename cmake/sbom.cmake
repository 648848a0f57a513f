# Writes what the library and the program are made of as SPDX 2.3 (JSON): the shared libraries that ldd shows, with the
# packages that they come from where the system has dpkg, and what is compiled in.
#   cmake -D VERSION=... -D FILES=PATH,PATH -D COMPILED_IN=NAME=VERSION,NAME=VERSION -D OUTPUT=... -P sbom.cmake
cmake_minimum_required(VERSION 3.22)
string(REPLACE "," ";" FILES "${FILES}")
string(REPLACE "," ";" COMPILED_IN "${COMPILED_IN}")

# SPDX identifiers of the licences of what we know; of anything else nothing is said.
set(licence_of_CLI11 BSD-3-Clause)
set(licence_of_nlohmann_json MIT)
set(licence_of_Eigen MPL-2.0)
set(licence_of_libnifti2 LicenseRef-Public-Domain)
set(licence_of_libznz LicenseRef-Public-Domain)
set(licence_of_libhwy Apache-2.0)
set(licence_of_libdnnl Apache-2.0)
set(licence_of_libpng16 libpng-2.0)
set(licence_of_libz Zlib)
set(licence_of_libgomp "GPL-3.0-or-later WITH GCC-exception-3.1")
set(licence_of_libstdc++ "GPL-3.0-or-later WITH GCC-exception-3.1")
set(licence_of_libgcc_s "GPL-3.0-or-later WITH GCC-exception-3.1")
set(licence_of_libc LGPL-2.1-or-later)
set(licence_of_libm LGPL-2.1-or-later)
set(licence_of_libopenjp2 BSD-2-Clause)

find_program(DPKG dpkg-query)
set(packages "")
set(relationships "")

function(add_package name id version licence purl file_name checksum relationship)
  if(NOT licence)
    set(licence NOASSERTION)
  endif()
  set(optional "")
  if(purl)
    string(APPEND optional ", \"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", \"referenceType\": \"purl\", \"referenceLocator\": \"${purl}\"}]")
  endif()
  if(checksum)
    string(APPEND optional ", \"packageFileName\": \"${file_name}\", \"checksums\": [{\"algorithm\": \"SHA256\", \"checksumValue\": \"${checksum}\"}]")
  endif()
  set(packages "${packages},
    {\"SPDXID\": \"SPDXRef-${id}\", \"name\": \"${name}\", \"versionInfo\": \"${version}\", \"downloadLocation\": \"NOASSERTION\", \"filesAnalyzed\": false, \"licenseConcluded\": \"NOASSERTION\", \"licenseDeclared\": \"${licence}\", \"copyrightText\": \"NOASSERTION\"${optional}}" PARENT_SCOPE)
  set(relationships "${relationships},
    {\"spdxElementId\": \"SPDXRef-e2enet\", \"relationshipType\": \"${relationship}\", \"relatedSpdxElement\": \"SPDXRef-${id}\"}" PARENT_SCOPE)
endfunction()

set(libraries "")
foreach(file IN LISTS FILES)
  execute_process(COMMAND ldd ${file} OUTPUT_VARIABLE output RESULT_VARIABLE result ERROR_VARIABLE problem)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "sbom: ldd ${file}: ${problem}")
  endif()
  string(REPLACE "\n" ";" lines "${output}")
  foreach(line IN LISTS lines)
    if(line MATCHES "^[ \t]*([^ ]+ => )?(/[^ ]+) \\(0x")
      list(APPEND libraries ${CMAKE_MATCH_2})
    elseif(line MATCHES "=> not found")
      message(FATAL_ERROR "sbom: ${file}: a library is missing:${line}")
    endif()
  endforeach()
endforeach()
list(FILTER libraries EXCLUDE REGEX "/libe2enet[.]so")
list(REMOVE_DUPLICATES libraries)
list(SORT libraries)

foreach(library IN LISTS libraries)
  get_filename_component(name ${library} NAME)
  file(REAL_PATH ${library} real)
  file(SHA256 ${real} checksum)
  string(REGEX REPLACE "[^A-Za-z0-9.-]" "-" id ${name})
  string(REGEX REPLACE "[.]so.*$" "" stem ${name})
  set(version NOASSERTION)
  set(purl "")
  if(DPKG)
    execute_process(COMMAND ${DPKG} --search ${real} OUTPUT_VARIABLE found ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT found)  # where / and /usr are one, dpkg may know it under the other name
      string(REGEX REPLACE "^/usr" "" other ${real})
      execute_process(COMMAND ${DPKG} --search ${other} OUTPUT_VARIABLE found ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    endif()
    if(found MATCHES "^([^:,]+)(:([a-z0-9]+))?:")
      set(package ${CMAKE_MATCH_1})
      set(architecture "${CMAKE_MATCH_3}")
      execute_process(COMMAND ${DPKG} --show "--showformat=\${Version}" ${package} OUTPUT_VARIABLE version ERROR_QUIET)
      string(REPLACE "+" "%2B" quoted "${version}")
      set(purl "pkg:deb/debian/${package}@${quoted}")
      if(architecture)
        string(APPEND purl "?arch=${architecture}")
      endif()
    endif()
  endif()
  add_package("${name}" "${id}" "${version}" "${licence_of_${stem}}" "${purl}" "${name}" "${checksum}" DYNAMIC_LINK)
endforeach()

foreach(entry IN LISTS COMPILED_IN)
  string(REGEX MATCH "^([^=]+)=(.*)$" matched "${entry}")
  set(name ${CMAKE_MATCH_1})
  set(version "${CMAKE_MATCH_2}")
  if(NOT version)
    set(version NOASSERTION)
  endif()
  string(REPLACE "_" "-" id ${name})
  add_package("${name}" "compiled-in-${id}" "${version}" "${licence_of_${name}}" "" "" "" CONTAINS)
endforeach()

string(SHA256 identity "${VERSION}${packages}")
string(TIMESTAMP created "%Y-%m-%dT%H:%M:%SZ" UTC)  # of SOURCE_DATE_EPOCH where that is set
file(WRITE ${OUTPUT} "{
  \"spdxVersion\": \"SPDX-2.3\",
  \"dataLicense\": \"CC0-1.0\",
  \"SPDXID\": \"SPDXRef-DOCUMENT\",
  \"name\": \"e2enet-${VERSION}\",
  \"documentNamespace\": \"https://spdx.org/spdxdocs/e2enet-${VERSION}-${identity}\",
  \"creationInfo\": {\"created\": \"${created}\", \"creators\": [\"Tool: e2enet-cmake-sbom\"]},
  \"hasExtractedLicensingInfos\": [{\"licenseId\": \"LicenseRef-Public-Domain\", \"extractedText\": \"In the public domain.\"}],
  \"packages\": [
    {\"SPDXID\": \"SPDXRef-e2enet\", \"name\": \"e2enet\", \"versionInfo\": \"${VERSION}\", \"downloadLocation\": \"NOASSERTION\", \"filesAnalyzed\": false, \"licenseConcluded\": \"Apache-2.0\", \"licenseDeclared\": \"Apache-2.0\", \"copyrightText\": \"NOASSERTION\"}${packages}
  ],
  \"relationships\": [
    {\"spdxElementId\": \"SPDXRef-DOCUMENT\", \"relationshipType\": \"DESCRIBES\", \"relatedSpdxElement\": \"SPDXRef-e2enet\"}${relationships}
  ]
}
")
