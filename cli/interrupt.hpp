#pragma once

namespace ziyu::cli {

/// From now on Ctrl-C and SIGTERM do not end the process but set a flag, so that a
/// command can say how far it came. A second signal ends it at once.
void catch_interrupts();

/// True once a signal has come.
bool interrupted();

} // namespace ziyu::cli
