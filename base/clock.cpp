#include "base/clock.hpp"

#include <mutex>
#include <random>

namespace ziyu {

namespace {

class real_environment : public environment {
public:
  int64_t wall_ms() override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  }

  int64_t monotonic_us() override {
    using namespace std::chrono;
    return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
  }

  uint64_t random() override {
    std::lock_guard guard{mutex_};
    return generator_();
  }

private:
  std::mutex mutex_;
  std::mt19937_64 generator_{std::random_device{}()};
};

} // namespace

environment& system_environment() {
  static real_environment instance;
  return instance;
}

} // namespace ziyu
