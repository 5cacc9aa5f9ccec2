#include "cli/app.hpp"

int main(int argc, char** argv) {
  return ziyu::cli::run(argc, argv);
}
