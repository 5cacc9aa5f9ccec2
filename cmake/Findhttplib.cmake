# SPDX-License-Identifier: Apache-2.0
# Finds cpp-httplib: its own package file, else pkg-config (Debian 12 compiles it into a
# library and ships no package file), else the bare header. Provides httplib::httplib.
find_package(httplib ${httplib_FIND_VERSION} QUIET CONFIG)
if(httplib_FOUND)
  return()
endif()
include(FindPackageHandleStandardArgs)
find_package(PkgConfig QUIET)
if(PKG_CONFIG_FOUND)
  pkg_check_modules(httplib_PC QUIET IMPORTED_TARGET cpp-httplib)
endif()
find_path(httplib_INCLUDE_DIR httplib.h HINTS ${httplib_PC_INCLUDE_DIRS})
if(httplib_INCLUDE_DIR)
  file(STRINGS "${httplib_INCLUDE_DIR}/httplib.h" line REGEX "define CPPHTTPLIB_VERSION \"")
  string(REGEX REPLACE ".*\"([0-9.]+)\".*" "\\1" httplib_VERSION "${line}")
endif()
find_package_handle_standard_args(httplib
  REQUIRED_VARS httplib_INCLUDE_DIR
  VERSION_VAR httplib_VERSION
  REASON_FAILURE_MESSAGE "On Debian: libcpp-httplib-dev (scripts/deps installs it).")
if(httplib_FOUND AND NOT TARGET httplib::httplib)
  find_package(Threads REQUIRED)
  add_library(httplib::httplib INTERFACE IMPORTED)
  set_target_properties(httplib::httplib PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${httplib_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES Threads::Threads)
  if(httplib_PC_FOUND)
    set_property(TARGET httplib::httplib APPEND
      PROPERTY INTERFACE_LINK_LIBRARIES PkgConfig::httplib_PC)
  endif()
endif()
