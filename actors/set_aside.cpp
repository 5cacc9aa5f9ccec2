#include "actors/set_aside.hpp"

namespace ziyu::actors {

namespace {

bool same(const publication& a, const publication& b) {
  return a.source == b.source && a.epoch == b.epoch;
}

} // namespace

const error* set_aside::trouble_of(const std::string& topic) const {
  const auto i = lanes_.find({topic, std::nullopt});
  return i == lanes_.end() ? nullptr : &i->second.reason;
}

void set_aside::take(publication x) {
  auto& to = lanes_.at({x.content->topic, std::nullopt});
  to.results = to.results || x.kind == publication_kind::result;
  to.waiting.push_back(std::move(x));
}

set_aside::lane& set_aside::lane_of(const publication& x, const error& why, bool whole_topic,
                                    clock::time_point now, bool& fresh) {
  const auto& topic = x.content->topic;
  auto [i,
        added] = lanes_.try_emplace({topic, whole_topic ? std::nullopt : std::optional{x.source}});
  auto& result = i->second;
  if (added) {
    result.topic = topic;
    result.whole_topic = whole_topic;
    result.since = now;
    result.next_try = clock::time_point::max();
  }
  result.reason = why;
  result.results = result.results || x.kind == publication_kind::result;
  fresh = added;
  return result;
}

bool set_aside::refuse(publication x, const error& why, bool whole_topic, clock::time_point now,
                       uint64_t random) {
  // A record that was tried as one kind may turn out to be the other.
  if (const auto i = lanes_.find(
        {x.content->topic, whole_topic ? std::optional{x.source} : std::nullopt});
      i != lanes_.end() && i->second.probe && same(*i->second.probe, x)) {
    i->second.probe.reset();
    i->second.next_try = now;
    if (whole_topic)
      lanes_.erase(i);
  }
  auto fresh = false;
  auto& to = lane_of(x, why, whole_topic, now, fresh);
  const auto was_probe = to.probe && same(*to.probe, x);
  // Records that were in flight when the first one was refused add no news.
  if (fresh || was_probe) {
    to.probe.reset();
    to.next_try = now + to.pause.next(random);
  }
  if (was_probe)
    to.waiting.push_front(std::move(x));
  else
    to.waiting.push_back(std::move(x));
  return fresh;
}

bool set_aside::suspect(const publication& x, const error& why, clock::time_point now) {
  auto fresh = false;
  auto& to = lane_of(x, why, true, now, fresh);
  if (fresh)
    to.probe = x;
  return fresh;
}

std::vector<publication> set_aside::due(clock::time_point now) {
  std::vector<publication> result;
  for (auto& [key, x] : lanes_) {
    if (x.probe || x.waiting.empty() || now < x.next_try)
      continue;
    x.probe = x.waiting.front();
    x.waiting.pop_front();
    result.push_back(*x.probe);
  }
  return result;
}

std::optional<set_aside::release> set_aside::accept(const publication& x) {
  if (lanes_.empty())
    return std::nullopt;
  // The record's own lane first: a record that was refused by itself says nothing about its topic's
  // other records.
  auto i = lanes_.find({x.content->topic, std::optional{x.source}});
  if (i == lanes_.end())
    i = lanes_.find({x.content->topic, std::nullopt});
  if (i == lanes_.end())
    return std::nullopt;
  auto& from = i->second;
  release result{from.reason, from.since, from.whole_topic, {}};
  for (auto& each : from.waiting)
    result.records.push_back(std::move(each));
  lanes_.erase(i);
  return result;
}

std::optional<std::pair<std::string, error>> set_aside::results_held(
  clock::time_point now, std::chrono::milliseconds limit) const {
  for (const auto& [key, x] : lanes_)
    if (x.whole_topic && x.results && (x.probe || !x.waiting.empty()) && now - x.since >= limit)
      return std::pair{x.topic, x.reason};
  return std::nullopt;
}

size_t set_aside::size() const {
  size_t result = 0;
  for (const auto& [key, x] : lanes_)
    result += x.waiting.size() + x.probe.has_value();
  return result;
}

events::publication_set_aside set_aside_event(const publication& x, const error& why,
                                              bool whole_topic) {
  return {.topic = x.content->topic,
          .kind = x.kind == publication_kind::result ? "result" : "dead_letter",
          .source = messaging::to_string(x.source),
          .whole_topic = whole_topic,
          .reason = why.message};
}

events::publication_resumed resumed_event(const publication& x, const set_aside::release& released,
                                          set_aside::clock::time_point now) {
  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now - released.since);
  return {.topic = x.content->topic,
          .whole_topic = released.whole_topic,
          .records = released.records.size() + 1,
          .waited_ms = waited.count(),
          .reason = released.reason.message};
}

} // namespace ziyu::actors
