#include "cli/app.hpp"
#include "cli/demo/sweeper.hpp"
#include "messaging/broker/guard.hpp"
#include "supervision/leak_explainer.hpp"

#include <cstdlib>
#include <cstring>

int main(int argc, char** argv) {
  // Not a command for people: the parent of a program that must not outlive this process.
  if (argc >= 4 && std::strcmp(argv[1], "__guard") == 0)
    return ziyu::broker::run_guard(std::atoi(argv[2]), {argv + 3, argv + argc});
  // Not for people either: removes the demo's folder after the demo, however that ended.
  if (argc == 4 && std::strcmp(argv[1], "__sweep") == 0)
    return ziyu::cli::run_sweeper(std::atoi(argv[2]), argv[3]);
  // Not for people either: names the call stacks of a leak and ends.
  if (argc == 3 && std::strcmp(argv[1], "__symbolize") == 0)
    return ziyu::supervision::run_leak_helper(static_cast<unsigned>(std::atoi(argv[2])));
  return ziyu::cli::run(argc, argv);
}
