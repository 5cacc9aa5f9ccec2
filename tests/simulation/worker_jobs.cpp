// How simulated workers react to frames.

#include "tests/simulation/workers.hpp"

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

void simulated_workers::lose(const wire::frame& x) {
  // Its job loses an attempt, as if the frame had been read.
  if (auto batch = std::get_if<wire::batch>(&x); batch && batch->jobs.size() == 1)
    if (auto truth = jobs_.find_image(batch->jobs.front().image))
      ++truth->ended_badly;
}

void simulated_workers::on_stop(worker& x) {
  if (x.ignores_stop)
    return;
  // A job in progress ends first.
  later(time_.chance().between(100, 5'000), x.id, [this](worker& w) {
    if (auto& how = conducts_[w.id]; how.at_work.empty())
      die(w, 0);
    else
      how.stop_waits = true;
  });
}

uint64_t simulated_workers::give_back(worker& x) {
  // Half of the hoarded memory can be given back.
  const auto grown = x.private_bytes > baseline_bytes ? x.private_bytes - baseline_bytes : 0;
  return x.hoard > 0 ? grown / 2 : 0;
}

bool simulated_workers::answers_dump() { return !time_.strikes(fault::lies, 3); }

void simulated_workers::check_memory(const worker& x) {
  auto& how = conducts_[x.id];
  if (x.private_bytes >= hard_limit_bytes && how.over_limit++ == 0)
    how.over_limit_us = time_.now();
  if (how.over_limit > patience_jobs
      && (x.hidden == 0 || time_.now() - how.over_limit_us > reading_us))
    time_.violate("hard limit", "worker " + std::to_string(x.id) + " goes on with "
                                  + std::to_string(x.private_bytes / mib) + " MiB");
  // A worker at its budget gets no job, not even when no standby can take over. Only a worker whose
  // memory a trim may give back gets its job at once, behind the trim.
  how.over_budget += x.private_bytes >= budget_bytes && x.hidden == 0;
  if (how.over_budget > (x.hoard > 0 ? 1u : 0u))
    time_.violate("budget", "worker " + std::to_string(x.id) + " is given a job at "
                              + std::to_string(x.private_bytes / mib) + " MiB");
}

void simulated_workers::take(worker& x, const wire::batch& batch) {
  auto& how = conducts_[x.id];
  if (x.generation == 0)
    time_.violate("workers", "a standby gets a job");
  if (!how.at_work.empty())
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
    how.at_work.push_back(truth);
  }
  misbehave_or_answer(x, batch);
}

void simulated_workers::misbehave_or_answer(worker& x, const wire::batch& batch) {
  auto& how = conducts_[x.id];
  const auto after = [this, id = x.id](int64_t us, std::function<void(worker&)> what) {
    later(us, id, std::move(what));
  };
  const auto has = [&how](job_kind kind) {
    return std::any_of(how.at_work.begin(), how.at_work.end(),
                       [kind](const job_truth* job) { return job->kind == kind; });
  };
  const auto took_us = time_.chance().between(2'000, 120'000);
  if (has(job_kind::killer))
    return after(took_us, [this](worker& w) { die(w, SIGSEGV); });
  if (has(job_kind::deadly))
    return after(took_us / 10, [this](worker&) { on_deadly(); });
  if (has(job_kind::hanger) || time_.strikes(fault::job_hang, 25)) {
    x.hangs = true;
    return;
  }
  if (time_.strikes(fault::job_crash, 15))
    return after(took_us, [this](worker& w) { die(w, SIGSEGV); });
  if (time_.strikes(fault::garbage, 25))
    return after(took_us, [this](worker& w) {
      close(w, error{errc::bad_frame, "rubbish, by the seed"});
    });
  if (time_.strikes(fault::jump, 25))
    x.private_bytes += 160 * mib;
  const auto slow = time_.strikes(fault::job_slow, 8);
  const auto us = slow ? time_.of(fault::job_slow).between(500, 2'050) * 1'000 : took_us;
  if (how.at_work.size() == 1)
    how.at_work.front()->slow += slow;
  if (time_.strikes(fault::lies, 12)) {
    const auto other = batch.attempt_id
                       + static_cast<uint64_t>(time_.of(fault::lies).between(-1, 1));
    after(us / 2, [this, other, batch](worker& w) {
      if (!conducts_[w.id].at_work.empty())
        answer_or_lie(w, other, batch);
    });
  }
  after(us, [this, batch](worker& w) { answer_or_lie(w, batch.attempt_id, batch); });
}

void simulated_workers::answer_or_lie(worker& x, uint64_t attempt_id, const wire::batch& batch) {
  auto& how = conducts_[x.id];
  std::vector<job_truth*> jobs;
  for (const auto& job : batch.jobs)
    jobs.push_back(jobs_.find_image(job.image));
  if (attempt_id == batch.attempt_id && how.at_work == jobs)
    finish(x, true);
  answer(x, attempt_id, batch);
  if (how.stop_waits && how.at_work.empty() && !x.ignores_stop)
    die(x, 0);
  else if (time_.strikes(fault::job_crash, 30))
    die(x, SIGSEGV);
}

wire::answer simulated_workers::answer_to(const wire::job& x) {
  const auto& source = jobs_.find_image(x.image)->content.id;
  wire::answer each;
  each.top_k = {{job_book::label_of(source.partition, source.offset), 0.9f, "三"}, {8, 0.1f, "八"}};
  each.width = each.height = 12;
  return each;
}

} // namespace ziyu::simulation
