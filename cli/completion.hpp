#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace ziyu::cli {

enum class shell : uint8_t { bash, zsh, fish };

/// A completion script for all commands and flags below `app`.
std::string completion_script(const CLI::App& app, shell x);

} // namespace ziyu::cli
