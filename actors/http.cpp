#include "actors/http.hpp"

#include "actors/condition.hpp"
#include "actors/http_commands.hpp"
#include "actors/http_desk.hpp"
#include "actors/http_front.hpp"
#include "actors/status_json.hpp"
#include "base/text.hpp"

#include <caf/actor_system.hpp>
#include <caf/scoped_actor.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>

namespace ziyu::actors {

using nlohmann::json;

namespace {

/// An actor that does not answer within this counts as not working.
constexpr auto answer_limit = std::chrono::seconds{2};

constexpr const char* paths[] = {"/health",  "/livez",  "/readyz", "/metrics",
                                 "/workers", "/models", "/ledger", "/breaker"};

bool is_probe(const std::string& path) { return path == "/livez" || path == "/readyz"; }

http_reply answer(int status, const json& body) {
  return {status, body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"};
}

http_reply refuse(int status, const std::string& reason) {
  return answer(status, {{"status", "error"}, {"error", reason}});
}

http_reply refuse(const error& reason) { return refuse(503, reason.describe()); }

// -- what may be asked, decided before a body is read ---------------------------------------

std::optional<http_reply> look_at_head(const http_request& req) {
  if (std::find(std::begin(paths), std::end(paths), req.path) == std::end(paths))
    return answer(404,
                  {{"error", "there is no " + shorten(to_utf8(req.path), 200)}, {"paths", paths}});
  if (is_command(req))
    return refuse_command(req);
  if (req.method == "GET" || req.method == "HEAD")
    return std::nullopt;
  auto reply = refuse(405, shorten(req.method, 40) + " is not for " + req.path);
  reply.allow = methods_of(req.path);
  return reply;
}

// -- answers ----------------------------------------------------------------------------------

/// The actors' statuses at one moment, asked for at the same time.
struct moment {
  expected<dispatcher_status> d = fail(errc::timeout, "the dispatcher does not answer");
  expected<supervisor_status> v = fail(errc::timeout, "the supervisor does not answer");

  moment(caf::actor_system& system, const http_settings& x, bool want_d, bool want_v) {
    if (!want_d && !want_v)
      return;
    caf::scoped_actor self{system};
    auto from_d = [&](dispatcher_status& y) { d = std::move(y); };
    auto from_v = [&](supervisor_status& y) { v = std::move(y); };
    const auto ignore = [](const caf::error&) {};
    if (want_d && want_v) {
      auto first = self->request(x.dispatcher, answer_limit, atom::status{});
      auto second = self->request(x.supervisor, answer_limit, atom::status{});
      first.receive(from_d, ignore);
      second.receive(from_v, ignore);
    } else if (want_d) {
      self->request(x.dispatcher, answer_limit, atom::status{}).receive(from_d, ignore);
    } else {
      self->request(x.supervisor, answer_limit, atom::status{}).receive(from_v, ignore);
    }
  }

  bool complete() const { return d && v; }
  const error& missing() const { return !d ? d.error() : v.error(); }
};

/// null until it is loaded.
json model_json(const supervisor_status& x) {
  for (const auto& each : x.versions)
    if (each.model && each.phase == supervision::served_version::phase::serving)
      return events::to_json(*each.model);
  return nullptr;
}

int64_t uptime_s(const http_settings& x) {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now()
                                                          - x.started)
    .count();
}

json breaker_json(const dispatcher_status& x) {
  return {{"mode", to_string(x.breaker_mode)}, {"state", to_string(x.breaker)},
          {"reason", x.breaker_reason},        {"memory_pressure", to_string(x.pressure)},
          {"credit_jobs", x.credit_jobs},      {"credit_bytes", x.credit_bytes}};
}

json health_json(const http_settings& settings, const moment& now, const condition& x,
                 bool was_ready) {
  const auto& d = *now.d;
  const auto& v = *now.v;
  const auto share = memory_share(v);
  auto reasons = x.obstacles;
  reasons.insert(reasons.end(), x.concerns.begin(), x.concerns.end());
  return {{"status", x.status(was_ready)},
          {"reasons", reasons},
          {"ready", x.ready()},
          {"model", model_json(v)},
          {"uptime_s", uptime_s(settings)},
          {"memory_percent", share * 100},
          {"threshold_exceeded", share >= settings.threshold},
          {"memory_used_bytes", v.container_used},
          {"memory_limit_bytes", v.container_limit},
          {"memory_source", v.container_source},
          {"breaker", to_string(d.breaker)},
          {"breaker_reason", d.breaker_reason},
          {"breaker_mode", to_string(d.breaker_mode)},
          {"memory_pressure", to_string(d.pressure)},
          {"maintenance", d.maintenance},
          {"consuming", d.consuming},
          {"kafka", d.consuming ? "" : d.trouble},
          {"slots", v.slots},
          {"slots_up", d.slots_up},
          {"slots_held", v.slots_held},
          {"standbys", v.standbys},
          {"replacements", v.replacements},
          {"lag_records", d.lag_records ? json(*d.lag_records) : json()},
          {"oldest_unfinished_s", static_cast<double>(d.oldest_unfinished_us) / 1e6},
          {"waiting", d.queued},
          {"running", d.running},
          {"results", d.results},
          {"dead_letters", d.dead_letters}};
}

} // namespace

class http_server::parts {
public:
  parts(caf::actor_system& system, http_settings settings)
    : system_(system), settings_(std::move(settings)),
      probes_([this](const http_desk::batch& x) { serve_probes(x); }),
      others_([this](const http_desk::batch& x) { serve_others(x); }) {
    // nop
  }

  ~parts() { stop(); }

  expected<void> listen() {
    http_front::settings x;
    x.host = settings_.host;
    x.port = settings_.port;
    auto front = http_front::start(x, look_at_head, [this](uint64_t id, http_request request) {
      auto& to = is_probe(request.path) ? probes_ : others_;
      to.put(id, std::move(request));
    });
    if (!front)
      return tl::unexpected(front.error());
    std::lock_guard guard{mutex_};
    front_ = std::move(*front);
    listening_.notify_all();
    port_ = front_->port();
    return {};
  }

  uint16_t port() const { return port_; }

  void stop() {
    if (front_)
      front_->stop();
    probes_.stop();
    others_.stop();
  }

private:
  /// The first request may arrive before `listen` has set the front.
  void reply(uint64_t id, http_reply x) {
    std::unique_lock lock{mutex_};
    listening_.wait(lock, [this] { return front_ != nullptr; });
    front_->reply(id, std::move(x));
  }

  condition assess_now(const moment& now) {
    auto x = assess(*now.d, *now.v, settings_.threshold);
    if (x.ready())
      was_ready_ = true;
    return x;
  }

  void serve_probes(const http_desk::batch& requests) {
    const moment now{system_, settings_, true, true};
    const auto x = now.complete() ? assess_now(now) : condition{};
    for (const auto& [id, request] : requests) {
      if (!now.complete()) // Alive: the actors answer.
        reply(id, refuse(now.missing()));
      else if (request.path == "/livez")
        reply(id, answer(200, {{"status", "ok"}}));
      else // Ready: a job submitted now would be worked on.
        reply(id, answer(x.ready() ? 200 : 503, {{"ready", x.ready()}, {"reasons", x.obstacles}}));
    }
  }

  void serve_others(const http_desk::batch& requests) {
    auto any = [&requests](std::initializer_list<const char*> of) {
      return std::any_of(requests.begin(), requests.end(), [&](const auto& x) {
        return x.second.method != "POST"
               && std::find(of.begin(), of.end(), x.second.path) != of.end();
      });
    };
    const moment now{system_, settings_, any({"/health", "/ledger", "/breaker", "/metrics"}),
                     any({"/health", "/workers", "/models", "/metrics"})};
    for (const auto& [id, request] : requests)
      reply(id, request.method != "POST"     ? answer_to(request, now)
                : request.path == "/breaker" ? switch_breaker(request)
                                             : begin_rollout(request));
  }

  http_reply answer_to(const http_request& request, const moment& now) {
    const auto& path = request.path;
    if (path == "/metrics") {
      settings_.stats->read_process();
      settings_.stats->alive.Set(now.complete() ? 1 : 0);
      settings_.stats->ready.Set(now.complete() && assess_now(now).ready() ? 1 : 0);
      return {200, settings_.stats->text(), "text/plain; version=0.0.4; charset=utf-8"};
    }
    if (path == "/health")
      return now.complete() ? answer(200, health_json(settings_, now, assess_now(now), was_ready_))
                            : refuse(now.missing());
    if (path == "/workers")
      return now.v ? answer(200, workers_json(*now.v)) : refuse(now.v.error());
    if (path == "/models")
      return now.v ? answer(200, models_json(*now.v)) : refuse(now.v.error());
    if (path == "/ledger")
      return now.d ? answer(200, to_json(now.d->ledger)) : refuse(now.d.error());
    return now.d ? answer(200, breaker_json(*now.d)) : refuse(now.d.error());
  }

  http_reply switch_breaker(const http_request& request) {
    auto command = parse_breaker_command(request.body);
    if (!command)
      return refuse(400, command.error().message);
    caf::scoped_actor self{system_};
    expected<dispatcher_status> d = fail(errc::timeout, "the dispatcher does not answer");
    self->request(settings_.dispatcher, answer_limit, *command)
      .receive([&](dispatcher_status& x) { d = std::move(x); }, [](const caf::error&) {});
    return d ? answer(200, breaker_json(*d)) : refuse(d.error());
  }

  http_reply begin_rollout(const http_request& request) {
    auto order = parse_rollout(request.body, settings_.model_folder);
    if (!order)
      return refuse(400, order.error().message);
    caf::scoped_actor self{system_};
    expected<rollout_answer> begun = fail(errc::timeout, "the supervisor does not answer");
    self->request(settings_.supervisor, answer_limit, *order)
      .receive([&](rollout_answer& x) { begun = std::move(x); }, [](const caf::error&) {});
    if (!begun)
      return refuse(begun.error());
    if (begun->refused)
      return refuse(409, begun->refused->message);
    const moment now{system_, settings_, false, true};
    return now.v ? answer(202, models_json(*now.v)) : refuse(now.v.error());
  }

  caf::actor_system& system_;
  const http_settings settings_;
  std::atomic<bool> was_ready_{false};
  std::mutex mutex_; ///< Guards `front_` while it is made.
  std::condition_variable listening_;
  std::unique_ptr<http_front> front_;
  uint16_t port_ = 0;
  http_desk probes_, others_; ///< Their threads use all of the above.
};

http_server::http_server() = default;
http_server::~http_server() = default;

expected<std::unique_ptr<http_server>> http_server::start(caf::actor_system& system,
                                                          http_settings settings) {
  std::unique_ptr<http_server> x{new http_server};
  x->parts_ = std::make_unique<parts>(system, std::move(settings));
  if (auto ok = x->parts_->listen(); !ok)
    return tl::unexpected(ok.error());
  return x;
}

uint16_t http_server::port() const { return parts_->port(); }

void http_server::stop() { parts_->stop(); }

} // namespace ziyu::actors
