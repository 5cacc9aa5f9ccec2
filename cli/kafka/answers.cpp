#include "cli/kafka/answers.hpp"

#include "cli/common/json.hpp"
#include "messaging/dead_letter.hpp"
#include "messaging/result.hpp"

namespace ziyu::cli {

namespace {

/// The record of the answered job; empty for a record that is not an answer.
std::optional<messaging::record_id> job_of(const messaging::record& x, bool dead) {
  if (dead) {
    if (messaging::read_mark(x))
      return {};
    auto letter = messaging::read_dead_letter(x);
    return letter.source.topic.empty() ? std::nullopt : std::optional{std::move(letter.source)};
  }
  auto result = messaging::result_from_json(value_of(x));
  return result ? std::optional{std::move(result->source)} : std::nullopt;
}

} // namespace

expected<answer_reader> answer_reader::open(const configs::config& x,
                                            std::chrono::milliseconds limit) {
  answer_reader result;
  for (auto [topic, to] : {std::pair{&x.topics.results, &result.results_},
                           std::pair{&x.topics.dead_letters, &result.dead_letters_}}) {
    auto reader = messaging::read_topic(configs::consumer_properties(x), *topic,
                                        messaging::topic_reader::start::end, limit);
    if (!reader)
      return tl::unexpected(reader.error());
    *to = std::move(*reader);
  }
  return result;
}

expected<std::optional<answer_reader::answer>> answer_reader::next(
  std::chrono::milliseconds limit) {
  // There are many results and few dead letters: dead letters are only polled.
  for (const auto dead : {true, false}) {
    auto& from = dead ? *dead_letters_ : *results_;
    auto record = from.next(dead ? std::chrono::milliseconds{0} : limit);
    if (!record)
      return tl::unexpected(record.error());
    if (!*record)
      continue;
    if (const auto job = job_of(**record, dead); job && open_.erase(*job) > 0)
      return std::optional{answer{std::move(**record), dead}};
  }
  return std::optional<answer>{};
}

} // namespace ziyu::cli
