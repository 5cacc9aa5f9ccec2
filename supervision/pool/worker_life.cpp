#include "supervision/pool/worker_life.hpp"

#include "base/check.hpp"

#include <string>
#include <utility>

namespace ziyu::supervision {

std::string_view to_string(worker_life::phase x) noexcept {
  using phase = worker_life::phase;
  switch (x) {
  case phase::spawning: return "spawning";
  case phase::warming: return "warming";
  case phase::standby: return "standby";
  case phase::linked: return "linked";
  case phase::serving: return "serving";
  case phase::ending: return "ending";
  }
  return "unknown";
}

void worker_life::go(phase to, bool allowed) {
  if (!allowed)
    require(false, ("a worker that is " + std::string{to_string(phase_)} + " cannot be "
                    + std::string{to_string(to)})
                     .c_str());
  phase_ = to;
}

void worker_life::forked() { go(phase::warming, phase_ == phase::spawning); }
void worker_life::ready() { go(phase::standby, is_starting()); }
void worker_life::link() { go(phase::linked, is_standby()); }
void worker_life::serve() { go(phase::serving, is_linked()); }

worker_life::phase worker_life::end() { return std::exchange(phase_, phase::ending); }

} // namespace ziyu::supervision
