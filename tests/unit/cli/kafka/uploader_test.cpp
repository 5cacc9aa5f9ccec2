#include "cli/kafka/uploader.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <thread>

using namespace ziyu;
using namespace ziyu::cli;
using namespace std::chrono_literals;
using messaging::delivery_report;
using messaging::outgoing;

namespace {

/// A producer that keeps its records until the test tells their outcome. Any thread.
class fake_producer : public messaging::producer {
public:
  expected<void> produce(const outgoing& x) override {
    std::lock_guard guard{mutex_};
    ++calls_;
    changed_.notify_all();
    if (!refusals_.empty()) {
      const auto reason = refusals_.front();
      if (!sticky_)
        refusals_.pop_front();
      return tl::unexpected(reason);
    }
    tokens_.push_back(x.token);
    most_ = std::max(most_, tokens_.size());
    return {};
  }

  void refuse(std::vector<error> next) {
    std::lock_guard guard{mutex_};
    refusals_.assign(next.begin(), next.end());
  }
  void refuse_always(error x) {
    std::lock_guard guard{mutex_};
    refusals_.assign({x});
    sticky_ = true;
  }

  /// Waits until `produce` has been called so often; false after a long time.
  bool wait_for_calls(size_t n) {
    std::unique_lock guard{mutex_};
    return changed_.wait_for(guard, 20s, [&] { return calls_ >= n; });
  }

  /// The token of the oldest record that has no report yet.
  uint64_t take() {
    std::lock_guard guard{mutex_};
    const auto x = tokens_.front();
    tokens_.pop_front();
    return x;
  }
  size_t waiting() {
    std::lock_guard guard{mutex_};
    return tokens_.size();
  }
  size_t most_in_flight() {
    std::lock_guard guard{mutex_};
    return most_;
  }
  size_t calls() {
    std::lock_guard guard{mutex_};
    return calls_;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<error> refusals_;
  std::deque<uint64_t> tokens_;
  size_t most_ = 0, calls_ = 0;
  bool sticky_ = false;
};

outgoing record_of(size_t bytes) {
  outgoing x;
  x.topic = "t";
  x.value = std::string(bytes, 'x');
  return x;
}

std::vector<delivery_report> acknowledged(uint64_t token) {
  return {{token, {}, {"t", 0, static_cast<int64_t>(token)}}};
}

} // namespace

TEST(Uploader, TellsWhatBecameOfEachJobByItsId) {
  fake_producer out;
  uploader aut{{}};
  aut.connect(out);
  ASSERT_TRUE(aut.submit("a", record_of(1)));
  ASSERT_TRUE(aut.submit("b", record_of(1)));
  const auto first = out.take(), second = out.take();
  aut.report({{second, error{errc::kafka, "no"}, {}}});
  aut.report(acknowledged(first));
  EXPECT_TRUE(aut.settle(0ms).value());
  const auto outcomes = aut.take();
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].job_id, "b");
  EXPECT_EQ(outcomes[0].failure->message, "no");
  EXPECT_EQ(outcomes[1].job_id, "a");
  EXPECT_FALSE(outcomes[1].failure);
  EXPECT_EQ(outcomes[1].where.topic, "t");
  EXPECT_TRUE(aut.take().empty());
}

TEST(Uploader, HasNeverMoreInFlightThanAllowed) {
  fake_producer out;
  uploader aut{{.max_in_flight_records = 2}};
  aut.connect(out);
  std::jthread submitting{[&] {
    for (int i = 0; i < 8; ++i)
      EXPECT_TRUE(aut.submit(std::to_string(i), record_of(1)));
  }};
  for (size_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(out.wait_for_calls(i + 1));
    aut.report(acknowledged(out.take()));
  }
  submitting.join();
  EXPECT_LE(out.most_in_flight(), 2u);
  EXPECT_EQ(aut.take().size(), 8u);
}

TEST(Uploader, BoundsBytesButLetsOneLargeJobThrough) {
  fake_producer out;
  uploader aut{{.max_in_flight_bytes = 100}};
  aut.connect(out);
  ASSERT_TRUE(aut.submit("larger than the bound", record_of(1'000)));
  std::jthread submitting{[&] { EXPECT_TRUE(aut.submit("small", record_of(1))); }};
  aut.report(acknowledged(out.take()));
  ASSERT_TRUE(out.wait_for_calls(2));
  submitting.join();
  EXPECT_EQ(out.most_in_flight(), 1u);
}

TEST(Uploader, TriesAgainWhenTheProducerIsFull) {
  fake_producer out;
  out.refuse({{errc::queue_full, "full"}, {errc::queue_full, "full"}});
  uploader aut{{}};
  aut.connect(out);
  EXPECT_TRUE(aut.submit("a", record_of(1)));
  EXPECT_EQ(out.calls(), 3u);
  EXPECT_EQ(out.waiting(), 1u);
  EXPECT_TRUE(aut.take().empty());
}

TEST(Uploader, GivesUpOnAProducerThatStaysFull) {
  fake_producer out;
  out.refuse_always({errc::queue_full, "full"});
  uploader aut{{.patience = 1ms}};
  aut.connect(out);
  const auto refused = aut.submit("a", record_of(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::timeout);
  const auto outcomes = aut.take();
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].failure->code, errc::timeout);
}

TEST(Uploader, PassesOnARefusalAtOnce) {
  fake_producer out;
  out.refuse({{errc::job_too_large, "too large"}});
  uploader aut{{}};
  aut.connect(out);
  EXPECT_EQ(aut.submit("a", record_of(1)).error().code, errc::job_too_large);
  EXPECT_EQ(out.calls(), 1u);
  EXPECT_EQ(aut.take().at(0).failure->code, errc::job_too_large);
  // The place of the refused one is free again.
  EXPECT_TRUE(aut.settle(0ms).value());
}

TEST(Uploader, LosesPatienceWhenNothingIsAcknowledged) {
  fake_producer out;
  uploader aut{{.patience = 1ms}};
  aut.connect(out);
  ASSERT_TRUE(aut.submit("a", record_of(1)));
  expected<bool> settled = false;
  for (int i = 0; i < 1'000 && settled && !*settled; ++i)
    settled = aut.settle(10ms);
  ASSERT_FALSE(settled);
  EXPECT_EQ(settled.error().code, errc::timeout);
}

TEST(Uploader, GivesUpWhatHasNoOutcomeAndIgnoresLateReports) {
  fake_producer out;
  uploader aut{{}};
  aut.connect(out);
  ASSERT_TRUE(aut.submit("a", record_of(1)));
  EXPECT_FALSE(aut.settle(0ms).value());
  aut.abandon("interrupted");
  aut.report(acknowledged(out.take()));
  const auto outcomes = aut.take();
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].failure->message, "interrupted");
  EXPECT_TRUE(aut.settle(0ms).value());
}
