#pragma once

#include <string>

namespace ziyu::cli {

/// Our version and those of the libraries, a line each; the worker is asked for
/// its own, since this program links neither libtorch nor a codec.
std::string version_text();

} // namespace ziyu::cli
