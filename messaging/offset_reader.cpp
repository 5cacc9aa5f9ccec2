#include "messaging/offset_reader.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <utility>

namespace ziyu::messaging {

namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// How long one request waits for the coordinator: longer each time, up to the time that the
/// destructor may take.
constexpr milliseconds first_question{1'000}, longest_question{3'000};

/// The pause after an incomplete answer.
constexpr milliseconds first_pause{50}, longest_pause{1'000};

constexpr milliseconds told_each{10'000};

/// The pause between two requests for logs' beginnings: each transaction of a job producer leaves a
/// gap.
constexpr milliseconds starts_each{1'000};

/// Bound for waiting gaps of a partition; beyond it the last gap is extended.
constexpr size_t max_gaps = 1'000;

/// How long to wait for topic ids.
constexpr milliseconds ids_limit{2'000};

std::vector<topic_partition> partitions_of(const std::map<topic_partition, uint64_t>& epochs) {
  std::vector<topic_partition> result;
  result.reserve(epochs.size());
  for (const auto& [where, epoch] : epochs)
    result.push_back(where);
  return result;
}

} // namespace

offset_reader::offset_reader(rd_kafka_t* client, doorbell& bell, milliseconds leader_limit)
  : client_(client), bell_(bell), leader_limit_(leader_limit), limit_(first_question),
    pause_(first_pause), thread_([this] { run(); }) {}

offset_reader::~offset_reader() {
  stop();
  thread_.join();
}

// -- the polling thread --------------------------------------------------------------------

void offset_reader::ask_committed(const std::vector<topic_partition>& partitions, uint64_t epoch) {
  std::lock_guard guard{mutex_};
  for (const auto& where : partitions)
    wanted_[where] = epoch;
  next_ = {};
  changed_.notify_all();
}

std::optional<offset_reader::answer> offset_reader::next_committed() {
  std::lock_guard guard{mutex_};
  std::erase_if(known_, [](const auto& x) { return x.second.empty(); });
  if (known_.empty())
    return std::nullopt;
  auto first = known_.extract(known_.begin());
  return answer{first.key(), std::move(first.mapped())};
}

void offset_reader::ask_ends(std::set<topic_partition> partitions) {
  std::lock_guard guard{mutex_};
  ends_wanted_ = std::move(partitions);
  changed_.notify_all();
}

std::map<topic_partition, int64_t> offset_reader::ends() {
  std::lock_guard guard{mutex_};
  return ends_;
}

void offset_reader::ask_start(const topic_partition& where, int64_t from, int64_t past) {
  std::lock_guard guard{mutex_};
  auto& gaps = gaps_[where];
  if (gaps.size() < max_gaps)
    gaps.push_back({from, past});
  else
    gaps.back().past = past;
  changed_.notify_all();
}

std::optional<records_lost> offset_reader::next_lost() {
  std::lock_guard guard{mutex_};
  if (lost_.empty())
    return std::nullopt;
  auto x = std::move(lost_.back());
  lost_.pop_back();
  return x;
}

void offset_reader::ask_topic_ids(std::set<std::string> topics, uint64_t mark) {
  std::lock_guard guard{mutex_};
  ids_wanted_ = std::move(topics);
  ids_mark_ = mark;
  changed_.notify_all();
}

offset_reader::ids offset_reader::topic_ids() {
  std::lock_guard guard{mutex_};
  return ids_;
}

void offset_reader::forget(const topic_partition& where) {
  std::lock_guard guard{mutex_};
  wanted_.erase(where);
  gaps_.erase(where);
  starts_asked_.erase(where);
  for (auto& [epoch, found] : known_)
    found.erase(where);
}

void offset_reader::stop() {
  std::lock_guard guard{mutex_};
  stopping_ = true;
  changed_.notify_all();
}

// -- its own -------------------------------------------------------------------------------

void offset_reader::run() {
  for (std::unique_lock lock{mutex_}; !stopping_;) {
    if (!wanted_.empty() && clock::now() >= next_) {
      read_wanted(lock);
    } else if (!gaps_.empty() && clock::now() >= next_starts_) {
      read_starts(lock);
    } else if (ends_wanted_ || ids_wanted_) {
      read_view(lock);
    } else if (wanted_.empty() && gaps_.empty()) {
      changed_.wait(lock);
    } else {
      auto until = clock::time_point::max();
      if (!wanted_.empty())
        until = next_;
      if (!gaps_.empty())
        until = std::min(until, next_starts_);
      changed_.wait_until(lock, until);
    }
  }
}

/// Both in a turn: who asks for ends again before there is an answer keeps nobody from the ids.
void offset_reader::read_view(std::unique_lock<std::mutex>& lock) {
  const auto ends = std::exchange(ends_wanted_, std::nullopt);
  const auto topics = std::exchange(ids_wanted_, std::nullopt);
  const auto mark = ids_mark_;
  lock.unlock();
  auto found_ends = ends ? std::optional{log_ends(client_, *ends, leader_limit_)} : std::nullopt;
  auto found_ids = topics ? std::optional{messaging::topic_ids(client_, *topics, ids_limit)}
                          : std::nullopt;
  lock.lock();
  if (found_ends)
    ends_ = std::move(*found_ends);
  if (found_ids)
    ids_ = {mark, std::move(*found_ids)};
}

/// Records below the beginning of the log are deleted. Between two records above it there never was
/// a record for us.
void offset_reader::read_starts(std::unique_lock<std::mutex>& lock) {
  const auto asked = std::exchange(gaps_, {});
  next_starts_ = clock::now() + starts_each;
  starts_asked_.clear();
  for (const auto& [where, gaps] : asked)
    starts_asked_.insert(where);
  const auto partitions = starts_asked_;
  lock.unlock();
  const auto starts = log_starts(client_, partitions, leader_limit_);
  lock.lock();
  for (const auto& [where, gaps] : asked) {
    const auto start = starts.find(where);
    if (!starts_asked_.contains(where))
      continue;                  // not ours any more
    if (start == starts.end()) { // will be asked again
      auto& open = gaps_[where];
      open.insert(open.begin(), gaps.begin(), gaps.end());
      continue;
    }
    for (const auto& gap : gaps)
      if (const auto past = std::min(gap.past, start->second); past > gap.first)
        lost_.push_back({where, gap.first, past, start->second});
  }
  if (!lost_.empty())
    bell_.ring();
}

void offset_reader::read_wanted(std::unique_lock<std::mutex>& lock) {
  const auto asked = wanted_;
  next_ = clock::time_point::max(); // unless more is asked meanwhile
  lock.unlock();
  auto found = read_committed(client_, partitions_of(asked), limit_, leader_limit_);
  lock.lock();
  const std::string reason = found ? "the answer was incomplete" : found.error().message;
  if (found)
    pass_on(asked, std::move(*found));
  const auto now = clock::now();
  const auto open = still_open(asked);
  if (open == 0) {
    limit_ = first_question;
    pause_ = first_pause;
    next_ = {};
    return;
  }
  if (now - told_ >= told_each) {
    told_ = now;
    spdlog::warn("{} partitions wait for their committed offsets: {}", open, reason);
  }
  next_ = std::min(next_, now + pause_);
  limit_ = std::min(2 * limit_, longest_question);
  pause_ = std::min(2 * pause_, longest_pause);
}

/// Unless they were taken away meanwhile, also if they came back: others may have committed since.
void offset_reader::pass_on(const partitions_by_epoch& asked, committed_states found) {
  for (auto& [where, state] : found) {
    const auto i = wanted_.find(where);
    if (i == wanted_.end() || i->second != asked.at(where))
      continue;
    known_[i->second].emplace(where, std::move(state));
    wanted_.erase(i);
  }
  if (!known_.empty())
    bell_.ring();
}

size_t offset_reader::still_open(const partitions_by_epoch& asked) const {
  return static_cast<size_t>(std::count_if(asked.begin(), asked.end(), [this](const auto& x) {
    const auto i = wanted_.find(x.first);
    return i != wanted_.end() && i->second == x.second;
  }));
}

} // namespace ziyu::messaging
