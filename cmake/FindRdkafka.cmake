# SPDX-License-Identifier: Apache-2.0
# Finds librdkafka's C library, wherever CMAKE_PREFIX_PATH or the system has it.
# Provides Rdkafka::rdkafka.
find_path(Rdkafka_INCLUDE_DIR librdkafka/rdkafka.h)
find_library(Rdkafka_LIBRARY rdkafka)
if(Rdkafka_INCLUDE_DIR)
  file(STRINGS "${Rdkafka_INCLUDE_DIR}/librdkafka/rdkafka.h" line
    REGEX "define RD_KAFKA_VERSION +0x")
  string(REGEX REPLACE ".*0x([0-9a-fA-F]+).*" "\\1" number "${line}")
  foreach(part IN ITEMS 0 2 4)
    string(SUBSTRING "${number}" ${part} 2 hex)
    math(EXPR decimal "0x${hex}")
    list(APPEND parts ${decimal})
  endforeach()
  list(JOIN parts "." Rdkafka_VERSION)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Rdkafka
  REQUIRED_VARS Rdkafka_LIBRARY Rdkafka_INCLUDE_DIR
  VERSION_VAR Rdkafka_VERSION
  REASON_FAILURE_MESSAGE "Run scripts/deps, or point CMAKE_PREFIX_PATH to an installed librdkafka.")
if(Rdkafka_FOUND AND NOT TARGET Rdkafka::rdkafka)
  add_library(Rdkafka::rdkafka UNKNOWN IMPORTED)
  set_target_properties(Rdkafka::rdkafka PROPERTIES
    IMPORTED_LOCATION "${Rdkafka_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${Rdkafka_INCLUDE_DIR}")
endif()
