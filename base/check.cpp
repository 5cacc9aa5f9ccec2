#include "base/check.hpp"

#include "base/log.hpp"

#include <cstdlib>

namespace ziyu {

void require(bool holds, const char* what) {
  if (holds)
    return;
  spdlog::critical("broken promise: {}; this is an error in ziyu, please report it", what);
  spdlog::shutdown(); // writes what is buffered
  std::abort();
}

} // namespace ziyu
