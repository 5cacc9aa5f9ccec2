#pragma once

#include "actors/reporter.hpp"
#include "tests/support/fixed_environment.hpp"
#include "tests/support/metric_text.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/send.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

namespace ziyu::test {

using namespace std::chrono_literals;

/// An actor system that runs one message at a time on a virtual clock: no threads, no sleeps.
/// Actors that are spawned on it must be passed to `own`.
class actor_stage {
public:
  explicit actor_stage(uint64_t seed = 1) : env(seed) {}

  ~actor_stage() {
    report->disconnect();
    for (const auto& x : owned_)
      caf::anon_send_exit(x, caf::exit_reason::user_shutdown);
    run();
  }

  /// Ends `x` with the stage.
  template <class Handle>
  Handle own(Handle x) {
    owned_.push_back(caf::actor_cast<caf::actor>(x));
    return x;
  }

  template <class F, class... Ts>
  auto spawn(F fun, Ts&&... xs) {
    return own(sys.spawn(fun, std::forward<Ts>(xs)...));
  }

  /// Lets all actors handle their waiting messages.
  void run() { sched.run(); }

  /// Advances all clocks in small steps, as timers may set timers.
  void advance(std::chrono::milliseconds x, std::chrono::milliseconds stride = 10ms) {
    run();
    while (x > 0ms) {
      const auto step = std::min(x, stride);
      env.us += std::chrono::microseconds{step}.count();
      sched.advance_time(step);
      run();
      x -= step;
    }
  }

  template <class... Ts>
  void send(const caf::actor& to, Ts&&... xs) {
    caf::anon_send(to, std::forward<Ts>(xs)...);
    run();
  }

  template <class... Sigs, class... Ts>
  void send(const caf::typed_actor<Sigs...>& to, Ts&&... xs) {
    caf::anon_send(to, std::forward<Ts>(xs)...);
    run();
  }

  /// Sends a request and lets the actors work. The response, now or later, is stored in the
  /// answer.
  template <class Result, class Actor, class... Ts>
  std::shared_ptr<std::optional<Result>> ask(const Actor& whom, Ts... xs) {
    auto answer = std::make_shared<std::optional<Result>>();
    own(sys.spawn([=](caf::event_based_actor* self) {
      self->request(whom, caf::infinite, xs...)
        .then([answer](const Result& x) { *answer = x; }, [](const caf::error&) {});
    }));
    run();
    return answer;
  }

  /// A counter's or gauge's value as in `/metrics`, e.g. `ziyu_events_total{type="x"}`; 0 when it
  /// does not exist.
  double metric(const std::string& name) const { return series_in(stats->text(), name); }

  double events(const std::string& type) const {
    return metric("ziyu_events_total{type=\"" + type + "\"}");
  }

private:
  struct config : caf::actor_system_config {
    config() { set("scheduler.policy", caf::atom("testing")); }
  };

public:
  fixed_environment env;
  std::shared_ptr<actors::metrics> stats = std::make_shared<actors::metrics>();
  std::shared_ptr<actors::reporter> report = std::make_shared<actors::reporter>(
    env, "test-1", "ziyu.events", stats);
  config cfg;
  caf::actor_system sys{cfg};
  caf::scheduler::test_coordinator& sched = dynamic_cast<caf::scheduler::test_coordinator&>(
    sys.scheduler());

private:
  std::vector<caf::actor> owned_;
};

/// A test with a stage of its own. The test's own members are destroyed before it.
class actor_fixture : public ::testing::Test, public actor_stage {};

} // namespace ziyu::test
