#include "supervision/pool/allocation_watch.hpp"

#include "base/check.hpp"
#include "supervision/heap_profile.hpp"

#include <algorithm>

namespace ziyu::supervision {

using namespace std::chrono_literals;

namespace {

/// Number of sampled jobs after which a confirmed leak is explained even if its worker will serve
/// for long.
constexpr uint64_t enough_jobs = 48;

/// Number of jobs without growth after which a suspect is not sampled any more.
constexpr uint64_t quiet_jobs = 128;

/// Number of sampled jobs after which a worker is not sampled any more: a slow leak must not cost
/// time for as long as it lasts.
constexpr uint64_t most_jobs = 2'000;

/// A dump takes milliseconds; a busy machine needs longer.
constexpr auto dump_limit = 2s;

} // namespace

std::optional<wire::profile> allocation_watch::after_job(const reading& x, const settings& how,
                                                         clock::time_point now) {
  if (phase_ == phase::off)
    return start(x, how);
  if (phase_ != phase::on)
    return std::nullopt;
  const auto sampled_jobs = x.jobs - jobs_at_start_;
  const auto grows = x.kind >= growth::suspected && x.kind != growth::hoarding;
  // A growing cache is reported only if its worker is replaced for it.
  const auto confirmed = x.kind >= growth::leak;
  if (confirmed && sampled_jobs >= enough_jobs && !reported_ && !x.explained) {
    reported_ = true;
    return ask_for_dump(now);
  }
  if (sampled_jobs >= most_jobs) {
    // Later samples would show the same and only cost time.
    enough_ = true;
    return confirmed ? ask_for_dump(now) : stop();
  }
  if (!grows && sampled_jobs >= quiet_jobs)
    return stop();
  return std::nullopt;
}

std::optional<wire::profile> allocation_watch::start(const reading& x, const settings& how) {
  const auto grows = x.kind >= growth::suspected && x.kind != growth::hoarding;
  const auto grew = x.jobs > how.warmup_jobs
                    && x.last_delta >= static_cast<int64_t>(how.min_effect_bytes);
  if (enough_ || (!grows && !grew))
    return std::nullopt;
  const auto per_job = std::max(x.growth_per_job, static_cast<double>(x.last_delta));
  const auto jobs = std::clamp(how.room_bytes / std::max(per_job, 1.), 2.,
                               static_cast<double>(enough_jobs));
  phase_ = phase::asked;
  return wire::profile{wire::profile::start,
                       choose_sample_rate(per_job, static_cast<uint64_t>(jobs))};
}

wire::profile allocation_watch::stop() {
  phase_ = phase::off;
  return {wire::profile::stop};
}

wire::profile allocation_watch::ask_for_dump(clock::time_point now) {
  require(phase_ == phase::on, "a dump is asked of a worker that is not sampled");
  phase_ = phase::dumping;
  dump_by_ = now + dump_limit;
  return {wire::profile::dump};
}

void allocation_watch::started(uint64_t jobs, uint64_t live) {
  require(phase_ == phase::asked, "a worker is sampled without being asked to");
  phase_ = phase::on;
  jobs_at_start_ = jobs;
  live_at_start_ = live;
}

std::optional<wire::profile> allocation_watch::dumped() {
  require(phase_ == phase::dumping, "a dump comes that nobody has asked for");
  phase_ = phase::on;
  if (enough_)
    return stop();
  return std::nullopt;
}

} // namespace ziyu::supervision
