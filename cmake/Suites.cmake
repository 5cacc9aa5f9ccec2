# SPDX-License-Identifier: Apache-2.0
# Registers each test suite of a GoogleTest program with ctest, as gtest_discover_tests does for
# each test. A test of ctest is named PROGRAM.SUITE; its output names the cases that failed.
#   ziyu_discover_suites(TARGET PROPERTY VALUE...)
# With -P, as a step after TARGET is linked, this file lists the suites.

if(CMAKE_SCRIPT_MODE_FILE)
  execute_process(COMMAND "${PROGRAM}" --gtest_list_tests
    OUTPUT_VARIABLE listed RESULT_VARIABLE rc TIMEOUT 60)
  if(NOT rc EQUAL 0)
    message(FATAL_ERROR "${PROGRAM} --gtest_list_tests ended with ${rc}")
  endif()
  get_filename_component(name "${PROGRAM}" NAME)
  string(REGEX REPLACE "_tests$" "" name "${name}")
  # A suite is a line that is not indented; comments tell values of parameters.
  string(REGEX MATCHALL "(^|\n)[A-Za-z0-9_/]+\\." suites "${listed}")
  set(text "")
  foreach(suite IN LISTS suites)
    string(REGEX REPLACE "[\n.]" "" suite "${suite}")
    string(APPEND text
      "add_test([=[${name}.${suite}]=] [=[${PROGRAM}]=] [=[--gtest_filter=${suite}.*]=])\n"
      "set_tests_properties([=[${name}.${suite}]=] PROPERTIES ${PROPERTIES})\n")
  endforeach()
  file(WRITE "${LIST}" "${text}")
  return()
endif()

set(ziyu_suites_script "${CMAKE_CURRENT_LIST_FILE}")

function(ziyu_discover_suites target)
  set(list "${CMAKE_CURRENT_BINARY_DIR}/${target}_suites.cmake")
  set(include "${CMAKE_CURRENT_BINARY_DIR}/${target}_include.cmake")
  add_custom_command(TARGET ${target} POST_BUILD VERBATIM BYPRODUCTS "${list}"
    COMMAND "${CMAKE_COMMAND}" -D "PROGRAM=$<TARGET_FILE:${target}>" -D "LIST=${list}"
      -D "PROPERTIES=${ARGN}" -P "${ziyu_suites_script}")
  # A program that was not built is a test that fails, unless its label is left out.
  file(WRITE "${include}" "if(EXISTS \"${list}\")\n  include(\"${list}\")\nelse()\n"
    "  add_test(${target}_NOT_BUILT ${target}_NOT_BUILT)\nendif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${include}")
endfunction()
