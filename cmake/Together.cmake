# SPDX-License-Identifier: Apache-2.0
# Compiles several sources of a target as one, for sources that all instantiate the same large
# templates (CAF's): together, four of them take hardly longer than one.
#   ziyu_together(TARGET COUNT [APART SOURCE...])
# Takes the target's sources COUNT at a time in the order of their names. So within a target,
# names in anonymous namespaces must differ. CMake's own UNITY_BUILD writes the clone's path into
# what it generates, for which ccache would serve no other clone. ZIYU_TOGETHER=OFF compiles each
# source by itself: better for who works on one of them again and again.

option(ZIYU_TOGETHER "Compile sources that use CAF several at a time" ON)

function(ziyu_together target count)
  cmake_parse_arguments(PARSE_ARGV 2 of "" "" "APART")
  if(NOT ZIYU_TOGETHER)
    return()
  endif()
  get_target_property(all ${target} SOURCES)
  get_target_property(folder ${target} SOURCE_DIR)
  list(SORT all)
  set(kept "")
  set(batch "")
  set(size 0)
  set(number 0)
  foreach(source IN LISTS all ITEMS "")
    if(source)
      cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY "${folder}" NORMALIZE)
      cmake_path(RELATIVE_PATH source BASE_DIRECTORY "${PROJECT_SOURCE_DIR}" OUTPUT_VARIABLE name)
      cmake_path(GET source FILENAME file)
      get_source_file_property(definitions "${source}"
        TARGET_DIRECTORY ${target} COMPILE_DEFINITIONS)
      if(definitions OR file IN_LIST of_APART)
        list(APPEND kept "${source}")
        continue()
      endif()
      string(APPEND batch "#include \"${name}\"\n")
      math(EXPR size "${size} + 1")
    endif()
    if(batch AND (NOT source OR size EQUAL count))
      set(path "${PROJECT_BINARY_DIR}/generated/together/${target}_${number}.cpp")
      file(CONFIGURE OUTPUT "${path}" CONTENT "${batch}" @ONLY)
      # The bases of tests are in anonymous namespaces, and nobody else includes these sources.
      set_source_files_properties("${path}" TARGET_DIRECTORY ${target} PROPERTIES
        COMPILE_OPTIONS -Wno-subobject-linkage)
      list(APPEND kept "${path}")
      math(EXPR number "${number} + 1")
      set(batch "")
      set(size 0)
    endif()
  endforeach()
  set_property(TARGET ${target} PROPERTY SOURCES ${kept})
endfunction()
