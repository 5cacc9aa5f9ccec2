#include "actors/job_queue.hpp"

#include <algorithm>

namespace ziyu::actors {

namespace {

std::string lane_of(const messaging::record& x, ordering by) {
  if (by == ordering::unordered || (by == ordering::key && !x.key))
    return {};
  auto name = x.id.topic + "/" + std::to_string(x.id.partition) + "/" + std::to_string(x.epoch);
  return by == ordering::key ? name + "/" + *x.key : name;
}

} // namespace

std::string_view to_string(ordering x) noexcept {
  switch (x) {
  case ordering::unordered: return "unordered";
  case ordering::key: return "key";
  case ordering::partition: return "partition";
  }
  return "unknown";
}

bool from_string(std::string_view name, ordering& x) noexcept {
  for (const auto each : {ordering::unordered, ordering::key, ordering::partition})
    if (name == to_string(each)) {
      x = each;
      return true;
    }
  return false;
}

void job_queue::push(entry_ptr x) {
  x->lane = lane_of(*x->job.source, ordering_);
  if (!x->lane.empty())
    lanes_[x->lane].order.push_back(x);
  fresh_.push_back(std::move(x));
}

void job_queue::push_again(entry_ptr x) {
  x->not_before = {};
  retries_.push_back(std::move(x));
}

void job_queue::push_suspect(entry_ptr x, time_point not_before, time_point overdue) {
  x->not_before = not_before;
  x->overdue = overdue;
  suspects_.push_back(std::move(x));
}

/// Whether it is the first job of its lane whose attempts are not over.
bool job_queue::first_in_lane(const job_entry& x) const {
  if (x.lane.empty())
    return true;
  const auto& line = lanes_.at(x.lane);
  return line.decided < line.order.size() && line.order[line.decided].get() == &x;
}

/// Whether another one of its lane may start only when its attempts are over.
bool job_queue::is_waited_for(const job_entry& x) const {
  if (x.lane.empty())
    return false;
  const auto& line = lanes_.at(x.lane);
  return line.decided + 1 < line.order.size();
}

std::optional<std::pair<job_queue::queue*, job_queue::queue::iterator>> job_queue::next(
  time_point now, const std::function<bool(job_entry&)>& admit) {
  const auto first = [&](queue& from, bool overdue) {
    return std::find_if(from.begin(), from.end(), [&](const entry_ptr& x) {
      return x->not_before <= now && (!overdue || x->overdue <= now || is_waited_for(*x))
             && first_in_lane(*x) && (!x->is_suspect() || suspect_out_ == nullptr) && admit(*x);
    });
  };
  const std::pair<queue*, bool> order[] = {
    {&suspects_, true}, {&retries_, false}, {&fresh_, false}, {&suspects_, false}};
  for (const auto& [from, overdue] : order)
    if (const auto i = first(*from, overdue); i != from->end())
      return std::pair{from, i};
  return std::nullopt;
}

job_queue::entry_ptr job_queue::pop(time_point now, const std::function<bool(job_entry&)>& admit) {
  const auto found = next(now, admit);
  if (!found)
    return nullptr;
  auto x = std::move(*found->second);
  found->first->erase(found->second);
  if (x->is_suspect())
    suspect_out_ = x.get();
  return x;
}

job_queue::entry_ptr job_queue::find(time_point now, const std::function<bool(job_entry&)>& pick) {
  const auto found = next(now, pick);
  return found ? *found->second : nullptr;
}

void job_queue::came_back(const job_entry& x) {
  if (suspect_out_ == &x)
    suspect_out_ = nullptr;
}

void job_queue::decide(job_entry& x) {
  if (std::exchange(x.decided, true) || x.lane.empty())
    return;
  if (auto i = lanes_.find(x.lane); i != lanes_.end())
    ++i->second.decided;
}

bool job_queue::may_publish(const job_entry& x) const {
  const auto i = lanes_.find(x.lane);
  return i == lanes_.end() || i->second.order.empty() || i->second.order.front().get() == &x;
}

job_queue::entry_ptr job_queue::finish(const job_entry& x) {
  const auto i = lanes_.find(x.lane);
  if (i == lanes_.end())
    return nullptr;
  auto& line = i->second;
  const auto at = std::find_if(line.order.begin(), line.order.end(),
                               [&x](const entry_ptr& each) { return each.get() == &x; });
  if (at != line.order.end()) {
    line.decided -= x.decided;
    line.order.erase(at);
  }
  if (line.order.empty()) {
    lanes_.erase(i);
    return nullptr;
  }
  auto& front = line.order.front();
  return front->held ? front : nullptr;
}

std::vector<job_queue::entry_ptr> job_queue::remove_if(
  const std::function<bool(const job_entry&)>& pick) {
  std::vector<entry_ptr> removed;
  for (auto* from : {&retries_, &fresh_, &suspects_})
    std::erase_if(*from, [&](const entry_ptr& x) {
      if (!pick(*x))
        return false;
      removed.push_back(x);
      return true;
    });
  for (const auto& x : removed)
    finish(*x);
  return removed;
}

std::optional<int64_t> job_queue::oldest_us() const {
  return fresh_.empty() ? std::nullopt : std::optional{fresh_.front()->job.fetched_us};
}

job_queue::head_of_line job_queue::blocked() const {
  head_of_line result;
  for (const auto& x : fresh_)
    if (!first_in_lane(*x)) {
      ++result.blocked;
      if (result.oldest_us == 0 || x->job.fetched_us < result.oldest_us)
        result.oldest_us = x->job.fetched_us;
    }
  return result;
}

} // namespace ziyu::actors
