#pragma once

#include <cstdint>
#include <string>

namespace ziyu::worker {

/// Takes over the memory of the command line for `set_process_title`. Call it once, after the
/// arguments have been read: the first title overwrites them.
void own_command_line(int argc, char** argv);

/// Sets what `ps -o comm` shows: 15 bytes at most.
void set_process_name(const std::string& name);

/// Sets what `ps` shows of this process: `title` as its command line, as far as there is room, and
/// its name.
void set_process_title(const std::string& title, const std::string& name);

/// "ziyu-worker: slot 0 generation 12", and as name "ziyu w0.12".
void set_worker_title(uint32_t slot, uint64_t generation);

} // namespace ziyu::worker
