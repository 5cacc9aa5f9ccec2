# SPDX-License-Identifier: Apache-2.0
# Precompiled headers: libtorch's headers take two thirds of a file's compile time, JSON's and
# GoogleTest's a quarter. CAF's are left out: there the time goes into instantiations, and a
# precompiled header saved nothing (measured). Each kind is compiled once for all targets.
#   ziyu_precompiled(TARGET KIND)
# Only headers of others are in it, so that an edit of ours does not rebuild everything.
# A source still includes all that it uses: clang-tidy reads it without these.

set(ziyu_std_headers
  <algorithm> <array> <atomic> <chrono> <cstdint> <deque> <filesystem> <fstream> <functional> <map>
  <memory> <mutex> <optional> <random> <set> <span> <sstream> <string> <string_view> <thread>
  <unordered_map> <utility> <variant> <vector>)

# ziyu_precompiled_kind(KIND LIBRARIES... HEADERS...): declares what a kind consists of.
function(ziyu_precompiled_kind kind)
  cmake_parse_arguments(PARSE_ARGV 1 of "" "" "LIBRARIES;HEADERS")
  set(source "${PROJECT_BINARY_DIR}/generated/precompiled/${kind}.cpp")
  if(NOT EXISTS "${source}")
    file(WRITE "${source}" "")
  endif()
  add_library(ziyu_precompiled_${kind} OBJECT EXCLUDE_FROM_ALL "${source}")
  target_link_libraries(ziyu_precompiled_${kind} PRIVATE ziyu_options ${of_LIBRARIES})
  target_precompile_headers(ziyu_precompiled_${kind} PRIVATE ${ziyu_std_headers} ${of_HEADERS})
endfunction()

function(ziyu_precompiled target kind)
  target_precompile_headers(${target} REUSE_FROM ziyu_precompiled_${kind})
endfunction()

# The compiler must be told to keep its line to the precompiled header when it only
# preprocesses, and ccache to trust that header's content.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(ziyu_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()

# How tests are compiled: they are run a few times only, and what they test has its own flags.
add_library(ziyu_test_options INTERFACE)
target_compile_options(ziyu_test_options INTERFACE $<$<CONFIG:Release>:-O1>)

ziyu_precompiled_kind(json LIBRARIES nlohmann_json::nlohmann_json spdlog::spdlog
  HEADERS <nlohmann/json.hpp> <tl/expected.hpp>)
ziyu_precompiled_kind(command LIBRARIES nlohmann_json::nlohmann_json spdlog::spdlog CLI11::CLI11
  HEADERS <nlohmann/json.hpp> <tl/expected.hpp> <CLI/CLI.hpp>)
ziyu_precompiled_kind(torch LIBRARIES Libtorch::torch HEADERS <torch/script.h>)
if(ZIYU_TESTS)
  find_package(GTest REQUIRED)
  ziyu_precompiled_kind(test
    LIBRARIES ziyu_test_options nlohmann_json::nlohmann_json spdlog::spdlog GTest::gmock
    HEADERS <nlohmann/json.hpp> <tl/expected.hpp> <gmock/gmock.h> <gtest/gtest.h>)
endif()
