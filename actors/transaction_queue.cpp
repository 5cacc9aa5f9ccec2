#include "actors/transaction_queue.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace ziyu::actors {

void transaction_queue::push(publication x) {
  bytes_ += x.content->bytes();
  all_.push_back(std::move(x));
}

void transaction_queue::push_first(publication x) {
  bytes_ += x.content->bytes();
  all_.push_front(std::move(x));
}

void transaction_queue::put_back(std::vector<publication> xs) {
  for (auto i = xs.rbegin(); i != xs.rend(); ++i)
    push_first(std::move(*i));
}

/// In turn, so that a topic that fails does not keep the others from being tried.
std::string transaction_queue::next_topic() const {
  const auto other = std::find_if(all_.begin(), all_.end(), [this](const publication& x) {
    return x.content->topic != last_apart_;
  });
  return (other == all_.end() ? all_.front() : *other).content->topic;
}

std::vector<publication> transaction_queue::take(
  clock::time_point now, const std::function<bool(size_t, uint64_t)>& has_room) {
  std::vector<publication> result;
  if (all_.empty())
    return result;
  const auto apart = now < apart_until_;
  if (apart)
    last_apart_ = next_topic();
  uint64_t bytes = 0;
  std::deque<publication> rest;
  while (!all_.empty() && (result.empty() || has_room(result.size(), bytes))) {
    auto x = std::move(all_.front());
    all_.pop_front();
    if (apart && x.content->topic != last_apart_) {
      rest.push_back(std::move(x));
      continue;
    }
    bytes += x.content->bytes();
    result.push_back(std::move(x));
  }
  all_.insert(all_.begin(), std::make_move_iterator(rest.begin()),
              std::make_move_iterator(rest.end()));
  bytes_ -= bytes;
  return result;
}

std::vector<publication> transaction_queue::remove_if(
  const std::function<bool(const publication&)>& gone) {
  const auto first = std::stable_partition(all_.begin(), all_.end(),
                                           [&gone](const publication& x) { return !gone(x); });
  std::vector<publication> result{std::make_move_iterator(first),
                                  std::make_move_iterator(all_.end())};
  all_.erase(first, all_.end());
  for (const auto& x : result)
    bytes_ -= x.content->bytes();
  return result;
}

plan_request planned_batch::to_request() const {
  plan_request ask;
  for (const auto& x : records)
    ask.records.push_back({x.source, x.epoch});
  return ask;
}

void planned_batch::obey(transaction_plan x) {
  size_t i = 0;
  std::erase_if(records, [&](const publication&) { return !x.ours.at(i++); });
  plan = std::move(x);
}

messaging::transaction planned_batch::to_transaction(uint64_t id) const {
  messaging::transaction work;
  work.id = id;
  for (const auto& x : records)
    work.records.push_back(*x.content);
  work.offsets = plan.offsets;
  work.member = plan.member;
  return work;
}

bool planned_batch::is_all_of(const std::string& topic) const {
  return std::all_of(records.begin(), records.end(),
                     [&topic](const publication& x) { return x.content->topic == topic; });
}

uint64_t planned_batch::bytes() const {
  return std::accumulate(
    records.begin(), records.end(), uint64_t{0},
    [](uint64_t sum, const publication& x) { return sum + x.content->bytes(); });
}

messaging::offsets_committed planned_batch::committed(bool without_maps) const {
  auto result = plan.points;
  for (auto& item : result.items)
    item.without_map = without_maps;
  return result;
}

messaging::offsets_committed planned_batch::failed() const {
  auto result = plan.points;
  for (auto& item : result.items)
    item.failure = error{errc::kafka, "the transaction was not committed"};
  return result;
}

} // namespace ziyu::actors
