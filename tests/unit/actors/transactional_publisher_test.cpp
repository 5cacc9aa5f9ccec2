// Dispatcher and transactional publisher together: the one plans, the other commits.

#include "actors/transactional_publisher.hpp"

#include "tests/support/dispatcher_stage.hpp"

namespace ziyu::test {

namespace {

using messaging::transaction_end;
using offsets = std::vector<std::pair<int32_t, int64_t>>;

struct membership : messaging::group_membership {};

/// The publisher's transactions, one at a time; the test decides how each ends.
struct transaction_script {
  std::vector<messaging::transaction> submitted;
  messaging::transactional_producer::report_handler report;
  size_t made = 0;
  std::optional<error> refusal; ///< Of making one.
};

class scripted_producer : public messaging::transactional_producer {
public:
  explicit scripted_producer(transaction_script& x) : script_(x) {}
  expected<void> submit(messaging::transaction x) override {
    script_.submitted.push_back(std::move(x));
    return {};
  }

private:
  transaction_script& script_;
};

class Transactions : public Dispatcher {
protected:
  void begin(const std::function<void(dispatcher_settings&)>& tune = [](auto&) {}) {
    start(2, [&](dispatcher_settings& s) {
      s.guarantee = messaging::guarantee::exactly_once;
      s.membership = [this](const auto& of) {
        asked = of;
        return member;
      };
      s.make_neighbours = [this](const dispatcher_actor& self) {
        auto all = fake_neighbours();
        all.publisher = out = spawn(transactional_publisher, publisher_for(self));
        return all;
      };
      tune(s);
    });
    end_all(); // the marks of the first assignment
  }

  transactional_publisher_settings publisher_for(const dispatcher_actor& to) {
    transactional_publisher_settings s;
    s.make = [this](messaging::transactional_producer::report_handler h)
      -> expected<std::unique_ptr<messaging::transactional_producer>> {
      if (kafka.refusal)
        return tl::unexpected(*kafka.refusal);
      ++kafka.made;
      kafka.report = std::move(h);
      return std::make_unique<scripted_producer>(kafka);
    };
    s.dispatcher = to;
    s.report = report;
    return s;
  }

  /// One of the topics takes nothing: the topic of `culprit`, or it is not known which.
  void refuse_topic(std::optional<size_t> culprit) {
    messaging::transaction_report x;
    x.id = kafka.submitted.back().id;
    x.end = transaction_end::aborted;
    x.culprit = culprit;
    x.refused = messaging::refusal::topic;
    x.reason = error{errc::kafka, "Broker: Topic authorization failed"};
    kafka.report(x);
    run();
  }

  bool is_open(size_t done) const { return kafka.submitted.size() > done; }

  void end(transaction_end how, std::optional<size_t> culprit = {},
           errc code = errc::job_too_large) {
    messaging::transaction_report x;
    x.id = kafka.submitted.back().id;
    x.end = how;
    x.culprit = culprit;
    if (how != transaction_end::committed)
      x.reason = error{culprit ? code : errc::kafka, "as the test says"};
    kafka.report(x);
    run();
  }

  /// Commits all transactions that are submitted for a while.
  void end_all() {
    advance(500ms);
    for (auto done = size_t{0}; done < kafka.submitted.size(); ++done) {
      end(transaction_end::committed);
      advance(500ms);
    }
  }

  /// Of the last transaction.
  const messaging::transaction& last() const { return kafka.submitted.back(); }
  offsets offsets_of_last() const {
    offsets xs;
    for (const auto& x : last().offsets)
      xs.emplace_back(x.where.partition, x.next);
    return xs;
  }

  transaction_script kafka;
  std::map<topic_partition, uint64_t> asked;
  std::shared_ptr<const messaging::group_membership> member = std::make_shared<membership>();
  transactional_publisher_actor out;
};

} // namespace

TEST_F(Transactions, CommitsAResultTogetherWithItsOffset) {
  begin();
  fetch(make_record(0));
  advance(1s);
  const auto before = kafka.submitted.size();
  if (before > 0)
    end(transaction_end::committed); // that it is begun
  succeed();
  advance(1s);
  ASSERT_EQ(last().records.size(), 1u);
  EXPECT_EQ(last().records[0].topic, "image.results");
  EXPECT_EQ(offsets_of_last(), (offsets{{0, 1}}));
  EXPECT_EQ(last().member, member);
  EXPECT_EQ(asked, (std::map<topic_partition, uint64_t>{{p0, 1}}));
  EXPECT_EQ(status().results, 0u) << "not before it is committed";
  const auto count = kafka.submitted.size();
  end(transaction_end::committed);
  EXPECT_EQ(status().results, 1u);
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_TRUE(stored.empty()) << "no commit beside the transaction";
  advance(2s);
  EXPECT_EQ(kafka.submitted.size(), count) << "nothing new, no transaction";
}

TEST_F(Transactions, AResultThatComesAloneIsCommittedAtOnceAndTheNextOneAfterAPause) {
  begin();
  fetch(make_record(0));
  fetch(make_record(1));
  end_all();
  advance(5s);
  const auto before = kafka.submitted.size();
  succeed(0);
  ASSERT_EQ(kafka.submitted.size(), before + 1) << "nothing was committed for a while";
  advance(50ms); // what the commit takes
  end(transaction_end::committed);
  succeed(1);
  EXPECT_EQ(kafka.submitted.size(), before + 1) << "commits take a tenth of the time";
  advance(1s);
  EXPECT_EQ(kafka.submitted.size(), before + 2);
}

TEST_F(Transactions, TriesAnAbortedOneAgainWithTheSameRecords) {
  begin();
  fetch(make_record(0));
  end_all();
  succeed();
  advance(1s);
  ASSERT_EQ(last().records.size(), 1u);
  end(transaction_end::aborted);
  EXPECT_EQ(status().results, 0u);
  const auto count = kafka.submitted.size();
  advance(3s);
  ASSERT_EQ(kafka.submitted.size(), count + 1);
  EXPECT_EQ(last().records.size(), 1u);
  EXPECT_EQ(offsets_of_last(), (offsets{{0, 1}}));
  end(transaction_end::committed);
  EXPECT_EQ(status().results, 1u);
}

TEST_F(Transactions, ResultsInOrderShareOneAndKeepTheirOrderWhenItIsTriedAgain) {
  begin([](dispatcher_settings& s) { s.order = ordering::partition; });
  for (int64_t offset : {0, 1, 2})
    fetch(make_record(offset));
  end_all();
  const auto order = [this] {
    std::vector<int64_t> offsets;
    for (const auto& x : last().records)
      offsets.push_back(nlohmann::json::parse(*x.value)["source"]["offset"]);
    return offsets;
  };
  for (int i = 0; i < 3; ++i)
    succeed();
  advance(1s);
  // Results that became ready meanwhile go with the next transaction.
  for (auto tries = 0; tries < 3 && order().size() < 3; ++tries) {
    end(transaction_end::aborted);
    advance(3s);
  }
  EXPECT_EQ(order(), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(offsets_of_last(), (offsets{{0, 3}}));
  end(transaction_end::aborted);
  advance(3s);
  EXPECT_EQ(order(), (std::vector<int64_t>{0, 1, 2}));
  end(transaction_end::committed);
  EXPECT_EQ(status().results, 3u);
  EXPECT_EQ(credit->jobs(), 0u);
}

TEST_F(Transactions, LetsGoOfRecordsWhosePartitionWasLostMeanwhile) {
  begin();
  fetch(make_record(0));
  end_all();
  succeed();
  advance(1s);
  revoke({p0}, 1, true);
  end(transaction_end::fenced);
  const auto count = kafka.submitted.size();
  advance(10s);
  EXPECT_EQ(kafka.submitted.size(), count) << "it is the next owner's";
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(ledger()["handed_back"], 1);
}

TEST_F(Transactions, CommitsNothingWithoutAPlaceInTheGroup) {
  begin();
  fetch(make_record(0));
  end_all();
  member.reset();
  succeed();
  const auto count = kafka.submitted.size();
  advance(5s);
  EXPECT_EQ(kafka.submitted.size(), count);
  member = std::make_shared<membership>();
  advance(6s);
  ASSERT_EQ(kafka.submitted.size(), count + 1);
  EXPECT_EQ(offsets_of_last(), (offsets{{0, 1}}));
}

TEST_F(Transactions, LetsAPartitionGoWithAGoodbyeInATransaction) {
  begin();
  fetch(make_record(0));
  fetch(make_record(1));
  end_all();
  succeed(0);
  advance(1s);
  const auto done = begin_revoke({p0}, 1);
  EXPECT_NE(done.wait_for(0s), std::future_status::ready);
  end(transaction_end::committed); // the result that was under way
  EXPECT_EQ(status().results, 1u);
  EXPECT_NE(done.wait_for(0s), std::future_status::ready);
  advance(100ms);
  EXPECT_TRUE(last().records.empty());
  const auto said = messaging::decode_offset_map(last().offsets.at(0).metadata,
                                                 last().offsets.at(0).next);
  EXPECT_EQ(last().offsets[0].next, 1);
  EXPECT_FALSE(said.map.begun_below) << "it leaves no suspects";
  end(transaction_end::committed);
  EXPECT_EQ(done.wait_for(0s), std::future_status::ready);
  EXPECT_EQ(ledger()["handed_back"], 1);
}

TEST_F(Transactions, DrainsWithAGoodbyeToo) {
  begin();
  fetch(make_record(0));
  end_all();
  const auto drained = ask<bool>(aut, atom::drain{}, uint64_t{5'000});
  succeed();
  end_all();
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**drained);
  EXPECT_EQ(offsets_of_last(), (offsets{{0, 1}}));
  EXPECT_EQ(status().results, 1u);
}

TEST_F(Transactions, MakesADeadLetterOfAResultThatNoBrokerTakes) {
  begin();
  fetch(make_record(0));
  end_all();
  succeed();
  advance(1s);
  end(transaction_end::aborted, 0);
  advance(1s);
  ASSERT_EQ(last().records.size(), 1u);
  EXPECT_EQ(last().records[0].topic, "image.jobs-dlt");
  EXPECT_TRUE(last().records[0].value);
  end(transaction_end::aborted, 0); // nor this, as it is
  advance(1s);
  ASSERT_EQ(last().records.size(), 1u);
  EXPECT_FALSE(last().records[0].value) << "its headers say where the payload is";
  end(transaction_end::committed);
  EXPECT_EQ(status().dead_letters, 1u);
}

TEST_F(Transactions, ADeadLetterThatNoBrokerTakesHoldsNobodyUp) {
  begin();
  fetch(make_record(0));
  end_all();
  advance(5s);
  fetch(make_record(1), error{errc::empty_image, "empty"});
  ASSERT_EQ(last().records.size(), 1u);
  const auto letter = last().records[0].key;
  end(transaction_end::aborted, 0, errc::kafka); // say, a topic that is compacted wants a key
  succeed();
  advance(1s);
  ASSERT_EQ(last().records.size(), 1u);
  EXPECT_EQ(last().records[0].topic, "image.results") << "others go on";
  end(transaction_end::committed);
  EXPECT_EQ(status().results, 1u);
  EXPECT_EQ(status().dead_letters, 0u);
  advance(5s);
  ASSERT_EQ(last().records.size(), 1u) << "tried again";
  EXPECT_EQ(last().records[0].key, letter);
  EXPECT_TRUE(last().records[0].value) << "it was not too large";
  end(transaction_end::committed);
  EXPECT_EQ(status().dead_letters, 1u);
}

TEST_F(Transactions, ATopicOfDeadLettersThatIsMissingHoldsNoResultUpAndNoCredit) {
  begin();
  auto ended = kafka.submitted.size();
  for (int64_t offset : {0, 1, 2})
    fetch(make_record(offset), error{errc::empty_image, "empty"});
  // Like a broker without that topic: refuses each transaction with a dead letter in it.
  const auto serve = [&] {
    for (; ended < kafka.submitted.size(); ++ended) {
      const auto& records = kafka.submitted[ended].records;
      const auto i = std::find_if(records.begin(), records.end(),
                                  [](const auto& x) { return x.topic == "image.jobs-dlt"; });
      ASSERT_EQ(ended + 1, kafka.submitted.size()) << "one at a time";
      if (i == records.end())
        end(transaction_end::committed);
      else
        refuse_topic(static_cast<size_t>(i - records.begin()));
    }
  };
  for (auto i = 0; i < 50 && credit->jobs() > 0; ++i) {
    serve();
    advance(100ms);
  }
  EXPECT_EQ(credit->jobs(), 0u) << "what is set aside holds none";
  EXPECT_EQ(events("publication_set_aside"), 1);
  for (auto i = 0; i < 5; ++i) {
    serve();
    advance(100ms);
  }
  EXPECT_EQ(metric("ziyu_set_aside_records"), 3);
  for (int64_t offset = 3; offset < 23; ++offset) {
    fetch(make_record(offset));
    for (auto i = 0; i < 20 && requests() < static_cast<size_t>(offset - 2); ++i) {
      advance(100ms);
      serve();
    }
    succeed();
    for (auto i = 0; i < 20 && status().results < static_cast<uint64_t>(offset - 2); ++i) {
      advance(100ms);
      serve();
    }
    ASSERT_EQ(status().results, static_cast<uint64_t>(offset - 2));
  }
  EXPECT_EQ(status().breaker, breaker_state::closed);
  EXPECT_EQ(ledger()["in_flight"], 3) << "they are not done, and nothing behind them is committed";
  EXPECT_EQ(status().ledger.partitions.at(0).now->next_offset, 0);
  // The topic is made.
  for (auto i = 0; i < 700 && status().dead_letters < 3; ++i) {
    advance(100ms);
    for (; ended < kafka.submitted.size(); ++ended)
      end(transaction_end::committed);
  }
  EXPECT_EQ(status().dead_letters, 3u);
  EXPECT_EQ(events("publication_resumed"), 1);
  EXPECT_EQ(offsets_of_last(), (offsets{{0, 23}}));
  advance(500ms);
  EXPECT_EQ(metric("ziyu_set_aside_records"), 0);
  EXPECT_EQ(credit->jobs(), 0u);
}

TEST_F(Transactions, FindsTheTopicThatTakesNothingWhenNobodyNamesIt) {
  begin();
  fetch(make_record(0));
  end_all();
  fetch(make_record(1), error{errc::empty_image, "empty"});
  succeed();
  for (auto i = 0; i < 30 && last().records.size() < 2; ++i) {
    if (!last().records.empty())
      end(transaction_end::aborted); // that both come together
    advance(1s);
  }
  ASSERT_EQ(last().records.size(), 2u);
  auto done = kafka.submitted.size();
  refuse_topic({});
  for (auto i = 0; i < 100 && (status().results == 0 || events("publication_set_aside") == 0);
       ++i) {
    if (is_open(done)) {
      done = kafka.submitted.size();
      std::set<std::string> topics;
      for (const auto& x : last().records)
        topics.insert(x.topic);
      EXPECT_LE(topics.size(), 1u) << "apart from each other";
      if (topics.contains("image.jobs-dlt"))
        refuse_topic({});
      else
        end(transaction_end::committed);
    }
    advance(100ms);
  }
  EXPECT_EQ(status().results, 1u);
  EXPECT_EQ(events("publication_set_aside"), 1);
  EXPECT_EQ(status().breaker, breaker_state::closed);
}

TEST_F(Transactions, ATopicThatTakesNoResultsRaisesTheBreaker) {
  begin();
  fetch(make_record(0));
  end_all();
  succeed();
  advance(1s);
  auto done = kafka.submitted.size();
  refuse_topic(0);
  for (auto i = 0; i < 150; ++i) {
    advance(100ms);
    if (is_open(done)) {
      done = kafka.submitted.size();
      last().records.empty() ? end(transaction_end::committed) : refuse_topic(0);
    }
  }
  EXPECT_EQ(status().breaker, breaker_state::open);
  for (auto i = 0; i < 400 && status().results == 0; ++i) {
    advance(100ms);
    if (is_open(done)) {
      done = kafka.submitted.size();
      end(transaction_end::committed);
    }
  }
  EXPECT_EQ(status().results, 1u);
  advance(5s);
  EXPECT_NE(status().breaker, breaker_state::open);
}

TEST_F(Transactions, SaysThatMapsAreRefused) {
  begin();
  fetch(make_record(0));
  advance(1s);
  messaging::transaction_report x;
  x.id = last().id;
  x.end = transaction_end::committed;
  x.without_maps = true;
  kafka.report(x);
  run();
  EXPECT_EQ(events("commit_map_refused"), 1);
}

TEST_F(Transactions, RaisesTheBreakerWhileNoneIsCommitted) {
  begin();
  fetch(make_record(0));
  end_all();
  succeed();
  advance(12s);
  EXPECT_EQ(status().breaker, breaker_state::open);
  end(transaction_end::committed);
  advance(10s);
  EXPECT_NE(status().breaker, breaker_state::open);
}

TEST_F(Transactions, TriesAgainToMakeAProducer) {
  kafka.refusal = error{errc::unavailable, "no broker"};
  begin();
  EXPECT_EQ(kafka.made, 0u);
  EXPECT_EQ(status().breaker, breaker_state::open);
  kafka.refusal.reset();
  advance(10s);
  EXPECT_EQ(kafka.made, 1u);
}

TEST_F(Transactions, FlushesToTrueWhenAllIsCommitted) {
  begin();
  fetch(make_record(0));
  end_all();
  succeed();
  const auto flushed = ask<bool>(publisher_actor{out}, atom::drain{}, uint64_t{5'000});
  EXPECT_FALSE(*flushed);
  end(transaction_end::committed);
  advance(100ms);
  end_all();
  ASSERT_TRUE(*flushed);
  EXPECT_TRUE(**flushed);
}

TEST_F(Transactions, GivesUpAFlushAtItsDeadline) {
  begin();
  fetch(make_record(0));
  end_all();
  succeed();
  const auto flushed = ask<bool>(publisher_actor{out}, atom::drain{}, uint64_t{1'000});
  advance(1'200ms);
  ASSERT_TRUE(*flushed);
  EXPECT_FALSE(**flushed);
}

} // namespace ziyu::test
