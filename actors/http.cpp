#include "actors/http.hpp"

#include "base/text.hpp"

#include <caf/actor_system.hpp>
#include <caf/scoped_actor.hpp>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>

namespace ziyu::actors {

using nlohmann::json;

namespace {

/// An actor that does not answer within this is as good as dead.
constexpr auto answer_limit = std::chrono::seconds{2};

constexpr size_t max_threads = 4;

template <class Status, class Actor>
expected<Status> ask(caf::actor_system& system, const Actor& whom, const char* name) {
  caf::scoped_actor self{system};
  expected<Status> result = fail(errc::timeout, std::string{name} + " does not answer");
  self->request(whom, answer_limit, atom::status{})
    .receive([&](Status& x) { result = std::move(x); }, [](const caf::error&) {});
  return result;
}

void answer(httplib::Response& res, int status, const json& body) {
  res.status = status;
  res.set_content(body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n",
                  "application/json; charset=utf-8");
}

/// null until it is loaded.
json model_json(const http_settings& x) {
  const auto model = x.model ? x.model() : messaging::model_identity{};
  if (model.name.empty())
    return nullptr;
  return {{"name", model.name},
          {"version", model.version},
          {"sha256", model.sha256},
          {"precision", model.precision}};
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

/// Why a request may not change anything, or empty: only who is on this machine may, and
/// neither a proxy nor a page in a browser that happens to run here.
std::string why_forbidden(const httplib::Request& req) {
  const auto& from = req.remote_addr;
  if (!from.starts_with("127.") && from != "::1" && !from.starts_with("::ffff:127."))
    return "the breaker is switched from this machine only, not from " + from;
  for (const auto* name : {"Origin", "Forwarded", "X-Forwarded-For"})
    if (req.has_header(name))
      return std::string{"requests with the header "} + name + " may not switch the breaker";
  return {};
}

/// What `POST /breaker` asks for: `{"mode": "auto"|"open"|"disable", "reason": text?}`.
expected<breaker_command> parse_command(const std::string& text) {
  const auto body = json::parse(text, nullptr, false);
  breaker_command result;
  if (!body.is_object() || !body.contains("mode") || !body["mode"].is_string()
      || !from_string(body["mode"].get<std::string>(), result.mode))
    return fail(errc::invalid_usage,
                R"(expected {"mode": "auto"}, or "open" or "disable", and if you like a "reason")");
  if (const auto why = body.find("reason"); why != body.end() && !why->is_null()) {
    if (!why->is_string())
      return fail(errc::invalid_usage, "reason must be a text");
    result.why = shorten(to_utf8(why->get<std::string>()), 200);
  }
  return result;
}

void refuse(httplib::Response& res, const error& reason) {
  answer(res, 503, {{"status", "error"}, {"error", reason.describe()}});
}

/// Whether a slot takes jobs, or will as soon as its standby is there.
bool has_workers(const dispatcher_status& d, const supervisor_status& v) {
  return d.slots_up + v.slots_held > 0;
}

} // namespace

expected<std::unique_ptr<http_server>> http_server::start(caf::actor_system& system,
                                                          http_settings settings) {
  std::unique_ptr<http_server> x{new http_server};
  x->settings_ = std::move(settings);
  x->server_ = std::make_unique<httplib::Server>();
  x->server_->new_task_queue = [] { return new httplib::ThreadPool(max_threads); };
  x->server_->set_read_timeout(5);
  x->server_->set_write_timeout(5);
  x->server_->set_keep_alive_timeout(2);
  // Without SO_REUSEPORT, which the library would set: a port that is taken must fail.
  x->server_->set_socket_options([](auto socket) {
    int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  x->add_routes(system);
  const auto& host = x->settings_.host;
  auto port = static_cast<int>(x->settings_.port);
  errno = 0;
  if (port == 0)
    port = x->server_->bind_to_any_port(host.c_str());
  else if (!x->server_->bind_to_port(host.c_str(), port))
    port = -1;
  if (port <= 0)
    return fail(errc::io, "cannot listen on http.host:port " + host + ":"
                            + std::to_string(x->settings_.port) + ": "
                            + (errno != 0 ? std::strerror(errno) : "address in use or unknown")
                            + "; choose another with --set http.port=N (0: any free one)");
  x->port_ = static_cast<uint16_t>(port);
  x->thread_ = std::thread{[server = x->server_.get()] { server->listen_after_bind(); }};
  return x;
}

http_server::~http_server() { stop(); }

void http_server::stop() {
  if (!thread_.joinable())
    return;
  // stop() before the thread listens would be lost.
  while (!server_->is_running())
    std::this_thread::yield();
  server_->stop();
  thread_.join();
}

void http_server::add_routes(caf::actor_system& system) {
  using request = const httplib::Request&;
  using response = httplib::Response&;
  auto& s = *server_;
  // Alive: the actors answer.
  s.Get("/livez", [&system, this](request, response res) {
    auto d = ask<dispatcher_status>(system, settings_.dispatcher, "the dispatcher");
    auto v = ask<supervisor_status>(system, settings_.supervisor, "the supervisor");
    if (!d || !v)
      return refuse(res, !d ? d.error() : v.error());
    answer(res, 200, {{"status", "ok"}});
  });
  // Ready: a job submitted now would be worked on.
  s.Get("/readyz", [&system, this](request, response res) {
    auto d = ask<dispatcher_status>(system, settings_.dispatcher, "the dispatcher");
    auto v = ask<supervisor_status>(system, settings_.supervisor, "the supervisor");
    if (!d || !v)
      return refuse(res, !d ? d.error() : v.error());
    auto reasons = json::array();
    if (!v->model_ready)
      reasons.push_back("the model is not loaded yet");
    if (!has_workers(*d, *v))
      reasons.push_back("no worker is up");
    if (!d->consuming)
      reasons.push_back("kafka: " + d->trouble);
    if (!v->trouble.empty())
      reasons.push_back(v->trouble);
    if (d->breaker == supervision::breaker_state::open)
      reasons.push_back("the breaker is open: " + d->breaker_reason);
    if (d->breaker == supervision::breaker_state::forced_open)
      reasons.push_back("the breaker is held open: " + d->breaker_reason);
    if (d->maintenance)
      reasons.push_back("drained for maintenance; SIGUSR2 resumes");
    else if (d->draining)
      reasons.push_back("shutting down");
    answer(res, reasons.empty() ? 200 : 503, {{"ready", reasons.empty()}, {"reasons", reasons}});
  });
  s.Get("/health", [&system, this](request, response res) {
    auto d = ask<dispatcher_status>(system, settings_.dispatcher, "the dispatcher");
    auto v = ask<supervisor_status>(system, settings_.supervisor, "the supervisor");
    if (!d || !v)
      return refuse(res, !d ? d.error() : v.error());
    const auto share = v->container_limit == 0 ? 0.
                                               : static_cast<double>(v->container_used)
                                                   / static_cast<double>(v->container_limit);
    const auto exceeded = share >= settings_.threshold;
    // Trouble that restarting this service would not mend is no ill health: Ziyu heals
    // its workers itself, and waits for its broker.
    const auto status = exceeded ? "degraded" : has_workers(*d, *v) ? "healthy" : "starting";
    answer(res, 200,
           {{"status", status},
            {"model", model_json(settings_)},
            {"uptime_s", uptime_s(settings_)},
            {"memory_percent", share * 100},
            {"threshold_exceeded", exceeded},
            {"memory_used_bytes", v->container_used},
            {"memory_limit_bytes", v->container_limit},
            {"memory_source", v->container_source},
            {"breaker", to_string(d->breaker)},
            {"breaker_reason", d->breaker_reason},
            {"breaker_mode", to_string(d->breaker_mode)},
            {"memory_pressure", to_string(d->pressure)},
            {"maintenance", d->maintenance},
            {"consuming", d->consuming},
            {"slots", v->slots},
            {"slots_up", d->slots_up},
            {"slots_held", v->slots_held},
            {"standbys", v->standbys},
            {"replacements", v->replacements},
            {"queued", d->queued},
            {"running", d->running},
            {"results", d->results},
            {"dead_letters", d->dead_letters}});
  });
  s.Get("/workers", [&system, this](request, response res) {
    auto v = ask<supervisor_status>(system, settings_.supervisor, "the supervisor");
    if (!v)
      return refuse(res, v.error());
    res.set_content(v->workers + "\n", "application/json; charset=utf-8");
  });
  s.Get("/ledger", [&system, this](request, response res) {
    auto d = ask<dispatcher_status>(system, settings_.dispatcher, "the dispatcher");
    if (!d)
      return refuse(res, d.error());
    res.set_content(d->ledger + "\n", "application/json; charset=utf-8");
  });
  s.Get("/breaker", [&system, this](request, response res) {
    auto d = ask<dispatcher_status>(system, settings_.dispatcher, "the dispatcher");
    if (!d)
      return refuse(res, d.error());
    answer(res, 200, breaker_json(*d));
  });
  s.Post("/breaker", [&system, this](request req, response res) {
    if (auto why = why_forbidden(req); !why.empty())
      return answer(res, 403, {{"status", "error"}, {"error", why}});
    auto command = parse_command(req.body);
    if (!command)
      return answer(res, 400, {{"status", "error"}, {"error", command.error().message}});
    caf::scoped_actor self{system};
    expected<dispatcher_status> d = fail(errc::timeout, "the dispatcher does not answer");
    self->request(settings_.dispatcher, answer_limit, *command)
      .receive([&](dispatcher_status& x) { d = std::move(x); }, [](const caf::error&) {});
    if (!d)
      return refuse(res, d.error());
    answer(res, 200, breaker_json(*d));
  });
  s.Get("/metrics", [this](request, response res) {
    res.set_content(settings_.stats->text(), "text/plain; version=0.0.4; charset=utf-8");
  });
  s.set_error_handler([](request req, response res) {
    if (res.body.empty())
      answer(res, res.status,
             {{"error", "there is no " + req.path},
              {"paths",
               {"/health", "/livez", "/readyz", "/metrics", "/workers", "/ledger", "/breaker"}}});
  });
}

} // namespace ziyu::actors
