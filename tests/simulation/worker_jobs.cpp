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
    if (auto batch = std::get_if<wire::batch>(&frame); batch && batch->jobs.size() == 1)
      if (auto truth = jobs_.find_image(batch->jobs.front().image))
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
  } else if (auto batch = std::get_if<wire::batch>(&frame)) {
    begin(x, *batch);
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
      if (w && w->at_work.empty())
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

void simulated_workers::begin(worker& x, const wire::batch& batch) {
  if (x.generation == 0)
    time_.violate("workers", "a standby gets a job");
  if (!x.at_work.empty())
    time_.violate("workers", "worker " + std::to_string(x.id) + " gets a second batch");
  if (batch.jobs.empty() || batch.jobs.size() > time_.plan().max_batch)
    time_.violate("workers", "a batch of " + std::to_string(batch.jobs.size()) + " jobs");
  check_memory(x);
  // A worker that ends with several jobs charges none of them.
  const auto most = max_attempts + (time_.plan().max_batch > 1 ? 1 : 0);
  for (const auto& job : batch.jobs) {
    const auto truth = jobs_.find_image(job.image);
    if (truth == nullptr) {
      time_.violate("frames", "a job's image has been changed on its way to a worker");
      return;
    }
    const auto& source = truth->content.id;
    time_.note("worker {} of slot {} begins {}-{}", x.id, x.slot, source.partition, source.offset);
    if (on_begin)
      on_begin(x.slot, *truth, batch.jobs.size());
    ++truth->begun;
    if (truth->begun > most * truth->fetched)
      time_.violate("P6", messaging::to_string(source) + " is begun for the "
                            + std::to_string(truth->begun) + "th time, fetched "
                            + std::to_string(truth->fetched) + " times");
    x.at_work.push_back(truth);
  }
  misbehave_or_answer(x, batch);
}

void simulated_workers::misbehave_or_answer(worker& x, const wire::batch& batch) {
  auto later = [this, id = x.id](int64_t us, auto what) {
    time_.after_us(us, life_.guard([this, id, what] {
      if (auto w = find(id); w && w->alive)
        what(*w);
    }));
  };
  const auto has = [&x](job_kind kind) {
    return std::any_of(x.at_work.begin(), x.at_work.end(),
                       [kind](const job_truth* job) { return job->kind == kind; });
  };
  const auto took_us = time_.chance().between(2'000, 120'000);
  if (has(job_kind::killer))
    return later(took_us, [this](worker& w) { die(w, SIGSEGV); });
  if (has(job_kind::deadly))
    return later(took_us / 10, [this](worker&) { on_deadly(); });
  if (has(job_kind::hanger) || time_.strikes(fault::job_hang, 25)) {
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
  if (x.at_work.size() == 1)
    x.at_work.front()->slow += slow;
  if (time_.strikes(fault::lies, 12)) {
    const auto other = batch.attempt_id
                       + static_cast<uint64_t>(time_.of(fault::lies).between(-1, 1));
    later(us / 2, [this, other, batch](worker& w) {
      if (!w.at_work.empty())
        answer(w, other, batch);
    });
  }
  later(us, [this, batch](worker& w) { answer(w, batch.attempt_id, batch); });
}

void simulated_workers::answer(worker& x, uint64_t attempt_id, const wire::batch& batch) {
  wire::result r;
  r.attempt_id = attempt_id;
  std::vector<job_truth*> jobs;
  for (const auto& job : batch.jobs) {
    jobs.push_back(jobs_.find_image(job.image));
    const auto& source = jobs.back()->content.id;
    auto& each = r.answers.emplace_back();
    each.top_k = {{job_book::label_of(source.partition, source.offset), 0.9f, "三"},
                  {8, 0.1f, "八"}};
    each.width = each.height = 12;
  }
  if (attempt_id == batch.attempt_id && x.at_work == jobs)
    finish(x, true);
  ++x.jobs;
  x.live += x.leak;
  x.private_bytes += x.leak + x.hoard;
  r.delta_live = static_cast<int64_t>(x.leak);
  r.memory = reading(x);
  tell(x, std::move(r));
  if (x.stop_waits && x.at_work.empty() && !x.ignores_stop)
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
