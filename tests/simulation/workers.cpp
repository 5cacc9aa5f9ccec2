#include "tests/simulation/workers.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <algorithm>
#include <csignal>

#include <unistd.h>

namespace ziyu::simulation {

namespace {

/// Private memory that is not anonymous.
constexpr uint64_t file_pages = 4096;

/// No supervisor may fork more often than this, whatever dies.
constexpr size_t max_spawns = 40;
constexpr int64_t spawn_window_us = 5'000'000;

/// Who asks for deaths asks for later ones than this.
constexpr int64_t death_window_us = 60'000'000;

} // namespace

simulated_workers::simulated_workers(timeline& time, job_book& jobs, caf::actor_system& sys)
  : time_(time), jobs_(jobs), sys_(sys) {
  // nop
}

void simulated_workers::release() {
  life_.renew();
  server_life_.renew();
  server_alive_ = false;
  for (auto& [id, x] : workers_) {
    x.alive = false;
    x.closed = true;
    x.channel = x.supervisor = x.owner = caf::actor{};
  }
  for (auto& x : channels_)
    caf::anon_send_exit(x, caf::exit_reason::kill);
  channels_.clear();
  supervisor_ = caf::actor{};
}

simulated_workers::worker* simulated_workers::find(uint64_t id) {
  auto i = workers_.find(id);
  return i == workers_.end() ? nullptr : &i->second;
}

void simulated_workers::say(wire::frame x) {
  caf::anon_send(supervisor_,
                 actors::server_frame{server_, std::make_shared<const wire::frame>(std::move(x))});
}

void simulated_workers::tell(worker& x, wire::frame content) {
  if (x.closed)
    return;
  const auto& to = std::holds_alternative<wire::result>(content) ? x.owner : x.supervisor;
  caf::anon_send(
    to, actors::channel_frame{x.id, std::make_shared<const wire::frame>(std::move(content))});
}

wire::memory_reading simulated_workers::reading(const worker& x) {
  return {x.live, x.private_bytes - file_pages - std::min(x.hidden, x.private_bytes - file_pages),
          0, 0};
}

// -- the fork server ---------------------------------------------------------------------------

expected<int32_t> simulated_workers::start_server(uint64_t number, caf::actor supervisor) {
  if (server_alive_)
    time_.violate("fork server", "a second one beside the first");
  if (number > 1 && time_.strikes(fault::spawn_failure, 6))
    return fail(errc::io, "by the seed");
  server_ = number;
  supervisor_ = std::move(supervisor);
  server_alive_ = true;
  server_loaded_ = server_stuck_ = false;
  server_life_.renew();
  time_.note("fork server {} starts", number);
  time_.after_ms(time_.chance().between(50, 800), server_life_.guard([this] {
    if (server_stuck_)
      return;
    server_loaded_ = true;
    wire::server_ready x;
    x.pid = server_pid();
    x.model_name = "digits";
    x.model_version = "1";
    x.model_sha256 = "abc";
    x.precision = "fp32";
    x.classes = 10;
    x.memory.live = 3 * mib;
    say(x);
  }));
  return server_pid();
}

void simulated_workers::server_dies() {
  if (!std::exchange(server_alive_, false))
    return;
  time_.note("fork server {} dies", server_);
  server_life_.renew();
  caf::anon_send(supervisor_, actors::server_closed{server_, {}});
  // Sockets on their way to it are closed by the kernel.
  for (auto& [id, x] : workers_)
    if (x.pid == 0)
      close(x);
}

void simulated_workers::stop_server(bool kill) {
  if (kill || !server_stuck_)
    server_dies();
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

expected<caf::actor> simulated_workers::spawn(uint64_t id, caf::actor supervisor) {
  if (!server_alive_)
    return fail(errc::unavailable, "there is no fork server");
  if (time_.strikes(fault::spawn_failure, 12))
    return fail(errc::io, "no more sockets, by the seed");
  check_spawns();
  ++spawned;
  auto& x = workers_[id];
  x.id = id;
  x.supervisor = x.owner = std::move(supervisor);
  if (time_.strikes(fault::leak, 2))
    x.leak = static_cast<uint64_t>(time_.of(fault::leak).between(1, 64)) * mib / 8;
  if (time_.strikes(fault::hoard, 3))
    x.hoard = static_cast<uint64_t>(time_.of(fault::hoard).between(1, 6)) * mib;
  if (time_.strikes(fault::misreport, 4)) {
    x.hidden = 200 * mib;
    x.hoard += 8 * mib;
  }
  x.ignores_stop = time_.strikes(fault::ignores_stop, 3);
  x.dies_at_hand_over = time_.strikes(fault::hand_over_death, 5);
  auto me = shared_from_this();
  x.channel = sys_.spawn([me, id](caf::event_based_actor* self) -> caf::behavior {
    // For the books: it learns what comes too late.
    self->set_exit_handler([self](const caf::exit_msg& end) {
      if (end.reason == caf::exit_reason::kill)
        self->quit();
    });
    return {
      [me, id](const actors::outgoing_frame& bytes) { me->receive(id, *bytes.bytes); },
      [me, id](actors::atom::own, const caf::actor& owner) {
        auto w = me->find(id);
        if (!w)
          return;
        if (w->dies_at_hand_over)
          me->die(*w, SIGSEGV);
        if (!w->closed)
          w->owner = owner;
      },
    };
  });
  channels_.push_back(x.channel);
  time_.after_us(time_.chance().between(500, 20'000), server_life_.guard([this, id] {
    if (auto w = find(id); w && !server_stuck_)
      fork(*w);
  }));
  return x.channel;
}

void simulated_workers::fork(worker& x) {
  if (time_.strikes(fault::spawn_failure, 8)) {
    say(wire::spawned{x.id, 0, 0, "by the seed"});
    close(x);
    return;
  }
  x.pid = static_cast<int32_t>(1'000 + x.id);
  x.alive = true;
  time_.note("worker {} is forked, leak={} hoard={}", x.id, x.leak, x.hoard);
  say(wire::spawned{x.id, x.pid, 900, ""});
  if (x.stop_waits && !x.ignores_stop)
    return die(x, 0);
  if (time_.strikes(fault::spawn_failure, 8)) {
    if (time_.of(fault::spawn_failure).one_in(2))
      die(x, SIGABRT);
    return; // or it is never ready
  }
  time_.after_us(time_.chance().between(2'000, 50'000), life_.guard([this, id = x.id] {
    if (auto w = find(id); w && w->alive)
      become_ready(*w);
  }));
}

void simulated_workers::become_ready(worker& x) {
  x.ready = true;
  tell(x, wire::ready{x.pid, 4'000, reading(x)});
}

void simulated_workers::close(worker& x, std::optional<error> rubbish) {
  if (std::exchange(x.closed, true))
    return;
  if (std::none_of(x.at_work.begin(), x.at_work.end(),
                   [](const job_truth* job) { return job->is_poison(); })) {
    own_deaths_us_.push_back(time_.now());
    while (own_deaths_us_.front() < time_.now() - death_window_us)
      own_deaths_us_.pop_front();
  }
  if (x.at_work.size() == 1)
    ++x.at_work.front()->ended_badly;
  finish(x, false);
  if (x.owner != x.supervisor)
    caf::anon_send(x.owner, actors::channel_closed{x.id, rubbish});
  caf::anon_send(x.supervisor, actors::channel_closed{x.id, rubbish});
}

void simulated_workers::finish(worker& x, bool answered) {
  for (const auto* job : std::exchange(x.at_work, {}))
    if (on_end)
      on_end(x.slot, *job, answered);
}

void simulated_workers::die(worker& x, int signal, int code) {
  if (!std::exchange(x.alive, false))
    return;
  deaths += signal != 0;
  time_.note("worker {} of slot {} ends, signal {}", x.id, x.slot, signal);
  close(x);
  if (server_alive_)
    time_.after_us(time_.chance().between(0, 5'000),
                   server_life_.guard([this, pid = x.pid, signal, code] {
                     say(wire::exited{pid, code, signal, baseline_bytes});
                   }));
}

size_t simulated_workers::own_deaths_since(int64_t us) const {
  return static_cast<size_t>(std::count_if(own_deaths_us_.begin(), own_deaths_us_.end(),
                                           [us](int64_t x) { return x >= us; }));
}

void simulated_workers::kill_any() {
  std::vector<worker*> xs;
  for (auto& [id, x] : workers_)
    if (x.alive)
      xs.push_back(&x);
  if (!xs.empty())
    die(*xs[time_.of(fault::worker_kill).below(xs.size())], SIGKILL);
}

void simulated_workers::adopt(uint64_t id, int32_t pid) {
  auto x = find(id);
  if (!x || x->pid != pid)
    time_.violate("workers",
                  "worker " + std::to_string(id) + " is taken for pid " + std::to_string(pid));
  else
    x->adopted = true;
}

void simulated_workers::signal(uint64_t id, int number) {
  auto x = find(id);
  if (x && x->adopted && x->alive && number == SIGKILL)
    die(*x, SIGKILL);
}

bool simulated_workers::gone(uint64_t id) {
  auto x = find(id);
  return !x || !x->adopted || !x->alive;
}

void simulated_workers::forget(uint64_t id) {
  auto x = find(id);
  if (!x)
    return;
  if (x->alive)
    time_.violate("workers", "worker " + std::to_string(id) + " is forgotten, and lives");
  workers_.erase(id);
}

size_t simulated_workers::alive() const {
  return static_cast<size_t>(
    std::count_if(workers_.begin(), workers_.end(), [](const auto& x) { return x.second.alive; }));
}

size_t simulated_workers::serving() const {
  std::map<uint32_t, const worker*> latest;
  for (const auto& [id, x] : workers_)
    if (x.alive && !x.closed && x.generation > 0) {
      auto& best = latest[x.slot];
      if (best == nullptr || best->generation < x.generation)
        best = &x;
    }
  return latest.size();
}

// -- memory -------------------------------------------------------------------------------------

expected<supervision::process_memory> simulated_workers::read_memory(int32_t pid) {
  supervision::process_memory m;
  if (pid == ::getpid() || (pid == server_pid() && server_alive_)) {
    m.private_bytes = m.anonymous = pid == ::getpid() ? 20 * mib : 90 * mib;
    return m;
  }
  const auto x = find(static_cast<uint64_t>(pid - 1'000));
  if (!x || !x->alive)
    return fail(errc::io, "no such process");
  m.private_bytes = x->private_bytes;
  m.anonymous = x->private_bytes - file_pages;
  return m;
}

expected<supervision::container_memory> simulated_workers::read_container() {
  supervision::container_memory x;
  x.limit = 1'000'000;
  x.used = static_cast<uint64_t>(pressure_ * 1'000'000);
  x.source = "simulated";
  return x;
}

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
