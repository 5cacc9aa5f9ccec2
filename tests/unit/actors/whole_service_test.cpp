// Dispatcher, supervisor, inference actors and publisher together, over a broker and
// workers that exist only as messages, in hundreds of schedules drawn from seeds. A
// failure names its seed.

#include "actors/service_core.hpp"
#include "actors/source.hpp"
#include "actors/status_json.hpp"
#include "tests/support/actor_stage.hpp"
#include "tests/support/fake_host.hpp"
#include "tests/support/fake_kafka.hpp"
#include "tests/support/progress_source.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <random>
#include <set>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;

constexpr uint64_t mib = 1u << 20;
constexpr int32_t partitions = 2;
constexpr int64_t records = 20; // per partition

class world {
public:
  explicit world(uint64_t seed)
    : order_(static_cast<ordering>(seed % 3)), stage_(seed), dice_(seed),
      core_(stage_.sys, stage_.report, to_service_settings(seed)) {
    core_.attach(progress_);
    host_->prepare = [this](fake_host::worker& x) {
      if (calm_)
        return;
      if (one_in(5))
        x.leak = 6 * mib;
      x.ignores_stop = one_in(20);
      x.closes_at_own = one_in(20);
    };
    host_->on_job = [this](fake_host::worker& x, const wire::batch& job) {
      return misbehave(x, job);
    };
    source_.emplace(consumer_, core_.credit(), core_.dispatcher(), stage_.env);
    for (int32_t partition = 0; partition < partitions; ++partition)
      assign(partition);
  }

  ~world() {
    core_.end();
    host_->release();
    stage_.run();
  }

  /// Something happens.
  void act() {
    switch (draw(14)) {
    case 0:
    case 1:
    case 2:
    case 3: fetch(); break;
    case 4:
    case 5: acknowledge(); break;
    case 6:
      if (!kafka_.in_flight.empty())
        kafka_.fail({one_in(10) ? errc::kafka_fatal : errc::kafka, "by the seed"});
      break;
    case 7: kafka_.take_nothing = one_in(4); break;
    case 8:
      if (one_in(4))
        kafka_.refusals.push_back({one_in(3) ? errc::kafka_fatal : errc::kafka, "by the seed"});
      break;
    case 9:
      if (one_in(3))
        kill_one();
      break;
    case 10:
      if (one_in(6))
        host_->server_dies();
      break;
    case 11:
      if (one_in(3)) {
        // A partition comes or goes.
        const auto partition = static_cast<int32_t>(draw(partitions));
        if (parts_[partition].assigned)
          revoke(partition);
        else
          assign(partition);
      }
      break;
    case 12: stage_.advance(std::chrono::milliseconds{draw(300)}); break;
    default: break;
    }
    // Often the next thing happens while messages are still under way.
    for (auto n = draw(30); n > 0; --n)
      stage_.sched.try_run_once();
  }

  /// No more faults: everything must come to its end.
  void settle() {
    calm_ = true;
    kafka_.take_nothing = false;
    kafka_.refusals.clear();
    for (auto& [id, x] : host_->workers)
      x.ignores_stop = x.closes_at_own = false;
    for (int32_t i = 0; i < partitions; ++i)
      if (!parts_[i].assigned)
        assign(i);
    for (auto i = 0; i < 2'000 && !all_done(); ++i) {
      for (auto n = 0; n < 8; ++n)
        fetch();
      stage_.run();
      kafka_.acknowledge_all();
      stage_.advance(50ms);
    }
    EXPECT_TRUE(all_done()) << "stuck: " << stuck();
    stage_.advance(1s);
    kafka_.acknowledge_all();
    stage_.run();
    EXPECT_EQ(core_.credit()->jobs(), 0u);
    EXPECT_EQ(core_.credit()->bytes(), 0u);
    for (int32_t i = 0; i < partitions; ++i)
      EXPECT_EQ(parts_[i].stored, records) << "partition " << i;
    const auto total = ledger();
    EXPECT_TRUE(total["balanced"].get<bool>()) << total;
    EXPECT_EQ(total["in_flight"], 0) << total;
    for (const auto& [key, count] : delivered_) {
      EXPECT_LE(count.first + count.second, fetched_[key]) << key << " came out too often";
      if (bad(key) || poison(key)) {
        EXPECT_EQ(count.first, 0u) << key << " has a result";
      }
    }
    // Healed, after what the backoff of deaths takes: both slots are served, and a standby
    // is there.
    stage_.advance(10s);
    for (uint32_t slot = 0; slot < 2; ++slot)
      EXPECT_NE(host_->serving(slot), nullptr);
    EXPECT_EQ(host_->alive(), 3u);
  }

  /// SIGTERM at any moment.
  void stop() {
    calm_ = true;
    std::optional<events::stop_stages> stages;
    core_.run_stages(stages_of_stop({.gate_ms = 1'000,
                                     .drain_ms = 5'000,
                                     .flush_ms = 1'000,
                                     .commit_ms = 1'000,
                                     .close_ms = 1'000,
                                     .workers_ms = 2'000}),
                     nullptr, [&stages](events::stop_stages x) { stages = std::move(x); });
    for (auto i = 0; i < 150 && !stages; ++i) {
      kafka_.take_nothing = one_in(3);
      kafka_.acknowledge_all();
      stage_.advance(100ms);
    }
    ASSERT_TRUE(stages) << "the stop does not end";
    EXPECT_TRUE(stages->stages.back().done) << "the workers' end";
    const auto total = ledger();
    EXPECT_TRUE(total["balanced"].get<bool>()) << total;
    EXPECT_EQ(total["in_flight"], 0) << total;
    EXPECT_EQ(host_->alive(), 0u);
    EXPECT_FALSE(host_->server_alive());
    kafka_.take_nothing = false;
    for (auto i = 0; i < 400 && core_.credit()->jobs() > 0; ++i) {
      kafka_.acknowledge_all();
      stage_.advance(100ms);
    }
    EXPECT_EQ(core_.credit()->jobs(), 0u) << "credit that nobody gave back";
  }

private:
  service_settings to_service_settings(uint64_t seed) {
    service_settings x;
    x.credit = {8, 100'000};
    auto& d = x.jobs;
    d.results_topic = "image.results";
    d.dead_letters_topic = "image.jobs-dlt";
    d.job_timeout = 2s;
    d.order = order_;
    if (seed % 2 == 0) {
      d.retry_backoff = 50ms;
      d.retry_backoff_max = 500ms;
    }
    x.records.make = kafka_.factory();
    auto& s = x.pool;
    s.slots = 2;
    s.standbys = 1;
    s.start_timeout = 5s;
    s.grace = 1s;
    s.healing.budget_bytes = 100 * mib;
    s.healing.hard_limit_bytes = 150 * mib;
    s.restart_intensity = 5;
    s.restart_period = 5s;
    s.host = host_;
    s.on_model = [](const auto&) {};
    s.on_fatal = [](error why) { ADD_FAILURE() << "fatal: " << why.describe(); };
    return x;
  }

  struct part {
    bool assigned = false;
    uint64_t epoch = 0;
    int64_t position = 0;
    int64_t stored = 0;        ///< For the next assignment, too: it is committed when it goes.
    messaging::offset_map map; ///< The same.
  };

  uint64_t draw(uint64_t below) { return dice_() % below; }
  bool one_in(uint64_t n) { return draw(n) == 0; }

  static std::string key_of(int32_t partition, int64_t offset) {
    return "job-" + std::to_string(partition) + "-" + std::to_string(offset);
  }
  static int64_t offset_of(const std::string& key) { return std::stoll(key.substr(6)); }
  static bool bad(const std::string& key) { return offset_of(key) % 7 == 3; }
  static bool poison(const std::string& key) { return offset_of(key) % 11 == 5; }

  // -- the broker's side -------------------------------------------------------------------

  void fetch() {
    const auto partition = static_cast<int32_t>(draw(partitions));
    auto& x = parts_[partition];
    if (x.assigned && x.position < records && core_.credit()->open() && consumer_.events.empty()) {
      auto r = make_record(x.position, x.epoch, partition);
      if (bad(*r.key))
        r.value = nullptr;
      else
        r.value = std::make_shared<const std::string>(*r.key);
      ++fetched_[*r.key];
      ++x.position;
      consumer_.events.emplace_back(std::move(r));
    }
    EXPECT_TRUE(source_->turn(0ms));
  }

  void assign(int32_t partition) {
    auto& x = parts_[partition];
    x.assigned = true;
    x.epoch = ++epoch_;
    x.position = x.stored;
    messaging::partitions_assigned news{x.epoch, {{"image.jobs", partition}}, {}};
    if (x.stored > 0)
      news.committed.emplace(news.partitions[0], messaging::committed_state{x.stored, x.map, ""});
    consumer_.events.emplace_back(std::move(news));
    EXPECT_TRUE(source_->turn(0ms));
  }

  void revoke(int32_t partition) {
    // As the source does it: it asks for nothing else until the answer is there.
    auto handled = std::make_shared<std::promise<void>>();
    auto done = handled->get_future();
    auto& x = parts_[partition];
    caf::anon_send(core_.dispatcher(),
                   revocation{{x.epoch, {{"image.jobs", partition}}, false}, handled});
    const auto acknowledged = !one_in(5); // else the time runs out
    for (auto i = 0; i < 50 && done.wait_for(0s) != std::future_status::ready; ++i) {
      for (auto n = draw(30); n > 0; --n)
        stage_.sched.try_run_once();
      if (acknowledged)
        kafka_.acknowledge_all();
    }
    if (done.wait_for(0s) != std::future_status::ready)
      stage_.advance(2'500ms, 250ms);
    EXPECT_EQ(done.wait_for(0s), std::future_status::ready);
    x.assigned = false;
  }

  expected<void> store(const messaging::topic_partition& where,
                       const messaging::commit_point& point) {
    auto& x = parts_[where.partition];
    EXPECT_TRUE(x.assigned) << "an offset of a partition that is not ours";
    if (!calm_ && one_in(20))
      return fail(errc::kafka, "by the seed");
    const auto beyond = messaging::decode_offset_map(point.metadata, point.next);
    EXPECT_EQ(beyond.ignored, "");
    EXPECT_GE(point.next, x.stored);
    for (auto offset = int64_t{0}; offset < records; ++offset)
      if (offset < point.next || beyond.map.has_finished(offset)) {
        EXPECT_TRUE(done(key_of(where.partition, offset)))
          << "offset " << point.next << " and its map pass the unfinished " << offset;
      }
    x.stored = point.next;
    x.map = beyond.map;
    // The answer comes, sooner or later, or its commit has failed and is tried again.
    messaging::offsets_committed news;
    if (!calm_ && one_in(10))
      news.items.push_back({where, x.epoch, point.version, error{errc::kafka, "by the seed"}, {}});
    caf::anon_send(core_.dispatcher(), news);
    news.items.assign(1, {where, x.epoch, point.version, std::nullopt, false});
    caf::anon_send(core_.dispatcher(), news);
    return {};
  }

  void acknowledge() {
    for (auto n = draw(4); n > 0 && !kafka_.in_flight.empty(); --n)
      kafka_.acknowledge();
    count_deliveries();
  }

  void count_deliveries() {
    for (; counted_ < kafka_.delivered.size(); ++counted_) {
      const auto& x = kafka_.delivered[counted_];
      if (x.topic == "image.results") {
        ++delivered_[*x.key].first;
        expect_in_order(*x.key);
      } else if (x.topic == "image.jobs-dlt")
        ++delivered_[*x.key].second;
    }
  }

  /// No result overtakes a record before it, but bad input, which takes no part. A dead letter
  /// holds nobody up once a producer has had it: it may be set aside.
  void expect_in_order(const std::string& key) {
    if (order_ != ordering::partition)
      return;
    const auto partition = std::stoi(key.substr(4));
    for (auto offset = int64_t{0}; offset < offset_of(key); ++offset)
      if (const auto before = key_of(partition, offset);
          !bad(before) && !was_tried_as_dead_letter(before)) {
        EXPECT_TRUE(delivered_.contains(before)) << key << " has overtaken " << before;
      }
  }

  bool was_tried_as_dead_letter(const std::string& key) const {
    return std::any_of(kafka_.queued.begin(), kafka_.queued.end(), [&key](const auto& x) {
      return x.topic == "image.jobs-dlt" && x.key == key;
    });
  }

  bool done(const std::string& key) {
    count_deliveries();
    return delivered_.count(key) > 0;
  }

  bool all_done() {
    count_deliveries();
    return delivered_.size() == static_cast<size_t>(partitions * records)
           && core_.credit()->jobs() == 0
           && std::all_of(parts_.begin(), parts_.end(),
                          [](const auto& x) { return x.second.stored == records; });
  }

  std::string stuck() {
    std::string text;
    for (int32_t p = 0; p < partitions; ++p)
      for (int64_t o = 0; o < records; ++o)
        if (!done(key_of(p, o)))
          text += key_of(p, o) + " ";
    const auto d = stage_.ask<dispatcher_status>(core_.dispatcher(), atom::status{});
    const auto v = stage_.ask<supervisor_status>(core_.supervisor(), atom::status{});
    if (*d)
      text += "queued=" + std::to_string((*d)->queued) + " running=" + std::to_string((*d)->running)
              + " up=" + std::to_string((*d)->slots_up) + " breaker=" + (*d)->breaker_reason;
    if (*v)
      text += " workers=" + workers_json(**v).dump().substr(0, 2'000);
    return text;
  }

  nlohmann::json ledger() {
    const auto x = stage_.ask<dispatcher_status>(core_.dispatcher(), atom::status{});
    return to_json((*x)->ledger.total);
  }

  // -- the workers' side -------------------------------------------------------------------

  bool misbehave(fake_host::worker& x, const wire::batch& job) {
    if (poison(job.jobs.at(0).image)) {
      host_->die(x, SIGSEGV);
      return true;
    }
    if (calm_)
      return false;
    switch (draw(30)) {
    case 0: host_->die(x, SIGSEGV); return true;
    case 1: return true; // hangs
    case 2: host_->close(x, error{errc::bad_frame, "rubbish"}); return true;
    case 3: x.private_bytes += 60 * mib; return false;
    default: return false;
    }
  }

  void kill_one() {
    std::vector<fake_host::worker*> xs;
    for (auto& [id, x] : host_->workers)
      if (x.alive)
        xs.push_back(&x);
    if (!xs.empty())
      host_->die(*xs[draw(xs.size())], SIGKILL);
  }

  ordering order_;
  producer_script kafka_; // outlives the publisher
  actor_stage stage_;
  std::mt19937_64 dice_;
  std::shared_ptr<fake_host> host_ = std::make_shared<fake_host>(stage_.sys);
  fake_consumer consumer_;
  std::map<int32_t, part> parts_;
  std::map<std::string, std::pair<uint64_t, uint64_t>> delivered_; ///< Results, dead letters.
  std::map<std::string, uint64_t> fetched_;
  size_t counted_ = 0;
  uint64_t epoch_ = 0;
  bool calm_ = false;
  std::shared_ptr<progress_source> progress_ = std::make_shared<progress_source>(
    [this](const messaging::topic_partition& where, const messaging::commit_point& x) {
      return store(where, x);
    });
  service_core core_;
  std::optional<source_loop> source_;
};

/// Each shard runs 20 seeds.
class WholeService : public ::testing::TestWithParam<uint64_t> {
protected:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
  void TearDown() override { spdlog::set_level(spdlog::level::info); }

  template <class F>
  void for_each_seed(F body) {
    for (uint64_t i = 0; i < 20; ++i) {
      const auto seed = GetParam() * 20 + i + 1;
      SCOPED_TRACE("seed " + std::to_string(seed));
      world x{seed};
      for (auto n = 0; n < 300; ++n)
        x.act();
      body(x);
      if (HasFailure())
        return;
    }
  }
};

TEST_P(WholeService, FinishesEveryRecordWhateverHappens) {
  for_each_seed([](world& x) { x.settle(); });
}

TEST_P(WholeService, HandsEveryUnfinishedRecordBackWhenItStops) {
  for_each_seed([](world& x) { x.stop(); });
}

INSTANTIATE_TEST_SUITE_P(Seeds, WholeService, ::testing::Range<uint64_t>(0, 10));

} // namespace

} // namespace ziyu::actors
