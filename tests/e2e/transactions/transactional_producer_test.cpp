// Records and offsets in one transaction, on a real Kafka: the mock cluster does not implement
// them.

#include "e2e/support/open_transaction.hpp"
#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"
#include "messaging/kafka_consumer.hpp"
#include "messaging/kafka_membership.hpp"
#include "messaging/kafka_transactional_producer.hpp"

#include <gmock/gmock.h>

#include <csignal>
#include <cstdlib>
#include <future>

using namespace ziyu;
using namespace ziyu::e2e;
using namespace ziyu::messaging;
using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace {

constexpr auto patience = 30s;

/// What a test and its child process, which dies, share through the environment.
struct names {
  std::string bootstrap, jobs, results, group;

  static names make(const std::string& what) {
    const auto own = "transactions-" + what + "-" + std::to_string(::getpid());
    return {shared_broker(), own + "-jobs", own + "-results", own + "-group"};
  }

  kafka_properties client() const {
    return {{"bootstrap.servers", bootstrap}, {"reconnect.backoff.max.ms", "500"}};
  }

  void create() const {
    must(create_topics(client(), {{jobs, 1, 1, {}}, {results, 1, 1, {}}}, patience));
  }
};

/// A raw member of the group: only its membership matters, not its records.
class member {
public:
  /// @param instance Makes it a static member: the next member of this name takes its place at
  /// once.
  explicit member(const names& x, const std::string& instance = {}) : jobs_(x.jobs) {
    auto properties = x.client();
    if (!instance.empty())
      properties["group.instance.id"] = instance;
    properties.insert(
      {{"group.id", x.group}, {"enable.auto.commit", "false"}, {"auto.offset.reset", "earliest"}});
    auto conf = must(make_conf(properties));
    char text[512];
    client_.reset(rd_kafka_new(RD_KAFKA_CONSUMER, conf.release(), text, sizeof text));
    rd_kafka_poll_set_consumer(client_.get());
    partition_list_ptr list{rd_kafka_topic_partition_list_new(1)};
    rd_kafka_topic_partition_list_add(list.get(), x.jobs.c_str(), RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(client_.get(), list.get());
    EXPECT_TRUE(eventually([&] { return assigned(); })) << "not assigned";
  }

  ~member() { rd_kafka_consumer_close(client_.get()); }

  std::shared_ptr<const group_membership> who() const { return membership_of(client_.get()); }

  /// The committed offset (0: none) and metadata, without a transaction's mark.
  std::pair<int64_t, std::string> committed() const {
    partition_list_ptr list{rd_kafka_topic_partition_list_new(1)};
    rd_kafka_topic_partition_list_add(list.get(), jobs_.c_str(), 0);
    EXPECT_EQ(rd_kafka_committed(client_.get(), list.get(), 10'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    const auto& x = list->elems[0];
    const std::string metadata{static_cast<const char*>(x.metadata),
                               x.metadata == nullptr ? 0 : x.metadata_size};
    return {std::max<int64_t>(x.offset, 0), metadata.substr(0, metadata.find(';'))};
  }

private:
  bool assigned() {
    if (auto message = rd_kafka_consumer_poll(client_.get(), 100))
      rd_kafka_message_destroy(message);
    rd_kafka_topic_partition_list_t* list = nullptr;
    rd_kafka_assignment(client_.get(), &list);
    partition_list_ptr owned{list};
    return owned && owned->cnt > 0;
  }

  std::string jobs_;
  kafka_ptr client_;
};

/// A producer and its reports.
class transactions {
public:
  explicit transactions(const names& x, std::function<void(transaction_step)> on_step = {}) {
    auto properties = x.client();
    properties["transactional.id"] = x.group + "-producer";
    producer_ = must(make_kafka_transactional_producer(
      properties, {x.group, 10'000ms, std::move(on_step)}, [this](transaction_report r) {
        std::lock_guard guard{mutex_};
        reports_.push_back(std::move(r));
      }));
  }

  /// One transaction to its end.
  transaction_report run(transaction x) {
    const auto before = count();
    must(producer_->submit(std::move(x)));
    EXPECT_TRUE(eventually([&] { return count() > before; }, patience)) << "no report";
    std::lock_guard guard{mutex_};
    return reports_.back();
  }

private:
  size_t count() {
    std::lock_guard guard{mutex_};
    return reports_.size();
  }

  std::mutex mutex_;
  std::vector<transaction_report> reports_;
  std::unique_ptr<transactional_producer> producer_;
};

/// Results of the jobs [from, to), and the offset after them.
transaction work(const names& x, const member& by, int64_t from, int64_t to) {
  transaction result;
  result.id = static_cast<uint64_t>(to);
  for (auto i = from; i < to; ++i)
    result.records.push_back({x.results, "job-" + std::to_string(i), "result", {}, 0, {}});
  result.offsets.push_back({{x.jobs, 0}, to, "map-" + std::to_string(to)});
  result.member = by.who();
  return result;
}

std::unique_ptr<topic_reader> reader_of_results(
  const names& x, topic_reader::start from = topic_reader::start::beginning) {
  return must(read_topic(x.client(), x.results, from, patience));
}

using key_list = std::vector<std::string>;

/// The keys that `reader` reads until they are `enough`.
key_list read_keys(topic_reader& reader, const std::function<bool(const key_list&)>& enough) {
  key_list keys;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!enough(keys) && std::chrono::steady_clock::now() < deadline)
    if (auto found = must(reader.next(100ms)))
      keys.push_back(found->key.value_or("none"));
  return keys;
}

key_list read_to_end(topic_reader& reader) {
  return read_keys(reader, [&reader](const auto&) { return reader.at_end(); });
}

/// Keys that read-committed readers see.
key_list visible(const names& x) { return read_to_end(*reader_of_results(x)); }

std::vector<outgoing> results(const names& x, const key_list& keys) {
  std::vector<outgoing> records;
  for (const auto& key : keys)
    records.push_back({x.results, key, "result", {}, 0, {}});
  return records;
}

} // namespace

TEST(Transactions, RecordsAndOffsetsAreSeenTogether) {
  const auto x = names::make("together");
  x.create();
  const member by{x};
  transactions producer{x};
  const auto report = producer.run(work(x, by, 0, 3));
  EXPECT_EQ(report.end, transaction_end::committed) << report.reason.describe();
  EXPECT_EQ(report.id, 3u);
  EXPECT_THAT(visible(x), ElementsAre("job-0", "job-1", "job-2"));
  EXPECT_EQ(by.committed(), (std::pair<int64_t, std::string>{3, "map-3"}));
}

TEST(Transactions, ATopicThatIsMissingIsNamedAndOthersAreCommittedWithoutIt) {
  const auto x = names::make("missing");
  x.create();
  const member by{x};
  transactions producer{x};
  auto some = work(x, by, 0, 3);
  some.records[1].topic += "-missing";
  const auto report = producer.run(std::move(some));
  EXPECT_EQ(report.end, transaction_end::aborted);
  EXPECT_EQ(report.culprit, std::optional<size_t>{1}) << report.reason.describe();
  EXPECT_EQ(report.refused, refusal::topic);
  EXPECT_NE(report.reason.message.find(x.results + "-missing"), std::string::npos);
  const auto again = producer.run(work(x, by, 0, 2));
  EXPECT_EQ(again.end, transaction_end::committed) << again.reason.describe();
  EXPECT_THAT(visible(x), ElementsAre("job-0", "job-1"));
}

TEST(Transactions, ARecordThatIsTooLargeIsNamedAndNothingOfItsTransactionIsSeen) {
  const auto x = names::make("large");
  x.create();
  const member by{x};
  transactions producer{x};
  auto large = work(x, by, 0, 3);
  large.records[1].value = std::string(2'000'000, 'x');
  const auto report = producer.run(std::move(large));
  EXPECT_EQ(report.end, transaction_end::aborted);
  EXPECT_EQ(report.reason.code, errc::job_too_large) << report.reason.describe();
  EXPECT_EQ(report.culprit, std::optional<size_t>{1});
  EXPECT_THAT(visible(x), IsEmpty());
  EXPECT_EQ(by.committed().first, 0);
  const auto again = producer.run(work(x, by, 0, 1));
  EXPECT_EQ(again.end, transaction_end::committed) << again.reason.describe();
  EXPECT_THAT(visible(x), ElementsAre("job-0"));
}

TEST(Transactions, AMemberOfAnEarlierGenerationIsFenced) {
  const auto x = names::make("fenced");
  x.create();
  auto first = std::make_unique<member>(x);
  auto stale = work(x, *first, 0, 2);
  first.reset();
  const member second{x};
  transactions producer{x};
  const auto report = producer.run(std::move(stale));
  EXPECT_EQ(report.end, transaction_end::fenced) << report.reason.describe();
  EXPECT_THAT(visible(x), IsEmpty());
  const auto again = producer.run(work(x, second, 0, 2));
  EXPECT_EQ(again.end, transaction_end::committed) << again.reason.describe();
  EXPECT_THAT(visible(x), ElementsAre("job-0", "job-1"));
}

TEST(Transactions, AProducerThatWasReplacedIsMadeAnewAndDoesItsWork) {
  const auto x = names::make("replaced");
  x.create();
  const member by{x};
  transactions old{x};
  EXPECT_EQ(old.run(work(x, by, 0, 1)).end, transaction_end::committed);
  {
    transactions other{x}; // the same id: fences the first
    EXPECT_EQ(other.run(work(x, by, 1, 2)).end, transaction_end::committed);
  }
  const auto fenced = old.run(work(x, by, 2, 3));
  EXPECT_EQ(fenced.end, transaction_end::aborted) << to_string(fenced.end);
  const auto again = old.run(work(x, by, 2, 3));
  EXPECT_EQ(again.end, transaction_end::committed) << again.reason.describe();
  EXPECT_THAT(visible(x), ElementsAre("job-0", "job-1", "job-2"));
}

TEST(Transactions, AnAbortedOneIsNotTakenForCommittedBecauseItsOffsetsStandThereAlready) {
  const auto x = names::make("same");
  x.create();
  const member by{x};
  transactions old{x};
  EXPECT_EQ(old.run(work(x, by, 0, 1)).end, transaction_end::committed);
  {
    const transactions other{x}; // the same id: fences the first
  }
  auto same = work(x, by, 0, 1);
  same.records[0].key = "another";
  const auto fenced = old.run(same);
  EXPECT_EQ(fenced.end, transaction_end::aborted) << "another was never seen";
  EXPECT_THAT(visible(x), ElementsAre("job-0"));
  EXPECT_EQ(old.run(same).end, transaction_end::committed);
  EXPECT_THAT(visible(x), ElementsAre("job-0", "another"));
}

TEST(Transactions, TheMarkAtALogsEndIsNoRecordThatWaits) {
  const auto x = names::make("mark");
  x.create();
  {
    const member by{x};
    transactions producer{x};
    EXPECT_EQ(producer.run(work(x, by, 0, 2)).end, transaction_end::committed);
  }
  auto properties = x.client();
  properties["group.id"] = x.group + "-reader";
  auto reader = must(make_kafka_consumer(properties, {x.results}));
  size_t records = 0;
  std::vector<partition_view> views;
  EXPECT_TRUE(eventually([&] {
    records += std::holds_alternative<record>(reader->poll(10ms));
    views = reader->view();
    return records == 2 && views.size() == 1 && views[0].log_end == 3 && views[0].position == 3;
  }));
  reader->close(5s);
}

TEST(Transactions, OneTransactionAtATime) {
  const auto x = names::make("one");
  x.create();
  const member by{x};
  std::promise<void> go;
  auto gone = go.get_future().share();
  std::atomic<bool> held{false};
  auto properties = x.client();
  properties["transactional.id"] = x.group;
  std::promise<transaction_report> done;
  auto producer = must(
    make_kafka_transactional_producer(properties,
                                      {x.group, 10'000ms,
                                       [&, gone](transaction_step step) {
                                         if (step == transaction_step::commit) {
                                           held = true;
                                           gone.wait_for(patience);
                                         }
                                       }},
                                      [&](transaction_report r) { done.set_value(std::move(r)); }));
  must(producer->submit(work(x, by, 0, 1)));
  ASSERT_TRUE(eventually([&] { return held.load(); }));
  const auto second = producer->submit(work(x, by, 1, 2));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, errc::queue_full);
  go.set_value();
  EXPECT_EQ(done.get_future().get().end, transaction_end::committed);
}

// -- readers of what is committed ------------------------------------------------------------

class OpenTransaction : public ::testing::TestWithParam<bool> {};

// Records that were committed behind an open transaction cannot be read yet. A reader that takes
// the transaction for the end would miss, e.g., the mark of a replayed dead letter.
TEST_P(OpenTransaction, IsNotTheEndOfWhatAReaderHasToRead) {
  const auto commits = GetParam();
  const auto x = names::make(commits ? "open-committed" : "open-aborted");
  x.create();
  open_transaction{x.client(), x.group + "-first", results(x, {"first"})}.commit();
  open_transaction open{x.client(), x.group + "-open", results(x, {"open"})};
  open_transaction{x.client(), x.group + "-behind", results(x, {"behind"})}.commit();
  const auto reader = reader_of_results(x);
  const auto seen = read_keys(
    *reader, [&](const auto&) { return reader->at_end() || reader->awaits_transaction(); });
  EXPECT_THAT(seen, ElementsAre("first"));
  EXPECT_FALSE(reader->at_end());
  EXPECT_TRUE(reader->awaits_transaction());
  EXPECT_FALSE(must(reader->next(1'000ms)));
  EXPECT_FALSE(reader->at_end()) << "also not after a while";
  commits ? open.commit() : open.abort();
  const auto rest = read_to_end(*reader);
  EXPECT_TRUE(reader->at_end());
  EXPECT_FALSE(reader->awaits_transaction());
  if (commits)
    EXPECT_THAT(rest, ElementsAre("open", "behind"));
  else
    EXPECT_THAT(rest, ElementsAre("behind"));
}

INSTANTIATE_TEST_SUITE_P(Ends, OpenTransaction, ::testing::Bool(),
                         [](const auto& x) { return x.param ? "ByCommit" : "ByAbort"; });

TEST(Transactions, AReaderWaitsForNoTransactionThatBeganAfterItLooked) {
  const auto x = names::make("later");
  x.create();
  open_transaction{x.client(), x.group + "-first", results(x, {"first"})}.commit();
  const auto reader = reader_of_results(x);
  EXPECT_THAT(read_to_end(*reader), ElementsAre("first"));
  open_transaction open{x.client(), x.group + "-open", results(x, {"open"})};
  EXPECT_FALSE(must(reader->next(1'000ms)));
  EXPECT_TRUE(reader->at_end());
  open.commit();
  const auto one = [](const auto& keys) { return keys.size() == 1; };
  EXPECT_THAT(read_keys(*reader, one), ElementsAre("open"));
}

TEST(Transactions, AReaderFromTheEndIsAtItsEndAtOnceAndSeesWhatComes) {
  const auto x = names::make("from-the-end");
  x.create();
  open_transaction{x.client(), x.group + "-first", results(x, {"first"})}.commit();
  const auto reader = reader_of_results(x, topic_reader::start::end);
  EXPECT_THAT(read_to_end(*reader), IsEmpty());
  EXPECT_TRUE(reader->at_end());
  open_transaction{x.client(), x.group + "-second", results(x, {"second"})}.commit();
  const auto one = [](const auto& keys) { return keys.size() == 1; };
  EXPECT_THAT(read_keys(*reader, one), ElementsAre("second"));
}

// -- SIGKILL at each step --------------------------------------------------------------------

/// When to die: at the beginning of a step, or so long after it.
struct moment {
  transaction_step step;
  std::chrono::microseconds later = 0us;
  bool certain = true; ///< How the transaction ends.
};

/// Commits two jobs and ends this process in the middle of the transaction of three more.
[[noreturn]] void die_at(const moment& when, const names& x) {
  const member by{x, "one"};
  auto doomed = false;
  std::promise<void> never;
  std::future<void> death;
  transactions producer{x, [&](transaction_step step) {
                          if (!doomed || step != when.step)
                            return;
                          if (when.certain)
                            ::kill(::getpid(), SIGKILL);
                          death = std::async(std::launch::async, [&] {
                            never.get_future().wait_for(when.later);
                            ::kill(::getpid(), SIGKILL);
                          });
                        }};
  producer.run(work(x, by, 0, 2));
  doomed = true;
  producer.run(work(x, by, 2, 5));
  if (death.valid())
    death.wait();
  std::exit(1);
}

class KilledTransaction : public ::testing::TestWithParam<moment> {};

TEST_P(KilledTransaction, LosesAndRepeatsNothing) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto when = GetParam();
  const auto number = std::to_string(static_cast<int>(when.step)) + "-"
                      + std::to_string(when.later.count());
  // The child runs this test anew, up to the statement at which it dies.
  const auto inherited = [](const char* name) {
    const auto value = std::getenv(name);
    return value == nullptr ? std::string{} : std::string{value};
  };
  names x{inherited("ZIYU_TEST_BOOTSTRAP"), "", "", inherited("ZIYU_TEST_GROUP")};
  if (x.bootstrap.empty()) {
    x = names::make("killed-" + number);
    x.create();
    ::setenv("ZIYU_TEST_BOOTSTRAP", x.bootstrap.c_str(), 1);
    ::setenv("ZIYU_TEST_GROUP", x.group.c_str(), 1);
  } else {
    const auto own = x.group.substr(0, x.group.size() - std::string{"-group"}.size());
    x.jobs = own + "-jobs";
    x.results = own + "-results";
  }
  EXPECT_EXIT(die_at(when, x), ::testing::KilledBySignal(SIGKILL), "");
  ::unsetenv("ZIYU_TEST_BOOTSTRAP");
  ::unsetenv("ZIYU_TEST_GROUP");
  // The next producer ends the open transaction, and goes on from the committed offsets.
  transactions producer{x};
  const member by{x, "one"};
  const auto [next, map] = by.committed();
  if (when.certain)
    EXPECT_EQ(next, when.step == transaction_step::end ? 5 : 2);
  else
    EXPECT_TRUE(next == 2 || next == 5) << next;
  EXPECT_EQ(map, "map-" + std::to_string(next));
  const auto rest = producer.run(work(x, by, next, 6));
  ASSERT_EQ(rest.end, transaction_end::committed) << rest.reason.describe();
  EXPECT_THAT(visible(x), ElementsAre("job-0", "job-1", "job-2", "job-3", "job-4", "job-5"));
}

INSTANTIATE_TEST_SUITE_P(AtEachStep, KilledTransaction,
                         ::testing::Values(moment{transaction_step::begin},
                                           moment{transaction_step::produce},
                                           moment{transaction_step::send_offsets},
                                           moment{transaction_step::commit},
                                           moment{transaction_step::end}));

// The broker is told to commit, and answers, within some milliseconds.
INSTANTIATE_TEST_SUITE_P(WhileItIsCommitted, KilledTransaction,
                         ::testing::Values(moment{transaction_step::commit, 100us, false},
                                           moment{transaction_step::commit, 1ms, false},
                                           moment{transaction_step::commit, 3ms, false}));
