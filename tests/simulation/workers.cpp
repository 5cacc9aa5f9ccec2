#include "tests/simulation/workers.hpp"

#include <algorithm>
#include <csignal>

namespace ziyu::simulation {

namespace {

/// No supervisor may fork more often than this, whatever dies.
constexpr size_t max_spawns = 40;
constexpr int64_t spawn_window_us = 5'000'000;

/// Who asks for deaths asks for later ones than this.
constexpr int64_t death_window_us = 60'000'000;

} // namespace

simulated_workers::simulated_workers(timeline& time, job_book& jobs, caf::actor_system& sys)
  : fake_host(sys), time_(time), jobs_(jobs) {
  keeps_frames = false;
  while (max_batch < time.plan().max_batch)
    max_batch *= 2;
  container.limit = 1'000'000;
  container.source = "simulated";
  set_pressure(0.1);
  complain = [this](const std::string& what) { time_.violate("workers", what); };
}

void simulated_workers::release() {
  life_.renew();
  fake_host::release();
}

void simulated_workers::set_pressure(double share) {
  container.used = static_cast<uint64_t>(share * 1'000'000);
}

void simulated_workers::later(int64_t us, uint64_t id, std::function<void(worker&)> what) {
  time_.after_us(us, life_.guard([this, id, what = std::move(what)] {
    if (auto x = find(id); x != nullptr && x->alive)
      what(*x);
  }));
}

// -- fork servers ------------------------------------------------------------------------------

expected<int32_t> simulated_workers::start_server(uint64_t number, const std::string& folder,
                                                  caf::actor supervisor) {
  const auto others = std::count_if(servers.begin(), servers.end(),
                                    [](const auto& x) { return x.second.alive; });
  if (others > 1)
    time_.violate("fork server", "a third one beside two others");
  if (number > 1 && time_.strikes(fault::spawn_failure, 6))
    return fail(errc::io, "by the seed");
  time_.note("fork server {} starts", number);
  return fake_host::start_server(number, folder, std::move(supervisor));
}

void simulated_workers::load(fork_server& x) {
  time_.after_ms(time_.chance().between(50, 800), life_.guard([this, number = x.number] {
    if (!is_server_alive(number) || is_stuck(number))
      return;
    auto& of = servers.at(number);
    if (number == 1 || !time_.strikes(fault::rollout, 4))
      return server_ready(of);
    say(of, wire::server_failed{"model_corrupt", "by the seed"});
    server_dies(of, std::nullopt);
  }));
}

void simulated_workers::server_dies(fork_server& of, const std::optional<error>& rubbish) {
  if (of.alive)
    time_.note("fork server {} dies", of.number);
  fake_host::server_dies(of, rubbish);
}

void simulated_workers::stop_server(uint64_t number, bool kill) {
  if (kill || !is_stuck(number))
    fake_host::stop_server(number, kill);
}

// -- lives --------------------------------------------------------------------------------------

void simulated_workers::check_spawns() {
  spawns_us_.push_back(time_.now());
  while (spawns_us_.front() < time_.now() - spawn_window_us)
    spawns_us_.pop_front();
  if (spawns_us_.size() > max_spawns)
    time_.violate("restart intensity",
                  std::to_string(spawns_us_.size()) + " workers were wanted within 5 s");
}

expected<caf::actor> simulated_workers::spawn(uint64_t server, uint64_t id, caf::actor supervisor) {
  if (is_server_alive(server) && time_.strikes(fault::spawn_failure, 12))
    return fail(errc::io, "no more sockets, by the seed");
  auto channel = fake_host::spawn(server, id, std::move(supervisor));
  if (!channel)
    return channel;
  check_spawns();
  ++spawned;
  return channel;
}

void simulated_workers::begin_fork(worker& x) {
  conducts_[x.id] = {};
  if (time_.strikes(fault::leak, 2))
    x.leak = static_cast<uint64_t>(time_.of(fault::leak).between(1, 64)) * mib / 8;
  if (time_.strikes(fault::hoard, 3))
    x.hoard = static_cast<uint64_t>(time_.of(fault::hoard).between(1, 6)) * mib;
  if (time_.strikes(fault::misreport, 4)) {
    x.hidden = 200 * mib;
    x.hoard += 8 * mib;
  }
  x.ignores_stop = time_.strikes(fault::ignores_stop, 3);
  x.closes_at_own = time_.strikes(fault::hand_over_death, 5);
  time_.after_us(time_.chance().between(500, 20'000), life_.guard([this, id = x.id] {
    if (auto w = find(id); w != nullptr && is_server_alive(w->server) && !is_stuck(w->server))
      fork(*w);
  }));
}

void simulated_workers::fork(worker& x) {
  if (time_.strikes(fault::spawn_failure, 8)) {
    say(servers.at(x.server), wire::spawned{x.id, 0, 0, "by the seed"});
    close(x);
    return;
  }
  time_.note("worker {} is forked, leak={} hoard={}", x.id, x.leak, x.hoard);
  born(x);
  if (!x.alive)
    return;
  if (time_.strikes(fault::spawn_failure, 8)) {
    if (time_.of(fault::spawn_failure).one_in(2))
      die(x, SIGABRT);
    return; // or it is never ready
  }
  later(time_.chance().between(2'000, 50'000), x.id, [this](worker& w) { ready(w); });
}

void simulated_workers::shut(worker& x, const error* rubbish) {
  if (x.closed)
    return;
  const auto& jobs = conducts_[x.id].at_work;
  if (std::none_of(jobs.begin(), jobs.end(),
                   [](const job_truth* job) { return job->is_poison(); })) {
    own_deaths_us_.push_back(time_.now());
    while (own_deaths_us_.front() < time_.now() - death_window_us)
      own_deaths_us_.pop_front();
  }
  if (jobs.size() == 1)
    ++jobs.front()->ended_badly;
  finish(x, false);
  fake_host::shut(x, rubbish);
}

void simulated_workers::finish(const worker& x, bool answered) {
  const auto& folder = servers.at(x.server).folder;
  for (auto* job : std::exchange(conducts_[x.id].at_work, {})) {
    if (answered)
      job->answered_by.insert(folder.substr(folder.rfind('/') + 1));
    if (on_end)
      on_end(x.slot, *job, answered);
  }
}

void simulated_workers::die(worker& x, int signal, int code) {
  if (!x.alive)
    return;
  deaths += signal != 0;
  time_.note("worker {} of slot {} ends, signal {}", x.id, x.slot, signal);
  fake_host::die(x, signal, code);
}

void simulated_workers::report_exit(const worker& x, int signal, int code) {
  if (!is_server_alive(x.server))
    return;
  time_.after_us(time_.chance().between(0, 5'000),
                 life_.guard([this, server = x.server, pid = x.pid, signal, code] {
                   if (is_server_alive(server))
                     say(servers.at(server), wire::exited{pid, code, signal, baseline_bytes});
                 }));
}

size_t simulated_workers::own_deaths_since(int64_t us) const {
  return static_cast<size_t>(std::count_if(own_deaths_us_.begin(), own_deaths_us_.end(),
                                           [us](int64_t x) { return x >= us; }));
}

void simulated_workers::kill_any() {
  std::vector<worker*> xs;
  for (auto& [id, x] : workers)
    if (x.alive)
      xs.push_back(&x);
  if (!xs.empty())
    die(*xs[time_.of(fault::worker_kill).below(xs.size())], SIGKILL);
}

void simulated_workers::forget(uint64_t id) {
  fake_host::forget(id);
  workers.erase(id);
  conducts_.erase(id);
}

std::map<uint32_t, const simulated_workers::worker*> simulated_workers::latest() const {
  std::map<uint32_t, const worker*> result;
  for (const auto& [id, x] : workers)
    if (x.alive && !x.closed && x.generation > 0) {
      auto& best = result[x.slot];
      if (best == nullptr || best->generation < x.generation)
        best = &x;
    }
  return result;
}

size_t simulated_workers::serving() const { return latest().size(); }

std::set<std::string> simulated_workers::folders_served() const {
  std::set<std::string> result;
  for (const auto& [slot, x] : latest())
    result.insert(servers.at(x->server).folder);
  return result;
}

// -- explanations -------------------------------------------------------------------------------

expected<uint64_t> simulated_workers::explain(const supervision::leak_request&) {
  const auto number = next_explanation_++;
  explanations_[number] = time_.now() + time_.chance().between(10'000, 2'000'000);
  return number;
}

std::optional<expected<supervision::leak_report>> simulated_workers::explained(uint64_t number) {
  const auto i = explanations_.find(number);
  if (i == explanations_.end())
    return fail(errc::unavailable, "there is no such explanation");
  if (time_.now() < i->second)
    return std::nullopt;
  explanations_.erase(i);
  if (time_.chance().one_in(4))
    return fail(errc::io, "the helper has failed");
  return supervision::leak_report{};
}

} // namespace ziyu::simulation
