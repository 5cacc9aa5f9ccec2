#pragma once

#include <string>

namespace ziyu::cli::svg {

/// A coordinate with at most two decimals.
std::string number(double x);

/// `text` for an element or attribute: markup characters escaped, characters that XML
/// does not allow replaced by U+FFFD.
std::string escape(const std::string& text);

} // namespace ziyu::cli::svg
