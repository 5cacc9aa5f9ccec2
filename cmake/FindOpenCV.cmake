# SPDX-License-Identifier: Apache-2.0
# Finds the parts of OpenCV that we use, e.g., opencv_core.
# OpenCV's own package file is used where it is installed. Debian ships it only in
# libopencv-dev, which pulls in Qt and VTK, so without it we look for the parts.
find_package(OpenCV ${OpenCV_FIND_VERSION} QUIET CONFIG COMPONENTS ${OpenCV_FIND_COMPONENTS})
if(OpenCV_FOUND)
  if(NOT OpenCV_FIND_QUIETLY)
    message(STATUS "Found OpenCV: ${OpenCV_DIR} (version \"${OpenCV_VERSION}\")")
  endif()
  return()
endif()
find_path(OpenCV_INCLUDE_DIR opencv2/core/version.hpp PATH_SUFFIXES opencv4)
foreach(part IN LISTS OpenCV_FIND_COMPONENTS)
  find_library(OpenCV_${part}_LIBRARY opencv_${part})
  # The header of a part says that its -dev package is there, not only its library.
  if(OpenCV_${part}_LIBRARY AND EXISTS "${OpenCV_INCLUDE_DIR}/opencv2/${part}.hpp")
    set(OpenCV_${part}_FOUND TRUE)
  endif()
endforeach()
if(OpenCV_INCLUDE_DIR)
  file(STRINGS "${OpenCV_INCLUDE_DIR}/opencv2/core/version.hpp" lines
    REGEX "define CV_VERSION_(MAJOR|MINOR|REVISION) ")
  string(REGEX MATCHALL "[0-9]+" numbers "${lines}")
  list(JOIN numbers "." OpenCV_VERSION)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenCV
  REQUIRED_VARS OpenCV_INCLUDE_DIR
  VERSION_VAR OpenCV_VERSION
  HANDLE_COMPONENTS
  REASON_FAILURE_MESSAGE
    "On Debian: libopencv-core-dev (scripts/deps installs it).")
if(OpenCV_FOUND)
  foreach(part IN LISTS OpenCV_FIND_COMPONENTS)
    if(NOT TARGET opencv_${part})
      add_library(opencv_${part} UNKNOWN IMPORTED)
      set_target_properties(opencv_${part} PROPERTIES
        IMPORTED_LOCATION "${OpenCV_${part}_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${OpenCV_INCLUDE_DIR}")
      if(NOT part STREQUAL "core")
        set_property(TARGET opencv_${part} PROPERTY INTERFACE_LINK_LIBRARIES opencv_core)
      endif()
    endif()
  endforeach()
endif()
