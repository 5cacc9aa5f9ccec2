#include "support/places.hpp"

namespace ziyu::test {

const std::string& source_dir() {
  static const std::string folder = ZIYU_SOURCE_DIR;
  return folder;
}

const std::string& program_dir() {
  static const std::string folder = ZIYU_BIN_DIR;
  return folder;
}

} // namespace ziyu::test
