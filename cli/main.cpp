#include "broker/guard.hpp"
#include "cli/app.hpp"

#include <cstdlib>
#include <cstring>

int main(int argc, char** argv) {
  // Not a command for people: the parent of a program that must not outlive us.
  if (argc >= 4 && std::strcmp(argv[1], "__guard") == 0)
    return ziyu::broker::run_guard(std::atoi(argv[2]), {argv + 3, argv + argc});
  return ziyu::cli::run(argc, argv);
}
