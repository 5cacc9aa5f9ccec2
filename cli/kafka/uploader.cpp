#include "cli/kafka/uploader.hpp"

#include <utility>

namespace ziyu::cli {

namespace {

using clock = std::chrono::steady_clock;

// The pause before another attempt with a full producer that reports nothing.
constexpr std::chrono::milliseconds breath{100};

} // namespace

uploader::uploader(settings x) : settings_(x) {
  // nop
}

void uploader::connect(messaging::producer& out) { out_ = &out; }

bool uploader::patient() const { return clock::now() - last_move_ < settings_.patience; }

error uploader::out_of_patience() const {
  return {errc::timeout,
          "nothing was acknowledged for " + std::to_string(settings_.patience.count()) + " ms"};
}

void uploader::report(std::vector<messaging::delivery_report> reports) {
  std::lock_guard guard{mutex_};
  for (auto& x : reports) {
    const auto i = pending_.find(x.token);
    if (i == pending_.end())
      continue; // Given up before.
    ++moves_;
    last_move_ = clock::now();
    bytes_ -= i->second.bytes;
    outcomes_.push_back({std::move(i->second.job_id), std::move(x.failure), std::move(x.where)});
    pending_.erase(i);
  }
  changed_.notify_all();
}

expected<void> uploader::submit(const std::string& job_id, messaging::outgoing x) {
  std::unique_lock guard{mutex_};
  if (pending_.empty())
    last_move_ = clock::now(); // Until now there was nothing to acknowledge.
  auto refuse = [&](error reason) -> expected<void> {
    outcomes_.push_back({job_id, reason, {}});
    return tl::unexpected(std::move(reason));
  };
  const auto bytes = x.bytes();
  const auto room = [&] {
    return pending_.empty()
           || (pending_.size() < settings_.max_in_flight_records
               && bytes_ + bytes <= settings_.max_in_flight_bytes);
  };
  while (!room())
    if (!changed_.wait_for(guard, breath, room) && !patient())
      return refuse(out_of_patience());
  x.token = next_token_++;
  pending_[x.token] = {job_id, bytes};
  bytes_ += bytes;
  for (;;) {
    const auto before = moves_;
    guard.unlock(); // The report may come before `produce` returns.
    auto produced = out_->produce(x);
    guard.lock();
    if (produced)
      return {};
    const auto full = produced.error().code == errc::queue_full;
    if (full && patient()) {
      changed_.wait_for(guard, breath, [&] { return moves_ != before; });
      continue;
    }
    bytes_ -= bytes;
    pending_.erase(x.token);
    return refuse(full ? out_of_patience() : produced.error());
  }
}

expected<bool> uploader::settle(std::chrono::milliseconds limit) {
  std::unique_lock guard{mutex_};
  if (changed_.wait_for(guard, limit, [this] { return pending_.empty(); }))
    return true;
  if (patient())
    return false;
  return tl::unexpected(out_of_patience());
}

void uploader::abandon(const std::string& why) {
  std::lock_guard guard{mutex_};
  for (auto& [token, x] : pending_)
    outcomes_.push_back({std::move(x.job_id), error{errc::timeout, why}, {}});
  pending_.clear();
  bytes_ = 0;
}

std::vector<uploader::outcome> uploader::take() {
  std::lock_guard guard{mutex_};
  return std::exchange(outcomes_, {});
}

} // namespace ziyu::cli
