#include "actors/reporter.hpp"

#include "actors/log_line.hpp"

#include <caf/send.hpp>

namespace ziyu::actors {

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

void reporter::emit(spdlog::level::level_enum level, const char* type, nlohmann::json detail) {
  log_line(level, type, why_of(detail), detail, type);
  stats_->events.Add({{"type", type}}).Increment();
  messaging::event event{type, env_.wall_ms(), instance_, std::move(detail)};
  auto content = std::make_shared<messaging::outgoing>();
  content->topic = topic_;
  content->key = instance_;
  content->value = messaging::to_json_value(event).dump(-1, ' ', false,
                                                        nlohmann::json::error_handler_t::replace);
  std::lock_guard guard{mutex_};
  if (publisher_)
    caf::anon_send(publisher_, publication{publication_kind::event, std::move(content), {}, 0});
}

} // namespace ziyu::actors
