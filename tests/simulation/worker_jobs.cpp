// How simulated workers react to frames.

#include "tests/simulation/workers.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <csignal>

namespace ziyu::simulation {

namespace {

/// Jobs that may still come between a passed limit and the reaction to it: one is running, another
/// may be on its way, and the actors may be slow.
constexpr uint64_t patience_jobs = 4;

/// The supervisor's own readings, one a second, find a false report.
constexpr int64_t reading_us = 2'100'000;

} // namespace

void simulated_workers::receive(uint64_t id, const std::string& bytes) {
  wire::frame_reader reader;
  reader.feed(bytes);
  auto content = reader.next();
  if (!content || !*content) {
    time_.violate("frames", "an ill-formed frame for worker " + std::to_string(id));
    return;
  }
  const auto& frame = **content;
  const auto known = find(id);
  if (!known || known->closed) {
    // Nobody reads the frame any more: its job loses an attempt, as if it had been read.
    if (auto job = std::get_if<wire::job>(&frame))
      if (auto truth = jobs_.find_image(job->image))
        ++truth->ended_badly;
    return;
  }
  auto& x = *known;
  if (!x.alive) { // waits in the socket until it is forked
    x.stop_waits |= std::holds_alternative<wire::stop>(frame);
    return;
  }
  if (x.hangs)
    return;
  if (auto news = std::get_if<wire::assign>(&frame)) {
    x.slot = news->slot;
    x.generation = news->generation;
    time_.note("worker {} serves slot {}, generation {}", x.id, x.slot, x.generation);
  } else if (auto job = std::get_if<wire::job>(&frame)) {
    begin(x, *job);
  } else if (std::holds_alternative<wire::trim>(frame)) {
    wire::trimmed done;
    done.before = reading(x);
    // Half of the hoarded memory can be given back.
    const auto grown = x.private_bytes > baseline_bytes ? x.private_bytes - baseline_bytes : 0;
    if (x.hoard > 0)
      x.private_bytes -= grown / 2;
    done.after = reading(x);
    done.duration_us = 1'500;
    tell(x, done);
  } else if (auto ask = std::get_if<wire::profile>(&frame)) {
    on_profile(x, *ask);
  } else if (std::holds_alternative<wire::stop>(frame)) {
    if (x.ignores_stop)
      return;
    // A job in progress ends first.
    time_.after_us(time_.chance().between(100, 5'000), life_.guard([this, id = x.id] {
      auto w = find(id);
      if (w && w->job == nullptr)
        die(*w, 0);
      else if (w)
        w->stop_waits = true;
    }));
  }
}

void simulated_workers::check_memory(worker& x) {
  if (x.private_bytes >= hard_limit_bytes && x.over_limit++ == 0)
    x.over_limit_us = time_.now();
  if (x.over_limit > patience_jobs && (x.hidden == 0 || time_.now() - x.over_limit_us > reading_us))
    time_.violate("hard limit", "worker " + std::to_string(x.id) + " goes on with "
                                  + std::to_string(x.private_bytes / mib) + " MiB");
  // A worker at its budget gets no job, not even when no standby can take over. Only a worker whose
  // memory a trim may give back gets its job at once, behind the trim.
  x.over_budget += x.private_bytes >= budget_bytes && x.hidden == 0;
  if (x.over_budget > (x.hoard > 0 ? 1u : 0u))
    time_.violate("budget", "worker " + std::to_string(x.id) + " is given a job at "
                              + std::to_string(x.private_bytes / mib) + " MiB");
}

void simulated_workers::begin(worker& x, const wire::job& job) {
  const auto truth = jobs_.find_image(job.image);
  if (truth == nullptr) {
    time_.violate("frames", "a job's image has been changed on its way to a worker");
    return;
  }
  if (x.generation == 0)
    time_.violate("workers", "a standby gets a job");
  if (x.job != nullptr)
    time_.violate("workers", "worker " + std::to_string(x.id) + " gets a second job");
  check_memory(x);
  const auto& source = truth->content.id;
  time_.note("worker {} of slot {} begins {}-{}", x.id, x.slot, source.partition, source.offset);
  if (on_begin)
    on_begin(x.slot, *truth);
  ++truth->begun;
  if (truth->begun > max_attempts * truth->fetched)
    time_.violate("P6", messaging::to_string(source) + " is begun for the "
                          + std::to_string(truth->begun) + "th time, fetched "
                          + std::to_string(truth->fetched) + " times");
  x.job = truth;
  auto later = [this, id = x.id](int64_t us, auto what) {
    time_.after_us(us, life_.guard([this, id, what] {
      if (auto w = find(id); w && w->alive)
        what(*w);
    }));
  };
  const auto took_us = time_.chance().between(2'000, 120'000);
  if (truth->kind == job_kind::killer)
    return later(took_us, [this](worker& w) { die(w, SIGSEGV); });
  if (truth->kind == job_kind::deadly)
    return later(took_us / 10, [this](worker&) { on_deadly(); });
  if (truth->kind == job_kind::hanger || time_.strikes(fault::job_hang, 25)) {
    x.hangs = true;
    return;
  }
  if (time_.strikes(fault::job_crash, 15))
    return later(took_us, [this](worker& w) { die(w, SIGSEGV); });
  if (time_.strikes(fault::garbage, 25))
    return later(took_us, [this](worker& w) {
      close(w, error{errc::bad_frame, "rubbish, by the seed"});
    });
  if (time_.strikes(fault::jump, 25))
    x.private_bytes += 160 * mib;
  const auto slow = time_.strikes(fault::job_slow, 8);
  const auto us = slow ? time_.of(fault::job_slow).between(500, 2'050) * 1'000 : took_us;
  truth->slow += slow;
  if (time_.strikes(fault::lies, 12)) {
    const auto other = job.attempt_id + static_cast<uint64_t>(time_.of(fault::lies).between(-1, 1));
    later(us / 2, [this, other, job](worker& w) {
      if (w.job != nullptr)
        answer(w, other, job);
    });
  }
  later(us, [this, job](worker& w) { answer(w, job.attempt_id, job); });
}

void simulated_workers::answer(worker& x, uint64_t attempt_id, const wire::job& job) {
  const auto truth = jobs_.find_image(job.image);
  if (attempt_id == job.attempt_id && x.job == truth) {
    x.job = nullptr;
    if (on_end)
      on_end(x.slot, *truth, true);
  }
  ++x.jobs;
  x.live += x.leak;
  x.private_bytes += x.leak + x.hoard;
  wire::result r;
  r.attempt_id = attempt_id;
  const auto& source = truth->content.id;
  r.top_k = {{job_book::label_of(source.partition, source.offset), 0.9f, "三"}, {8, 0.1f, "八"}};
  r.width = r.height = 12;
  r.delta_live = static_cast<int64_t>(x.leak);
  r.memory = reading(x);
  tell(x, std::move(r));
  if (x.stop_waits && x.job == nullptr && !x.ignores_stop)
    die(x, 0);
  else if (time_.strikes(fault::job_crash, 30))
    die(x, SIGSEGV);
}

void simulated_workers::on_profile(worker& x, const wire::profile& ask) {
  wire::profiled done;
  done.what = ask.what;
  done.live = x.live;
  if (ask.what == wire::profile::start) {
    x.sampled_from = x.jobs;
  } else if (ask.what == wire::profile::dump) {
    if (time_.strikes(fault::lies, 3))
      return; // never comes
    done.jobs = done.sampled_jobs = x.jobs - x.sampled_from;
    done.heap = "heap";
    done.maps = "maps";
  }
  tell(x, std::move(done));
}

} // namespace ziyu::simulation
