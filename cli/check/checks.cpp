#include "cli/check/checks.hpp"

#include "actors/configured_settings.hpp"
#include "actors/service.hpp"
#include "cli/command.hpp"
#include "cli/common/capture.hpp"
#include "cli/common/checked_model.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/json.hpp"
#include "cli/common/service.hpp"
#include "cli/view/drawing.hpp"
#include "configs/job_memory.hpp"
#include "supervision/healing_policy.hpp"
#include "supervision/worker_session.hpp"

namespace ziyu::cli {

namespace {

/// The worker program gives its reason for refusing a model in its last line.
std::string last_line(std::string text) {
  while (text.ends_with('\n'))
    text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

} // namespace

tl::expected<configs::loaded, std::vector<error>> load_settings(const configuration_options& x) {
  auto loaded = configs::load(x.file, x.overrides);
  if (loaded)
    if (auto ok = actors::check_settings(loaded->values); !ok)
      return tl::unexpected<std::vector<error>>({ok.error()});
  return loaded;
}

std::vector<finding> check_topics(const configs::config& x,
                                  const messaging::cluster_metadata& cluster) {
  std::vector<finding> result;
  for (const auto& name :
       {x.topics.jobs, x.topics.results, x.topics.dead_letters, x.topics.events}) {
    const auto* topic = cluster.find(name);
    if (topic == nullptr || topic->partitions == 0)
      result.push_back({"topic " + name, verdict::failed,
                        "does not exist; `ziyu topics create` makes it", exit_failed});
    else
      result.push_back({"topic " + name, verdict::ok,
                        counted(static_cast<uint64_t>(topic->partitions), "partition")});
  }
  return result;
}

finding check_limits(const configs::config& x, const supervision::container_memory& container) {
  const auto workers = x.workers.slots + x.workers.standbys;
  const auto sum = static_cast<double>(workers) * static_cast<double>(x.memory.worker_budget_bytes);
  const auto limit = static_cast<double>(container.limit);
  auto detail = std::to_string(workers) + " workers × " + bytes_of(x.memory.worker_budget_bytes)
                + " budget = " + bytes_of(static_cast<uint64_t>(sum)) + " of "
                + bytes_of(container.limit) + " (" + container.source + ")";
  if (sum > limit)
    return {"memory", verdict::warning,
            detail
              + ": does not fit, intake stops (breaker.open_at) before workers reach their "
                "budgets; set fewer workers.slots or a smaller memory.worker_budget_bytes"};
  if (sum > limit * x.breaker.open_at)
    return {"memory", verdict::warning,
            detail + ": the breaker may open (breaker.open_at) before a worker is replaced"};
  return {"memory", verdict::ok, detail};
}

finding check_clients(const configs::config& x) {
  if (auto ok = messaging::check_clients(actors::client_properties_of(x)); !ok)
    return {"Kafka properties", verdict::failed, ok.error().message, exit_wrong_usage};
  return {"Kafka properties", verdict::ok, "librdkafka takes them"};
}

finding check_address(const configs::config& x) {
  constexpr auto patience = std::chrono::milliseconds{2'000};
  const auto address = x.http.host + ":" + std::to_string(x.http.port);
  const auto free = actors::check_address(x);
  if (free)
    return {"HTTP address", verdict::ok,
            x.http.port == 0 ? x.http.host + ", any free port" : address};
  if (free.error().code == errc::invalid_config)
    return {"HTTP address", verdict::failed, free.error().message, exit_wrong_usage};
  if (const auto url = service_address(x))
    if (const auto answer = ask_service(*url, "/livez", patience);
        answer && answer->body.contains("status"))
      return {"HTTP address", verdict::warning,
              address + " is in use by a running service of ziyu: a second one cannot start"};
  return {"HTTP address", verdict::failed, free.error().message, exit_failed};
}

namespace {

/// The common properties and those of one client that its connections depend on.
configs::properties connection_of(const configs::config& x, const configs::properties& own) {
  auto result = configs::common_properties(x);
  for (const auto& [name, value] : own)
    for (const auto* prefix : {"security.", "sasl.", "ssl.", "enable.sasl.", "enable.ssl.",
                               "https.", "broker.address.", "client.dns."})
      if (name.starts_with(prefix))
        result[name] = value;
  return result;
}

finding brokers_of(const char* what, const expected<messaging::cluster_metadata>& cluster) {
  if (!cluster)
    return {what, verdict::failed, cluster.error().message, exit_code_for(cluster.error())};
  std::string brokers;
  for (const auto& name : cluster->brokers)
    brokers += (brokers.empty() ? "" : ", ") + name;
  return {what, verdict::ok, brokers};
}

} // namespace

std::vector<finding> check_broker(const configs::config& x, std::chrono::milliseconds limit) {
  const auto consumer = connection_of(x, x.kafka.consumer),
             producer = connection_of(x, x.kafka.producer);
  auto cluster = messaging::read_metadata(consumer, limit);
  std::vector<finding> result{
    brokers_of(consumer == producer ? "broker" : "broker, consumer", cluster)};
  if (consumer != producer) {
    const auto other = messaging::read_metadata(producer, limit);
    result.push_back(brokers_of("broker, producer", other));
    if (!cluster || !other)
      return result;
    // Each sees the topics that it has a right to.
    const auto* jobs = cluster->find(x.topics.jobs);
    auto topics = other->topics;
    std::erase_if(topics, [&x](const auto& each) { return each.name == x.topics.jobs; });
    if (jobs != nullptr)
      topics.push_back(*jobs);
    cluster->topics = std::move(topics);
  }
  if (!cluster)
    return result;
  for (auto& topic : check_topics(x, *cluster))
    result.push_back(std::move(topic));
  return result;
}

finding check_model(const configs::config& x) {
  const auto said = capture(check_model_command(actors::worker_executable(x), x.model.path.string(),
                                                x.batching.max_jobs, actors::to_model_options(x)),
                            std::chrono::milliseconds{x.workers.start_timeout_ms},
                            capture_errors::yes);
  if (!said)
    return {"model", verdict::failed, said.error().message, exit_failed};
  const auto line = last_line(said->output);
  if (said->how.signal != 0 || said->how.exit_code != 0)
    return {"model", verdict::failed, line.empty() ? said->how.describe() : line, exit_wrong_usage};
  const auto document = nlohmann::json::parse(line, nullptr, false);
  if (!document.is_object())
    return {"model", verdict::failed, "ziyu-worker did not answer in JSON: " + line, exit_failed};
  const auto text = [&document](const char* key) { return shown_in(document, key); };
  std::string warnings;
  for (const auto& warning : warnings_of_model(document))
    warnings += "; " + warning;
  return {"model", warnings.empty() ? verdict::ok : verdict::warning,
          text("name") + " version " + text("version") + ", "
            + text(document.contains("variant") ? "variant" : "precision") + ", " + text("classes")
            + " classes, sha256 " + text("sha256").substr(0, 12) + "…" + warnings};
}

/// The limits that the fork server of a service is started with (`actors::process_host`).
std::vector<std::string> worker_limits(const configs::config& x) {
  auto result = actors::to_model_options(x).arguments();
  result.insert(result.end(), {"--max-pixels", std::to_string(x.jobs.max_pixels)});
  if (!x.healing.enabled)
    return result;
  const auto budget = x.memory.worker_budget_bytes, limit = x.memory.worker_hard_limit_bytes;
  for (const auto& [name, bytes] :
       {std::pair{"--max-peak-bytes", configs::job_room(budget, limit)},
        std::pair{"--budget-bytes", budget}, std::pair{"--hard-limit-bytes", limit}}) {
    result.emplace_back(name);
    result.push_back(std::to_string(bytes));
  }
  return result;
}

finding check_worker(const configs::config& x) {
  supervision::worker_session::settings how;
  how.executable = actors::worker_executable(x);
  how.model = x.model.path;
  how.limits = worker_limits(x);
  how.start_limit = std::chrono::milliseconds{x.workers.start_timeout_ms};
  auto session = supervision::worker_session::start(std::move(how));
  if (!session)
    return {"worker", verdict::failed, session.error().message, exit_wrong_usage};
  if (auto ok = session->spawn(); !ok)
    return {"worker", verdict::failed, ok.error().message, exit_failed};
  const auto memory = session->memory();
  if (!memory)
    return {"worker", verdict::failed, memory.error().message, exit_failed};
  supervision::healing_policy::settings limits;
  limits.budget_bytes = x.memory.worker_budget_bytes;
  if (auto ok = supervision::healing_policy{limits}.check_baseline(memory->private_bytes); !ok)
    return {"worker", verdict::failed, ok.error().message, exit_wrong_usage};
  return {"worker", verdict::ok,
          "a fresh one has " + bytes_of(memory->private_bytes) + " of its budget of "
            + bytes_of(x.memory.worker_budget_bytes) + "; images of up to "
            + std::to_string(x.jobs.max_pixels) + " pixels fit below its hard limit of "
            + bytes_of(x.memory.worker_hard_limit_bytes)};
}

int exit_code_of(const std::vector<finding>& findings) {
  int result = exit_ok;
  for (const auto& x : findings) {
    if (x.how != verdict::failed)
      continue;
    // Exit code 2 before 4 before 1.
    const auto rank = [](int code) {
      return code == exit_wrong_usage ? 3 : code == exit_unavailable ? 2 : code != 0 ? 1 : 0;
    };
    if (rank(x.exit_code) > rank(result))
      result = x.exit_code;
  }
  return result;
}

} // namespace ziyu::cli
