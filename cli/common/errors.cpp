#include "cli/common/errors.hpp"

#include "cli/command.hpp"
#include "cli/view/terminal.hpp"

#include <cstdio>

#include <unistd.h>

namespace ziyu::cli {

void print_error(const error& x) {
  std::fprintf(stderr, "%s %s\n", paint("ziyu:", colour::red, wants_colour(STDERR_FILENO)).c_str(),
               printable(x.message).c_str());
}

void print_errors(const std::vector<error>& errors) {
  for (const auto& x : errors)
    print_error(x);
}

int exit_code_for(const error& x) {
  switch (x.code) {
  case errc::unavailable:
  case errc::timeout: return exit_unavailable;
  case errc::invalid_config:
  case errc::invalid_usage: return exit_wrong_usage;
  default: return exit_failed;
  }
}

int give_up(const error& x) {
  print_error(x);
  return exit_code_for(x);
}

} // namespace ziyu::cli
