#pragma once

#include <CLI/CLI.hpp>

#include <cmath>
#include <string>

namespace ziyu::cli {

/// A number from `least` to `most`, as `CLI::Range` has it; "nan", which that admits, is none.
inline CLI::Validator in_range(double least, double most) {
  CLI::Range range{least, most};
  return CLI::Validator{[range](std::string& text) {
                          double value = 0;
                          if (CLI::detail::lexical_cast(text, value) && std::isnan(value))
                            return "Value " + text + " is no number";
                          return range(text);
                        },
                        range.get_description()};
}

/// A whole number of 0 or more: CLI11 takes "-1" for the largest one.
inline CLI::Validator no_negative() {
  return CLI::Validator{
    [](std::string& text) {
      const auto digits = !text.empty() && text.size() <= 18
                          && text.find_first_not_of("0123456789") == std::string::npos;
      return digits ? std::string{} : "Value " + text + " is no whole number of 0 or more";
    },
    ""};
}

} // namespace ziyu::cli
