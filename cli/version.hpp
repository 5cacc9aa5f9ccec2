#pragma once

#include <string>

namespace ziyu::cli {

/// Our version and the libraries' versions, one a line. The worker program is asked for its own
/// libraries, since this program links neither libtorch nor a codec.
std::string version_text();

} // namespace ziyu::cli
