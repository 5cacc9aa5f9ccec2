#pragma once

namespace ziyu {

/// True if this process ignores the signal, e.g., SIGHUP under nohup. Then a handler must not be
/// set, and the signal must not be blocked: it would be seen although it is ignored.
bool is_ignored(int signal);

} // namespace ziyu
