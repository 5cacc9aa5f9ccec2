#pragma once

namespace ziyu::cli {

/// Exit code of a process that a signal ended before it was done: 128 + SIGINT.
constexpr int interrupted_exit_code = 130;

/// From now on Ctrl-C, SIGTERM and SIGHUP (unless that is ignored, as below nohup) end the
/// process at once with this exit code: for waits that nothing has to be said about.
void leave_on_interrupts(int exit_code = interrupted_exit_code);

/// From now on these signals do not end the process but set a flag, so that a command can say
/// how far it came. A second signal ends it at once, with 130.
void catch_interrupts();

/// True once a signal has come.
bool interrupted();

/// From now on the process survives when a reader of its output goes away (`ziyu results | head
/// -1`): it finishes its work, although nobody reads the output.
void survive_closed_output();

/// True if nobody can read standard output any more.
bool output_closed();

/// Opens those of the three standard streams that were closed when this process started. A
/// descriptor that is opened later (a client's socket) would take their place, and output would
/// go there. Writing to the streams that this opens fails.
void open_standard_streams();

} // namespace ziyu::cli
