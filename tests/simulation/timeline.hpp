#pragma once

#include "base/clock.hpp"
#include "tests/simulation/dice.hpp"
#include "tests/simulation/scenario.hpp"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <vector>

namespace ziyu::simulation {

/// A promise that was not kept.
struct violation {
  std::string promise; ///< "P1" to "P9", or what else must hold.
  std::string what;
  int64_t at_us = 0;
};

/// One run: virtual time, due tasks, chance, what happened, and broken promises. On one
/// thread.
class timeline {
public:
  using task = std::function<void()>;

  explicit timeline(const scenario& x);

  const scenario& plan() const { return plan_; }

  // -- time, in microseconds since the start ------------------------------------------

  int64_t now() const { return now_; }
  void after_us(int64_t us, task x);
  void after_ms(int64_t ms, task x) { after_us(ms * 1000, std::move(x)); }
  /// When the next task is due; a far future without one.
  int64_t next_due() const;
  /// Moves on to `us` without running anything.
  void move_to(int64_t us) { now_ = std::max(now_, us); }
  /// Moves on to the next task and runs it.
  void run_next();

  // -- chance -----------------------------------------------------------------------------

  /// True once in `n` times, if this scenario has the fault and faults have not ended.
  bool strikes(fault x, uint64_t n);
  /// The fault's own random numbers, whether it strikes or not.
  dice& of(fault x) { return streams_[static_cast<size_t>(x)]; }
  /// Random numbers for everything that is not a fault.
  dice& chance() { return chance_; }

  /// From now on no fault occurs.
  void calm() { calm_ = true; }
  bool is_calm() const { return calm_; }

  // -- what happened ---------------------------------------------------------------------------

  /// Counts and hashes an event, and passes it to the listener if there is one. Texts and whole
  /// numbers only: addresses would differ in a replay.
  template <class... Ts>
  void note(const char* format, const Ts&... xs) {
    mix(static_cast<uint64_t>(now_));
    mix(std::string_view{format});
    (mix(xs), ...);
    if (listener_)
      listener_(now_, fmt::format(fmt::runtime(format), xs...));
  }

  void violate(const char* promise, std::string what);
  const std::vector<violation>& violations() const { return violations_; }

  /// Of all noted events: two runs of a seed have the same hash.
  uint64_t hash() const { return hash_; }

  using listener = std::function<void(int64_t us, const std::string& line)>;
  void listen(listener x) { listener_ = std::move(x); }

private:
  struct entry {
    int64_t due;
    uint64_t number; ///< First come, first served.
    task run;
    bool operator>(const entry& x) const { return due != x.due ? due > x.due : number > x.number; }
  };

  void mix(uint64_t x) { hash_ = (hash_ ^ x) * 0x100000001b3; }
  void mix(std::string_view x) {
    for (const auto c : x)
      mix(static_cast<uint64_t>(static_cast<uint8_t>(c)));
  }
  template <class T>
  requires std::is_integral_v<T>
  void mix(const T& x) { mix(static_cast<uint64_t>(x)); }

  scenario plan_;
  int64_t now_ = 0;
  uint64_t numbers_ = 0;
  std::priority_queue<entry, std::vector<entry>, std::greater<>> due_;
  std::vector<dice> streams_;
  dice chance_;
  bool calm_ = false;
  uint64_t hash_ = 0xcbf29ce484222325;
  std::vector<violation> violations_;
  listener listener_;
};

/// Makes tasks that do nothing after it is destroyed.
class lifetime {
public:
  template <class F>
  timeline::task guard(F f) const {
    return [token = std::weak_ptr<int>{token_}, f = std::move(f)] {
      if (!token.expired())
        f();
    };
  }
  /// Tasks made so far do nothing any more.
  void renew() { token_ = std::make_shared<int>(0); }

private:
  std::shared_ptr<int> token_ = std::make_shared<int>(0);
};

/// The clocks and the randomness of one service.
class virtual_environment : public environment {
public:
  virtual_environment(timeline& time, uint64_t seed) : time_(time), dice_(seed, "environment") {}

  int64_t wall_ms() override { return 1'700'000'000'000 + time_.now() / 1000; }
  int64_t monotonic_us() override { return 1'000'000 + time_.now(); }
  uint64_t random() override { return dice_.next(); }

private:
  timeline& time_;
  dice dice_;
};

} // namespace ziyu::simulation
