#pragma once

namespace ziyu::cli {

/// From now on Ctrl-C and SIGTERM do not end the process but set a flag, so that a
/// command can say how far it came. A second signal ends it at once.
void catch_interrupts();

/// True once a signal has come.
bool interrupted();

/// From now on a reader of our output that goes away (`ziyu results | head -1`) does
/// not end the process: what has begun is finished, only nobody reads of it.
void survive_closed_output();

/// True if nobody will ever read what we write to standard output.
bool output_closed();

} // namespace ziyu::cli
