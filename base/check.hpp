#pragma once

namespace ziyu {

/// Ends the process with `what` on standard error if a promise of the code itself is broken. Stays
/// in release builds: to go on with a broken promise could lose a job. Any thread.
void require(bool holds, const char* what);

} // namespace ziyu
