#pragma once

namespace ziyu::cli {

/// From now on Ctrl-C and SIGTERM set a flag instead of ending the process, so that a command can
/// report how far it came. A second signal ends the process at once.
void catch_interrupts();

/// True once a signal has come.
bool interrupted();

/// From now on the process survives when a reader of its output goes away (`ziyu results | head
/// -1`): it finishes its work, although nobody reads the output.
void survive_closed_output();

/// True if nobody can read standard output any more.
bool output_closed();

} // namespace ziyu::cli
