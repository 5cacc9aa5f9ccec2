#include "model/worker/process_title.hpp"

#include <algorithm>
#include <cstring>

#include <sys/prctl.h>

namespace ziyu::worker {

namespace {

char* begin_of_line = nullptr;
size_t room = 0;

} // namespace

void own_command_line(int argc, char** argv) {
  if (argc < 1)
    return;
  // The kernel stores the arguments one behind the other. Memory behind a gap is not ours.
  auto end = argv[0];
  for (auto i = 0; i < argc && argv[i] == end; ++i)
    end = argv[i] + std::strlen(argv[i]) + 1;
  begin_of_line = argv[0];
  room = static_cast<size_t>(end - argv[0]);
}

void set_process_name(const std::string& name) { ::prctl(PR_SET_NAME, name.c_str(), 0, 0, 0); }

void set_process_title(const std::string& title, const std::string& name) {
  set_process_name(name);
  if (room == 0)
    return;
  const auto size = std::min(title.size(), room - 1);
  // NOLINTNEXTLINE(bugprone-not-null-terminated-result): the next line ends it
  std::memcpy(begin_of_line, title.data(), size);
  std::memset(begin_of_line + size, 0, room - size);
}

void set_worker_title(uint32_t slot, uint64_t generation) {
  const auto place = std::to_string(slot), age = std::to_string(generation);
  set_process_title("ziyu-worker: slot " + place + " generation " + age,
                    "ziyu w" + place + "." + age);
}

} // namespace ziyu::worker
