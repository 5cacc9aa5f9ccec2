#include "pool.hpp"

#include "actors/process_host.hpp"
#include "actors/status_json.hpp"
#include "base/heap.hpp"
#include "base/log.hpp"
#include "tests/support/progress_source.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>

namespace ziyu::bench {

using namespace std::chrono_literals;
using namespace actors;
using nlohmann::json;

namespace {

const messaging::topic_partition partition{"jobs", 0};

/// Of the record that became a dead letter.
int64_t offset_of(const messaging::header_list& headers) {
  for (const auto& x : headers)
    if (x.first == "__connect.errors.offset" && x.second) {
      int64_t offset = -1;
      std::from_chars(x.second->data(), x.second->data() + x.second->size(), offset);
      return offset;
    }
  give_up("a dead letter does not say of which record it is");
}

/// Stands between a slot and the supervisor, and reports their messages.
caf::behavior eavesdropper(caf::event_based_actor* self, supervisor_actor boss,
                           std::function<void(const job_done&)> on_job) {
  return {
    [=](const job_done& x) {
      on_job(x);
      self->send(boss, x);
    },
    [=](const slot_switched& x) { self->send(boss, x); },
    [=](const worker_hung& x) { self->send(boss, x); },
  };
}

} // namespace

void give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

void keep_quiet() {
  need(init_log("error", "text"));
  spdlog::set_level(spdlog::level::off);
  ::signal(SIGPIPE, SIG_IGN);
}

double percentile(std::vector<double> values, double p) {
  std::sort(values.begin(), values.end());
  const auto rank = std::ceil(p / 100 * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(rank, 1.)) - 1];
}

std::filesystem::path digits_model() { return ZIYU_SOURCE_DIR "/models/digits/1"; }

uint64_t private_bytes_of(int32_t pid) {
  const auto memory = supervision::read_process_memory(pid);
  return memory ? memory->private_bytes : 0;
}

/// A producer that acknowledges everything at once.
class pool::memory_producer : public messaging::producer {
public:
  memory_producer(pool& owner, report_handler on_report)
    : owner_(owner), on_report_(std::move(on_report)) {}

  expected<void> produce(const messaging::outgoing& x) override {
    owner_.on_published(x);
    on_report_({{x.token, {}, {x.topic, 0, 0}}});
    return {};
  }

private:
  pool& owner_;
  report_handler on_report_;
};

pool::system_config::system_config() {
  keep_heap_compact(); // as `serve` does
  set("scheduler.max-threads", size_t{2});
  // Idle threads sleep: the other policy polls, which costs a sixth of two cores.
  set("scheduler.policy", caf::atom("sharing"));
  load<caf::io::middleman>();
}

pool::pool(pool_settings settings, std::function<void(const events::event&)> on_event)
  : settings_(std::move(settings)), on_event_(std::move(on_event)), system_(config_) {
  core_.emplace(system_,
                std::make_shared<reporter>(system_environment(), "bench", "events",
                                           std::make_shared<metrics>()),
                to_service_settings());
  // Commits at once what is stored.
  source_ = std::make_shared<test::progress_source>([to = core_->dispatcher()](
                                                      const messaging::topic_partition& where,
                                                      const messaging::commit_point& x) {
    caf::anon_send(to, messaging::offsets_committed{{{where, 1, x.version, std::nullopt, false}}});
    return expected<void>{};
  });
  core_->attach(source_);
  caf::anon_send(core_->dispatcher(), messaging::partitions_assigned{1, {partition}, {}});
}

service_settings pool::to_service_settings() {
  service_settings x;
  x.jobs.results_topic = "results";
  x.jobs.dead_letters_topic = "dead";
  x.jobs.max_attempts = settings_.max_attempts;
  x.records.make =
    [this](
      messaging::producer::report_handler h) -> expected<std::unique_ptr<messaging::producer>> {
    return std::make_unique<memory_producer>(*this, std::move(h));
  };
  process_host_settings h;
  h.executable = settings_.worker;
  h.max_pixels = 100'000'000;
  h.faults_allowed = settings_.faults_allowed;
  auto& s = x.pool;
  s.model = settings_.model;
  s.slots = settings_.slots;
  s.standbys = settings_.standbys;
  s.probe_interval = settings_.probe_interval;
  s.judge = settings_.judge;
  s.healing.enabled = settings_.healing;
  s.healing.budget_bytes = settings_.budget_bytes;
  s.healing.hard_limit_bytes = settings_.hard_limit_bytes;
  s.explain = settings_.explain;
  s.explain_interval = settings_.explain_interval;
  s.restart_intensity = settings_.restart_intensity;
  s.restart_period = settings_.restart_period;
  s.slot_faults = settings_.slot_faults;
  s.host = std::make_shared<process_host>(system_, std::move(h));
  s.on_model = [](const auto&) {};
  s.on_fatal = [](const error& why) { give_up(why.describe()); };
  x.slot.faults_allowed = settings_.faults_allowed;
  if (settings_.on_job)
    x.spawn_slot = [this](inference_settings each) {
      eavesdroppers_.push_back(system_.spawn(eavesdropper, each.supervisor, settings_.on_job));
      each.supervisor = caf::actor_cast<supervisor_actor>(eavesdroppers_.back());
      return system_.spawn(inference, std::move(each));
    };
  return x;
}

pool::~pool() {
  caf::scoped_actor self{system_};
  self->request(core_->supervisor(), 30s, atom::drain{}, uint64_t{5'000})
    .receive([](bool) {}, [](const caf::error&) {});
  self->wait_for(core_->end());
  for (const auto& x : eavesdroppers_)
    self->send_exit(x, caf::exit_reason::user_shutdown);
}

void pool::submit(std::shared_ptr<const std::string> image, std::string fault) {
  messaging::record record;
  record.id = {partition.topic, partition.partition, static_cast<int64_t>(submitted_++)};
  record.epoch = 1;
  record.value = image;
  auto job = std::make_shared<messaging::job>();
  job->id = messaging::to_string(record.id);
  job->source = record;
  job->image = image;
  job->fault = std::move(fault);
  fetched_job msg;
  msg.source = std::make_shared<const messaging::record>(std::move(record));
  msg.job = std::move(job);
  msg.credit = std::make_shared<credit>(core_->credit(), image->size());
  caf::anon_send(core_->dispatcher(), fetched_jobs{{std::move(msg)}});
}

void pool::on_published(const messaging::outgoing& x) {
  if (x.topic == "events") {
    if (on_event_)
      on_event_(events::event_from_json(json::parse(*x.value)).value());
    return;
  }
  outcome news;
  news.when = clock::now();
  int64_t offset = 0;
  if (x.topic == "results") {
    const auto r = json::parse(*x.value);
    const auto &by = r.at("worker"), &memory = r.at("memory");
    news.ok = true;
    news.slot = by.at("slot");
    news.generation = by.at("generation");
    news.pid = by.at("pid");
    news.delta_bytes = memory.at("delta_bytes");
    news.live_bytes = memory.at("live_bytes");
    news.private_bytes = memory.at("private_bytes");
    offset = r.at("source").at("offset");
  } else {
    offset = offset_of(x.headers);
  }
  news.job = static_cast<uint64_t>(offset);
  std::lock_guard guard{mutex_};
  const auto index = static_cast<size_t>(offset);
  if (index >= finished_.size())
    finished_.resize(index + 1);
  if (finished_[index])
    ++repeated_;
  else
    ++finished_jobs_;
  finished_[index] = true;
  outcomes_.push_back(news);
  changed_.notify_all();
}

outcome pool::next() {
  std::unique_lock guard{mutex_};
  if (!changed_.wait_for(guard, patience, [this] { return !outcomes_.empty(); }))
    give_up("no result within 120 s");
  const auto x = outcomes_.front();
  outcomes_.pop_front();
  return x;
}

uint64_t pool::finished() const {
  std::lock_guard guard{mutex_};
  return finished_jobs_;
}

uint64_t pool::repeated() const {
  std::lock_guard guard{mutex_};
  return repeated_;
}

supervisor_status pool::status() {
  supervisor_status x;
  caf::scoped_actor self{system_};
  self->request(core_->supervisor(), 30s, atom::status{})
    .receive([&](const supervisor_status& now) { x = now; },
             [](const caf::error&) { give_up("the supervisor does not answer"); });
  return x;
}

json pool::workers() { return workers_json(status()); }

} // namespace ziyu::bench
