// The positive control: services that break a promise on purpose, by a wrapper at a port. A
// simulation that does not catch them would prove nothing about the real service.

#include "tests/simulation/simulation.hpp"
#include "tests/support/fake_actors.hpp"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

namespace ziyu::simulation {

namespace {

using namespace messaging;

/// All as it is.
class same_consumer : public consumer {
public:
  explicit same_consumer(std::unique_ptr<consumer> x) : inner(std::move(x)) {}
  consumer_event poll(std::chrono::milliseconds limit) override { return inner->poll(limit); }
  void wake() override { inner->wake(); }
  void gate(bool closed) override { inner->gate(closed); }
  void hold(const std::set<topic_partition>& partitions) override { inner->hold(partitions); }
  std::vector<partition_view> view() override { return inner->view(); }
  expected<void> seek(const topic_partition& where, int64_t offset,
                      std::chrono::milliseconds limit) override {
    return inner->seek(where, offset, limit);
  }
  void pause(bool on) override { inner->pause(on); }
  uint64_t refetched_bytes() const override { return inner->refetched_bytes(); }
  expected<void> store(const topic_partition& where, commit_point point) override {
    return inner->store(where, std::move(point));
  }
  std::shared_ptr<const group_membership> membership(
    const std::map<topic_partition, uint64_t>& epochs) const override {
    return inner->membership(epochs);
  }
  void finish_revoke() override { inner->finish_revoke(); }
  expected<void> commit(std::chrono::milliseconds limit) override { return inner->commit(limit); }
  void close(std::chrono::milliseconds limit) override { inner->close(limit); }

protected:
  std::unique_ptr<consumer> inner;
};

class commits_on_fetch : public same_consumer {
public:
  using same_consumer::same_consumer;
  consumer_event poll(std::chrono::milliseconds limit) override {
    auto x = inner->poll(limit);
    if (auto r = std::get_if<record>(&x))
      (void)inner->store(r->id.where(), {r->id.offset + 1});
    return x;
  }
};

/// The dispatcher never learns that partitions were taken away, and accepts late outcomes.
class hides_revocations : public same_consumer {
public:
  using same_consumer::same_consumer;
  consumer_event poll(std::chrono::milliseconds limit) override {
    auto x = inner->poll(limit);
    if (std::holds_alternative<partitions_revoked>(x)) {
      inner->finish_revoke();
      return nothing{};
    }
    return x;
  }
  void finish_revoke() override {}
};

/// Each consumer numbers its assignments from 1 on, as ours did once: work of its predecessor
/// counts as its own.
class counts_epochs_anew : public same_consumer {
public:
  using same_consumer::same_consumer;
  consumer_event poll(std::chrono::milliseconds limit) override {
    auto x = inner->poll(limit);
    if (auto a = std::get_if<partitions_assigned>(&x)) {
      first_ = first_ == 0 ? a->epoch : first_;
      a->epoch = a->epoch - first_ + 1;
    } else if (auto r = std::get_if<record>(&x)) {
      r->epoch = r->epoch - first_ + 1;
    } else if (auto c = std::get_if<offsets_committed>(&x)) {
      for (auto& item : c->items)
        item.epoch = item.epoch - first_ + 1;
    }
    return x;
  }
  std::shared_ptr<const group_membership> membership(
    const std::map<topic_partition, uint64_t>& epochs) const override {
    auto known = epochs;
    for (auto& [where, epoch] : known)
      epoch += first_ - 1;
    return inner->membership(known);
  }

private:
  uint64_t first_ = 0;
};

/// Records that are finished beyond the committed offset are forgotten when partitions change
/// owners.
class drops_maps : public same_consumer {
public:
  using same_consumer::same_consumer;
  consumer_event poll(std::chrono::milliseconds limit) override {
    auto x = inner->poll(limit);
    if (auto a = std::get_if<partitions_assigned>(&x))
      for (auto& [where, found] : a->committed)
        found.map.finished.clear();
    return x;
  }
};

class ignores_the_gate : public same_consumer {
public:
  using same_consumer::same_consumer;
  void gate(bool) override {}
};

/// The watchdog finds nothing.
class has_no_view : public same_consumer {
public:
  using same_consumer::same_consumer;
  std::vector<partition_view> view() override { return {}; }
};

/// Partitions that were paused when memory was short are never resumed.
class never_resumes : public same_consumer {
public:
  using same_consumer::same_consumer;
  void pause(bool on) override {
    if (on)
      inner->pause(on);
  }
};

/// Revoked partitions are never given up.
class never_gives_up : public same_consumer {
public:
  using same_consumer::same_consumer;
  void finish_revoke() override {}
};

/// While it is held back, it does not poll.
class does_not_poll_when_gated : public same_consumer {
public:
  using same_consumer::same_consumer;
  consumer_event poll(std::chrono::milliseconds limit) override {
    return gated_ ? nothing{} : inner->poll(limit);
  }
  void gate(bool closed) override {
    gated_ = closed;
    inner->gate(closed);
  }

private:
  bool gated_ = false;
};

template <class Broken>
port_wrappers with_consumer() {
  port_wrappers x;
  x.consumer = [](std::unique_ptr<consumer> inner) {
    return std::make_unique<Broken>(std::move(inner));
  };
  return x;
}

/// Reports delivery at once, and ignores the broker's later reports.
class reports_too_early : public producer {
public:
  reports_too_early(std::unique_ptr<producer> inner, report_handler report)
    : inner_(std::move(inner)), report_(std::move(report)) {}
  expected<void> produce(const outgoing& x) override {
    auto ok = inner_->produce(x);
    if (ok)
      report_({{x.token, std::nullopt, {x.topic, 0, 0}}});
    return ok;
  }

private:
  std::unique_ptr<producer> inner_;
  report_handler report_;
};

port_wrappers without_delivery_reports() {
  port_wrappers x;
  x.producer = [](actors::producer_factory make,
                  producer::report_handler report) -> expected<std::unique_ptr<producer>> {
    auto inner = make([](std::vector<delivery_report>) {});
    if (!inner)
      return inner;
    return std::make_unique<reports_too_early>(std::move(*inner), std::move(report));
  };
  return x;
}

/// One report in ten never comes.
port_wrappers with_lost_reports() {
  port_wrappers x;
  x.producer = [n = std::make_shared<int>(0)](actors::producer_factory make,
                                              producer::report_handler report) {
    return make([n, report = std::move(report)](std::vector<delivery_report> reports) {
      std::erase_if(reports, [&n](const auto&) { return ++*n % 10 == 0; });
      report(std::move(reports));
    });
  };
  return x;
}

/// No slot is held, and no worker is replaced, before the hard limit.
port_wrappers without_budget() {
  port_wrappers x;
  x.supervisor = [](actors::supervisor_settings& s) { s.healing.budget_bytes = 0; };
  return x;
}

/// The queue forgets that a suspect is out.
port_wrappers with_suspects_beside_each_other() {
  port_wrappers x;
  x.dispatcher = [](actors::dispatcher_state& d) {
    d.next_suspect.reset();
    for (const auto& [number, slot] : d.slots)
      for (const auto& job : slot.running)
        d.queue.came_back(*job);
  };
  return x;
}

/// A worker's end with several jobs charges an attempt to each of them.
port_wrappers with_whole_batches_charged() {
  port_wrappers x;
  x.dispatcher = [](actors::dispatcher_state& d) {
    d.queue.find(actors::job_entry::clock::time_point::max(), [&d](actors::job_entry& job) {
      if (!job.deaths.empty() && !std::exchange(job.deaths.back().alone, true))
        d.ledger.fail_attempt(job.job.source->id, job.job.source->epoch);
      return false;
    });
  };
  return x;
}

/// Suspects join batches as other jobs do.
port_wrappers with_suspects_in_batches() {
  port_wrappers x;
  x.dispatcher = [](actors::dispatcher_state& d) {
    d.queue.find(actors::job_entry::clock::time_point::max(), [](actors::job_entry& job) {
      job.deaths.clear();
      return false;
    });
  };
  return x;
}

/// Nobody hears that a death is the job's.
port_wrappers without_verdicts() {
  port_wrappers x;
  x.dispatcher = [](actors::dispatcher_state& d) {
    using real = actors::supervisor_actor::stateful_base<actors::supervisor_state>;
    auto& listener = d.neighbours.supervisor;
    if (dynamic_cast<real*>(caf::actor_cast<caf::abstract_actor*>(listener)) == nullptr)
      return;
    listener = d.self->home_system().spawn(test::fake_supervisor,
                                           std::make_shared<test::supervisor_log>());
    d.self->link_to(listener);
  };
  return x;
}

/// The consumer leaves before running jobs end.
port_wrappers with_stages_in_the_wrong_order() {
  port_wrappers x;
  x.stop = [](std::vector<actors::stop_stage>& stages) {
    const auto of = [&](actors::stop_stage::kind what) {
      return std::find_if(stages.begin(), stages.end(),
                          [what](const auto& stage) { return stage.what == what; });
    };
    std::rotate(of(actors::stop_stage::kind::drain), of(actors::stop_stage::kind::commit),
                of(actors::stop_stage::kind::workers));
  };
  return x;
}

/// Takes all that the supervisor asks for to the real port.
class same_host : public actors::worker_host {
public:
  explicit same_host(std::shared_ptr<actors::worker_host> inner) : inner_(std::move(inner)) {}

  expected<int32_t> start_server(uint64_t server, const std::string& folder,
                                 caf::actor supervisor) override {
    return inner_->start_server(server, folder, std::move(supervisor));
  }
  void stop_server(uint64_t server, bool kill) override { inner_->stop_server(server, kill); }
  bool server_running(uint64_t server) override { return inner_->server_running(server); }
  bool server_has_memory(uint64_t server) override { return inner_->server_has_memory(server); }
  expected<caf::actor> spawn(uint64_t server, uint64_t worker, caf::actor supervisor) override {
    return inner_->spawn(server, worker, std::move(supervisor));
  }
  void adopt(uint64_t worker, int32_t pid) override { inner_->adopt(worker, pid); }
  void signal(uint64_t worker, int number) override { inner_->signal(worker, number); }
  bool gone(uint64_t worker) override { return inner_->gone(worker); }
  bool stopped(uint64_t worker) override { return inner_->stopped(worker); }
  void forget(uint64_t worker) override { inner_->forget(worker); }
  expected<supervision::process_memory> read_memory(int32_t pid) override {
    return inner_->read_memory(pid);
  }
  expected<supervision::container_memory> read_container() override {
    return inner_->read_container();
  }
  std::optional<uint64_t> oom_kills() override { return inner_->oom_kills(); }
  expected<uint64_t> explain(const supervision::leak_request& x) override {
    return inner_->explain(x);
  }
  std::optional<expected<supervision::leak_report>> explained(uint64_t number) override {
    return inner_->explained(number);
  }
  void stop_explaining(uint64_t number) override { inner_->stop_explaining(number); }

protected:
  std::shared_ptr<actors::worker_host> inner_;
};

/// Workers of a new version are forked by the fork server of the version before.
class forks_the_former_version : public same_host {
public:
  using same_host::same_host;

  expected<caf::actor> spawn(uint64_t server, uint64_t worker, caf::actor supervisor) override {
    const auto former = server > 1 && inner_->server_running(server - 1) ? server - 1 : server;
    return inner_->spawn(former, worker, std::move(supervisor));
  }
};

template <class Host>
port_wrappers with_host() {
  port_wrappers x;
  x.supervisor = [](actors::supervisor_settings& s) { s.host = std::make_shared<Host>(s.host); };
  return x;
}

struct control {
  const char* name;
  port_wrappers wrappers;
  std::set<std::string> promises; ///< One of these must be found broken.
  uint64_t seeds;                 ///< …within so many seeds.
};

// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest's name
void PrintTo(const control& x, std::ostream* out) { *out << x.name; }

class Control : public ::testing::TestWithParam<control> {
protected:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
  void TearDown() override { spdlog::set_level(spdlog::level::info); }
};

TEST_P(Control, IsCaught) {
  const auto& x = GetParam();
  options o;
  o.wrappers = x.wrappers;
  // What breaks one promise may break another one first (what is never finished: liveness).
  std::string others;
  for (uint64_t seed = 1; seed <= x.seeds; ++seed) {
    const auto found = run(scenario::of(seed), o).violations;
    if (found.empty())
      continue;
    if (x.promises.contains(found.front().promise))
      return;
    others += "\nseed " + std::to_string(seed) + ": " + found.front().promise;
  }
  FAIL() << "not caught within " << x.seeds << " seeds, but:" << others;
}

INSTANTIATE_TEST_SUITE_P(
  Simulation, Control,
  ::testing::Values(
    control{"CommitOnFetch", with_consumer<commits_on_fetch>(), {"P1"}, 5},
    control{"NoEpochCheck", with_consumer<hides_revocations>(), {"P2", "ledger", "liveness"}, 30},
    control{"EpochsOfEachConsumer",
            with_consumer<counts_epochs_anew>(),
            {"healing", "P4", "P8", "suspects"},
            2'000},
    control{"NoMap", with_consumer<drops_maps>(), {"P3", "P8"}, 50},
    control{"NoDeliveryReport", without_delivery_reports(), {"P1"}, 5},
    control{"LostDeliveryReport", with_lost_reports(), {"liveness", "healing"}, 20},
    control{"NoWatchdog", with_consumer<has_no_view>(), {"liveness"}, 300},
    control{"EndlessPause", with_consumer<never_resumes>(), {"P5"}, 100},
    control{"NoFarewell", with_consumer<never_gives_up>(), {"P5"}, 30},
    control{"NoPollWhenGated", with_consumer<does_not_poll_when_gated>(), {"P5"}, 200},
    control{"NoBudget", without_budget(), {"budget"}, 500},
    control{"SuspectsTogether", with_suspects_beside_each_other(), {"suspects"}, 300},
    control{"SuspectsInBatches", with_suspects_in_batches(), {"suspects"}, 300},
    control{"WholeBatchesCharged", with_whole_batches_charged(), {"P6"}, 300},
    control{"DeathsOfJobsCount", without_verdicts(), {"blame"}, 1'000},
    control{"StopStagesInTheWrongOrder", with_stages_in_the_wrong_order(), {"P7"}, 300},
    control{"FormerVersion", with_host<forks_the_former_version>(), {"version"}, 300},
    control{"NoGate", with_consumer<ignores_the_gate>(), {"P4"}, 30}),
  [](const auto& i) { return i.param.name; });

TEST_F(Control, AWrapperThatChangesNothingIsNotCaught) {
  options o;
  o.wrappers = with_consumer<same_consumer>();
  for (uint64_t seed = 1; seed <= 50; ++seed)
    EXPECT_TRUE(run(scenario::of(seed), o).violations.empty()) << "seed " << seed;
}

TEST_F(Control, AFailureIsShrunkAndFailsStill) {
  options o;
  o.wrappers = with_consumer<commits_on_fetch>();
  auto x = scenario::of(3);
  const auto small = shrink(x, o);
  EXPECT_LT(small.faults.count(), x.faults.count());
  EXPECT_LT(small.jobs, x.jobs);
  const auto found = run(small, o).violations;
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found.front().promise, "P1");
}

} // namespace

} // namespace ziyu::simulation
