#pragma once

#include "base/error.hpp"

#include <vector>

namespace ziyu::cli {

/// Prints "ziyu: …" to standard error.
void print_error(const error& x);
void print_errors(const std::vector<error>& errors);

/// The exit code for a failure.
int exit_code_for(const error& x);

/// Prints the error and returns its exit code.
int give_up(const error& x);

} // namespace ziyu::cli
