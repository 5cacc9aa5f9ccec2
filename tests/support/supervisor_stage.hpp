#pragma once

#include "actors/inference.hpp"
#include "actors/status_json.hpp"
#include "actors/supervisor.hpp"
#include "tests/support/actor_stage.hpp"
#include "tests/support/fake_actors.hpp"
#include "tests/support/fake_host.hpp"
#include "tests/support/fake_kafka.hpp"

#include <nlohmann/json.hpp>

namespace ziyu::test {

using namespace ziyu::actors;
using nlohmann::json;

constexpr uint64_t mib = 1u << 20;

/// The supervisor with real inference actors, over workers that are only messages.
class supervisor_fixture : public actor_fixture {
protected:
  supervisor_fixture() {
    settings.slots = 2;
    settings.standbys = 1;
    settings.start_timeout = 10s;
    settings.grace = 2s;
    settings.probe_interval = 1s;
    settings.judge.budget_bytes = 100 * mib;
    settings.healing.budget_bytes = 100 * mib;
    settings.healing.hard_limit_bytes = 200 * mib;
    settings.restart_intensity = 3;
    settings.restart_period = 60s;
    host->complain = [](const std::string& what) { ADD_FAILURE() << what; };
    settings.host = host;
    settings.report = report;
    settings.on_model = [this](const events::model_version& x) { models.push_back(x.name); };
    settings.on_fatal = [this](error x) { fatal.push_back(std::move(x)); };
  }

  ~supervisor_fixture() override {
    report->disconnect();
    caf::anon_send_exit(aut, caf::exit_reason::user_shutdown);
    host->release();
    run();
  }

  void start_with(std::function<inference_actor(uint32_t, supervisor_actor)> make) {
    report->connect(spawn(fake_publisher, published));
    if (!settings.dispatcher)
      settings.dispatcher = spawn(fake_dispatcher, to_dispatcher);
    aut = spawn(supervisor, settings, std::move(make));
    run();
  }

  void start() {
    settings.dispatcher = spawn(fake_dispatcher, to_dispatcher);
    inference_settings each;
    each.dispatcher = settings.dispatcher;
    auto make = [this, each](uint32_t slot, supervisor_actor boss) mutable {
      each.slot = slot;
      each.supervisor = std::move(boss);
      slots.push_back(sys.spawn(inference, each));
      return slots.back();
    };
    start_with(make);
  }

  /// What a slot reports of a job of this worker, which has kept so many live bytes.
  static job_done done_by(const fake_host::worker& x, uint64_t kept) {
    job_done news;
    news.worker = x.id;
    news.memory.delta_live = static_cast<int64_t>(kept);
    news.memory.said = fake_host::reading(x);
    news.memory.private_bytes = x.private_bytes;
    news.memory.jobs.resize(1);
    return news;
  }

  std::shared_ptr<std::optional<attempt_outcome>> request(uint32_t slot) {
    auto job = std::make_shared<const messaging::job>(
      *messaging::decode_job(make_record(next_offset++), messaging::job_limits{}));
    return ask<attempt_outcome>(slots.at(slot), attempt_request{{{job}}, 5s});
  }

  /// Runs jobs on a slot; each must succeed.
  void work(uint32_t slot, int jobs) {
    for (auto i = 0; i < jobs; ++i) {
      auto outcome = request(slot);
      ASSERT_TRUE(*outcome);
      ASSERT_FALSE((*outcome)->failure) << (*outcome)->failure->describe();
      advance(10ms);
    }
  }

  fake_host::worker& serving(uint32_t slot) {
    auto x = host->serving(slot);
    EXPECT_NE(x, nullptr) << "nobody serves slot " << slot;
    return *x;
  }

  supervisor_status status() { return **ask<supervisor_status>(aut, atom::status{}); }

  /// The details of all events of a type.
  std::vector<json> details(const std::string& type) const {
    std::vector<json> xs;
    for (const auto& x : *published) {
      auto event = json::parse(*x.content->value);
      if (event["type"] == type)
        xs.push_back(event["detail"]);
    }
    return xs;
  }

  size_t triggers(supervision::circuit_breaker::trigger which, bool raised) const {
    return static_cast<size_t>(
      std::count_if(to_dispatcher->breaker.begin(), to_dispatcher->breaker.end(),
                    [&](const auto& x) { return x.which == which && x.raised == raised; }));
  }

  std::shared_ptr<fake_host> host = std::make_shared<fake_host>(sys);
  std::shared_ptr<dispatcher_log> to_dispatcher = std::make_shared<dispatcher_log>();
  std::shared_ptr<std::vector<publication>> published =
    std::make_shared<std::vector<publication>>();
  supervisor_settings settings;
  std::vector<inference_actor> slots;
  std::vector<std::string> models;
  std::vector<error> fatal;
  int64_t next_offset = 0;
  supervisor_actor aut;
};

} // namespace ziyu::test
