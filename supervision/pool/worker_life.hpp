#pragma once

#include <cstdint>
#include <string_view>

namespace ziyu::supervision {

/// The phase of a worker's life. A transition that is not drawn here ends the process: a worker
/// that is given to two slots could lose a job. Pure; not thread-safe.
///
/// spawning --forked--> warming --ready--> standby --link--> linked --serve--> serving
///     +----------------ready-----------------^          each --end--> ending
class worker_life {
public:
  enum class phase : uint8_t {
    spawning, ///< The fork server has been asked.
    warming,  ///< Forked; its first inference is not finished.
    standby,  ///< Ready; serves no slot.
    linked,   ///< Given to a slot that has not switched to it yet.
    serving,
    ending, ///< Told to stop, killed, or found dead.
  };

  phase now() const { return phase_; }

  bool is_starting() const { return phase_ <= phase::warming; }
  bool is_standby() const { return phase_ == phase::standby; }
  bool is_linked() const { return phase_ == phase::linked; }
  bool is_serving() const { return phase_ == phase::serving; }
  bool is_ending() const { return phase_ == phase::ending; }
  /// Serves no slot yet, and may do so later.
  bool is_coming() const { return phase_ <= phase::standby; }

  void forked();
  void ready(); ///< May come before the news of the fork.
  void link();
  void serve();
  /// From any phase, also once more. Returns the phase before.
  phase end();

private:
  void go(phase to, bool allowed);

  phase phase_ = phase::spawning;
};

std::string_view to_string(worker_life::phase x) noexcept;

} // namespace ziyu::supervision
