#include "actors/http.hpp"
#include "actors/status_json.hpp"
#include "base/file.hpp"

#include "tests/support/fake_actors.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scoped_actor.hpp>
#include <gtest/gtest.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include <future>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;
using nlohmann::json;

struct one_thread : caf::actor_system_config {
  one_thread() { set("scheduler.max-threads", size_t{1}); }
};

class HttpServer : public ::testing::Test {
protected:
  HttpServer() {
    auto& d = to_dispatcher->status;
    d.ledger.total.fetched = 7;
    d.consuming = true;
    d.slots_up = 2;
    d.results = 5;
    d.dead_letters = 2;
    d.queued = 3;
    d.lag_records = 12;
    d.oldest_unfinished_us = 1'500'000;
    d.running = 1;
    auto& s = to_supervisor->status;
    s.workers.resize(1);
    s.workers[0].evidence.pid = 1;
    s.model_ready = true;
    s.slots = 2;
    s.slots_up = 2;
    s.standbys = 1;
    s.replacements = 4;
    s.container_used = 300;
    s.container_limit = 1000;
    s.container_source = "cgroup2";
  }

  ~HttpServer() override {
    server.reset();
    caf::scoped_actor self{sys};
    self->send_exit(dispatcher_, caf::exit_reason::kill);
    self->send_exit(supervisor_, caf::exit_reason::kill);
    self->wait_for(dispatcher_, supervisor_);
    // Promises hold on to their actors.
    to_dispatcher->unanswered.clear();
    to_supervisor->unanswered.clear();
  }

  http_settings settings() {
    if (!dispatcher_) {
      dispatcher_ = sys.spawn(fake_dispatcher, to_dispatcher);
      supervisor_ = sys.spawn(fake_supervisor, to_supervisor);
    }
    http_settings x;
    x.dispatcher = dispatcher_;
    x.supervisor = supervisor_;
    x.stats = stats;
    return x;
  }

  /// After the fakes' answers have been set.
  void start() {
    auto x = http_server::start(sys, settings());
    ASSERT_TRUE(x) << x.error().describe();
    server = std::move(*x);
  }

  struct reply {
    int status = 0;
    std::string text, type;
    json body;
  };

  reply get(const std::string& path) {
    httplib::Client client{"127.0.0.1", server->port()};
    client.set_read_timeout(30);
    auto x = client.Get(path);
    if (!x) {
      ADD_FAILURE() << "no answer to " << path;
      return {};
    }
    return {x->status, x->body, x->get_header_value("Content-Type"),
            json::parse(x->body, nullptr, false)};
  }

  /// The answers to requests that are made at the same time, by path.
  std::map<std::string, reply> get_all(const std::vector<std::string>& paths) {
    std::map<std::string, std::future<reply>> asked;
    for (const auto& path : paths)
      asked[path] = std::async(std::launch::async, [this, path] { return get(path); });
    std::map<std::string, reply> answers;
    for (auto& [path, answer] : asked)
      answers[path] = answer.get();
    return answers;
  }

  std::vector<std::string> reasons() { return get("/readyz").body["reasons"]; }

  std::shared_ptr<dispatcher_log> to_dispatcher = std::make_shared<dispatcher_log>();
  std::shared_ptr<supervisor_log> to_supervisor = std::make_shared<supervisor_log>();
  std::shared_ptr<metrics> stats = std::make_shared<metrics>();
  one_thread cfg;
  caf::actor_system sys{cfg};
  std::unique_ptr<http_server> server;

private:
  dispatcher_actor dispatcher_;
  supervisor_actor supervisor_;
};

} // namespace

TEST_F(HttpServer, AnswersAllSixPaths) {
  stats->fetched.Increment(7);
  start();
  auto x = get("/livez");
  EXPECT_EQ(x.status, 200);
  EXPECT_EQ(x.body["status"], "ok");
  EXPECT_EQ(x.type, "application/json; charset=utf-8");
  x = get("/readyz");
  EXPECT_EQ(x.status, 200) << x.text;
  EXPECT_EQ(x.body["ready"], true);
  EXPECT_TRUE(x.body["reasons"].empty());
  x = get("/workers");
  EXPECT_EQ(x.status, 200);
  EXPECT_EQ(x.body, workers_json(to_supervisor->status));
  EXPECT_EQ(x.body["workers"][0]["pid"], 1);
  EXPECT_EQ(x.body["replacements"], 4);
  x = get("/ledger");
  EXPECT_EQ(x.status, 200);
  EXPECT_EQ(x.body, to_json(to_dispatcher->status.ledger));
  EXPECT_EQ(x.body["total"]["fetched"], 7);
  x = get("/metrics");
  EXPECT_EQ(x.status, 200);
  EXPECT_EQ(x.type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(x.text.find("ziyu_jobs_fetched_total 7"), std::string::npos) << x.text;
  x = get("/health");
  EXPECT_EQ(x.status, 200);
  EXPECT_EQ(x.body["status"], "healthy");
  EXPECT_DOUBLE_EQ(x.body["memory_percent"].get<double>(), 30);
  EXPECT_EQ(x.body["threshold_exceeded"], false);
  EXPECT_EQ(x.body["breaker"], "closed");
  EXPECT_EQ(x.body["memory_source"], "cgroup2");
  EXPECT_EQ(x.body["slots"], 2);
  EXPECT_EQ(x.body["standbys"], 1);
  EXPECT_EQ(x.body["replacements"], 4);
  EXPECT_EQ(x.body["waiting"], 3);
  EXPECT_EQ(x.body["reasons"], json::array());
  EXPECT_EQ(x.body["lag_records"], 12);
  EXPECT_DOUBLE_EQ(x.body["oldest_unfinished_s"].get<double>(), 1.5);
  EXPECT_EQ(x.body["results"], 5);
  EXPECT_EQ(x.body["dead_letters"], 2);
}

TEST_F(HttpServer, TellsTheModelOnceThereIsOneAndForHowLongItHasServed) {
  auto x = settings();
  auto& versions = to_supervisor->status.versions;
  versions.resize(1);
  versions[0].phase = supervision::served_version::phase::serving;
  x.started = std::chrono::steady_clock::now() - std::chrono::seconds{725};
  auto started = http_server::start(sys, x);
  ASSERT_TRUE(started) << started.error().describe();
  server = std::move(*started);
  auto health = get("/health").body;
  EXPECT_TRUE(health.at("model").is_null());
  EXPECT_GE(health.at("uptime_s").get<int>(), 725);
  versions[0].model = events::model_version{"digits", "1", "abc", "fp32"};
  health = get("/health").body;
  EXPECT_EQ(health.at("model"), json::parse(R"({"name": "digits", "version": "1",
                                               "sha256": "abc", "precision": "fp32",
                                               "decode": "exact"})"));
}

TEST_F(HttpServer, ListsItsPathsWhenAskedForAnother) {
  start();
  const auto x = get("/nothing");
  EXPECT_EQ(x.status, 404);
  EXPECT_EQ(x.body["error"], "there is no /nothing");
  EXPECT_EQ(x.body["paths"], (json{"/health", "/livez", "/readyz", "/metrics", "/workers",
                                   "/models", "/ledger", "/breaker"}));
}

TEST_F(HttpServer, ShowsAndSwitchesTheBreakerForWhoIsOnThisMachine) {
  to_dispatcher->status.breaker_reason = "operator: new disks";
  start();
  auto x = get("/breaker");
  EXPECT_EQ(x.status, 200);
  EXPECT_EQ(x.body["mode"], "auto");
  EXPECT_EQ(x.body["state"], "closed");
  httplib::Client client{"127.0.0.1", server->port()};
  auto said = client.Post("/breaker", R"({"mode": "open", "reason": "new disks"})",
                          "application/json");
  ASSERT_TRUE(said);
  EXPECT_EQ(said->status, 200);
  EXPECT_EQ(json::parse(said->body)["mode"], "open");
  ASSERT_EQ(to_dispatcher->commands.size(), 1u);
  EXPECT_EQ(to_dispatcher->commands[0].mode, supervision::breaker_mode::open);
  EXPECT_EQ(to_dispatcher->commands[0].why, "new disks");
}

TEST_F(HttpServer, RefusesToSwitchTheBreakerForOthersAndForNonsense) {
  start();
  httplib::Client client{"127.0.0.1", server->port()};
  for (const auto* name : {"Origin", "Forwarded", "X-Forwarded-For"}) {
    auto said = client.Post("/breaker", httplib::Headers{{name, "10.0.0.7"}}, R"({"mode": "open"})",
                            "application/json");
    ASSERT_TRUE(said);
    EXPECT_EQ(said->status, 403) << name;
    EXPECT_NE(said->body.find(name), std::string::npos) << said->body;
  }
  for (const auto* body : {"", "open", "{}", R"({"mode": "closed"})", R"({"mode": 1})",
                           R"({"mode": "open", "reason": 7})"}) {
    auto said = client.Post("/breaker", body, "application/json");
    ASSERT_TRUE(said);
    EXPECT_EQ(said->status, 400) << body;
    EXPECT_FALSE(json::parse(said->body)["error"].get<std::string>().empty());
  }
  EXPECT_TRUE(to_dispatcher->commands.empty());
}

TEST_F(HttpServer, ListsModelVersionsAndRollsOutANeighbourOfTheConfiguredOne) {
  temp_dir models{"ziyu-models"};
  for (const auto* version : {"1", "2"})
    std::filesystem::create_directories(models.path() / "digits" / version);
  auto& s = to_supervisor->status;
  s.versions.push_back({(models.path() / "digits/1").string(),
                        supervision::served_version::phase::serving,
                        events::model_version{"digits", "1", "abc", "fp32"},
                        {}});
  auto where = settings();
  where.model_folder = models.path() / "digits/1";
  auto x = http_server::start(sys, std::move(where));
  ASSERT_TRUE(x) << x.error().describe();
  server = std::move(*x);
  const auto shown = get("/models");
  EXPECT_EQ(shown.status, 200);
  EXPECT_EQ(shown.body["models"][0]["state"], "serving");
  EXPECT_EQ(shown.body["models"][0]["version"], "1");
  EXPECT_TRUE(shown.body["rollout"].is_null());
  httplib::Client client{"127.0.0.1", server->port()};
  const auto post = [&](const char* body, const httplib::Headers& headers = {}) {
    auto said = client.Post("/models", headers, body, "application/json");
    return said ? said->status : 0;
  };
  EXPECT_EQ(post(R"({"version": "2"})"), 202);
  EXPECT_EQ(post(R"({"version": "3"})"), 400);
  EXPECT_EQ(post(R"({"version": "../digits/2"})"), 400);
  EXPECT_EQ(post("2"), 400);
  EXPECT_EQ(post(R"({"version": "2"})", {{"Origin", "http://localhost"}}), 403);
}

TEST_F(HttpServer, SaysThatItIsDrainedForMaintenanceOrHeldOpen) {
  to_dispatcher->status.draining = to_dispatcher->status.maintenance = true;
  to_dispatcher->status.breaker = supervision::breaker_state::forced_open;
  to_dispatcher->status.breaker_reason = "operator: new disks";
  start();
  EXPECT_EQ(get("/readyz").status, 503);
  EXPECT_EQ(reasons(), (std::vector<std::string>{"the breaker is forced_open: operator: new disks",
                                                 "drained for maintenance; SIGUSR2 resumes"}));
}

TEST_F(HttpServer, SurvivesAPathThatIsNoText) {
  start();
  EXPECT_EQ(get("/%ff%fe").status, 404);
  EXPECT_EQ(get("/livez").status, 200);
}

TEST_F(HttpServer, SaysThatMemoryIsAboveTheThreshold) {
  to_supervisor->status.container_used = 850;
  start();
  const auto x = get("/health");
  EXPECT_EQ(x.status, 200) << "a restart would not help";
  EXPECT_EQ(x.body["status"], "degraded");
  EXPECT_EQ(x.body["threshold_exceeded"], true);
}

TEST_F(HttpServer, SaysThatNoWorkerIsUpYet) {
  to_dispatcher->status.slots_up = 0;
  to_supervisor->status.container_limit = 0;
  start();
  const auto x = get("/health");
  EXPECT_EQ(x.body["status"], "starting");
  EXPECT_DOUBLE_EQ(x.body["memory_percent"].get<double>(), 0);
}

TEST_F(HttpServer, IsDegradedWithTheReasonWhereverNoJobCanBeWorkedOn) {
  auto& d = to_dispatcher->status;
  start();
  ASSERT_EQ(get("/health").body["status"], "healthy");
  d.consuming = false;
  d.trouble = "Subscribed topic not available: image.jobs";
  auto x = get("/health");
  EXPECT_EQ(x.status, 200) << "a restart would not help";
  EXPECT_EQ(x.body["status"], "degraded");
  EXPECT_EQ(x.body["reasons"], json{"kafka: Subscribed topic not available: image.jobs"});
  EXPECT_EQ(x.body["kafka"], "Subscribed topic not available: image.jobs");
  const auto page = get("/metrics").text;
  EXPECT_NE(page.find("ziyu_ready 0\n"), std::string::npos);
  EXPECT_NE(page.find("ziyu_alive 1\n"), std::string::npos) << "it answers nevertheless";
  d.consuming = true;
  d.breaker = supervision::breaker_state::forced_open;
  d.breaker_reason = "operator: new disks";
  x = get("/health");
  EXPECT_EQ(x.body["status"], "degraded");
  EXPECT_EQ(x.body["reasons"], json{"the breaker is forced_open: operator: new disks"});
  d.breaker = supervision::breaker_state::disabled;
  d.breaker_trouble = "no delivery report for 10 s";
  x = get("/health");
  EXPECT_EQ(x.body["status"], "degraded");
  EXPECT_EQ(
    x.body["reasons"],
    json{"the breaker is disabled, although it has a reason to open: no delivery report for 10 s"});
  EXPECT_EQ(get("/readyz").status, 200) << "jobs are worked on";
  EXPECT_NE(get("/metrics").text.find("ziyu_ready 1\n"), std::string::npos);
}

TEST_F(HttpServer, IsReadyWhileItsSlotsWaitForStandbys) {
  to_dispatcher->status.slots_up = 0;
  to_supervisor->status.slots_held = 2;
  start();
  EXPECT_EQ(get("/readyz").status, 200) << "a job will be done";
  const auto x = get("/health");
  EXPECT_EQ(x.body["status"], "healthy");
  EXPECT_EQ(x.body["slots_held"], 2);
}

TEST_F(HttpServer, GivesEachReasonWhyItIsNotReady) {
  to_supervisor->status.model_ready = false;
  to_supervisor->status.trouble = "too many workers died recently";
  to_dispatcher->status.slots_up = 0;
  to_dispatcher->status.consuming = false;
  to_dispatcher->status.trouble = "all brokers are down";
  to_dispatcher->status.breaker = supervision::breaker_state::open;
  to_dispatcher->status.breaker_reason = "memory: 91 %";
  to_dispatcher->status.draining = true;
  start();
  EXPECT_EQ(get("/readyz").status, 503);
  EXPECT_EQ(reasons(), (std::vector<std::string>{
                         "the model is not loaded yet", "no worker is up",
                         "kafka: all brokers are down", "too many workers died recently",
                         "the breaker is open: memory: 91 %", "shutting down"}));
  EXPECT_EQ(get("/livez").status, 200) << "it lives nevertheless";
}

TEST_F(HttpServer, IsReadyWithAHalfOpenBreaker) {
  to_dispatcher->status.breaker = supervision::breaker_state::half_open;
  start();
  EXPECT_EQ(get("/readyz").status, 200);
}

TEST_F(HttpServer, AnswersWhenTheDispatcherHangs) {
  to_dispatcher->silent = true;
  start();
  for (const auto& [path, x] : get_all({"/livez", "/readyz", "/health", "/ledger"})) {
    EXPECT_EQ(x.status, 503) << path;
    EXPECT_EQ(x.body["status"], "error");
    EXPECT_EQ(x.body["error"], "timeout: the dispatcher does not answer");
  }
  EXPECT_EQ(get("/workers").status, 200);
  const auto page = get("/metrics");
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.text.find("ziyu_alive 0\n"), std::string::npos);
  EXPECT_NE(page.text.find("ziyu_ready 0\n"), std::string::npos);
}

TEST_F(HttpServer, AnswersWhenTheSupervisorHangs) {
  to_supervisor->silent = true;
  start();
  for (const auto& [path, x] : get_all({"/livez", "/readyz", "/health", "/workers"})) {
    EXPECT_EQ(x.status, 503) << path;
    EXPECT_EQ(x.body["error"], "timeout: the supervisor does not answer");
  }
  EXPECT_EQ(get("/ledger").status, 200);
}

TEST_F(HttpServer, RefusesAPortThatIsTakenAndSaysWhatToDo) {
  start();
  auto second = settings();
  second.port = server->port();
  auto x = http_server::start(sys, std::move(second));
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::io);
  EXPECT_NE(x.error().message.find(std::to_string(server->port())), std::string::npos);
  EXPECT_NE(x.error().message.find("--set http.port="), std::string::npos) << x.error().message;
  EXPECT_EQ(get("/livez").status, 200) << "the first one is not disturbed";
}

TEST_F(HttpServer, RefusesAnAddressThatIsNotOurs) {
  auto elsewhere = settings();
  elsewhere.host = "192.0.2.1"; // TEST-NET-1, RFC 5737
  auto x = http_server::start(sys, std::move(elsewhere));
  ASSERT_FALSE(x);
  EXPECT_NE(x.error().message.find("192.0.2.1"), std::string::npos);
}

TEST_F(HttpServer, StopsAtOnceAndTwice) {
  start();
  server->stop();
  server->stop();
  httplib::Client client{"127.0.0.1", server->port()};
  EXPECT_FALSE(client.Get("/livez"));
}

} // namespace ziyu::actors
