#include "actors/reporter.hpp"

#include "actors/log_line.hpp"

#include <caf/send.hpp>

namespace ziyu::actors {

namespace {

spdlog::level::level_enum log_level(events::severity x) {
  switch (x) {
  case events::severity::info: return spdlog::level::info;
  case events::severity::warning: return spdlog::level::warn;
  case events::severity::error: return spdlog::level::err;
  case events::severity::critical: return spdlog::level::critical;
  }
  return spdlog::level::critical;
}

} // namespace

reporter::reporter(environment& env, std::string instance, std::string topic,
                   std::shared_ptr<metrics> stats)
  : env_(env), instance_(std::move(instance)), topic_(std::move(topic)), stats_(std::move(stats)) {
  // nop
}

void reporter::connect(publisher_actor to) {
  std::lock_guard guard{mutex_};
  publisher_ = std::move(to);
}

void reporter::disconnect() {
  std::lock_guard guard{mutex_};
  publisher_ = publisher_actor{};
}

void reporter::emit(events::body what) {
  const events::event event{env_.wall_ms(), instance_, std::move(what)};
  const auto record = events::to_json(event);
  const auto type = events::type_of(event.body);
  const auto& detail = record.at("detail");
  log_line(log_level(events::level_of(event.body)), type, why_of(detail), detail, type);
  stats_->events.Add({{"type", std::string{type}}}).Increment();
  auto content = std::make_shared<messaging::outgoing>();
  content->topic = topic_;
  content->key = instance_;
  content->value = record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::lock_guard guard{mutex_};
  if (publisher_)
    caf::anon_send(publisher_,
                   publications{{{publication_kind::event, std::move(content), {}, 0}}});
}

} // namespace ziyu::actors
