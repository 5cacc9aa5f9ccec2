// The content of a record, and when the dispatcher has it read.

#include "actors/decoder.hpp"
#include "tests/support/dispatcher_stage.hpp"

namespace ziyu::test {

namespace {

messaging::record make_json(int64_t offset, const std::string& more = "", uint64_t epoch = 1) {
  auto x = make_record(offset, epoch);
  x.value = std::make_shared<const std::string>("{\"image\": \"aGFsbG8=\"" + more + "}");
  return x;
}

/// A BMP header that announces so many pixels.
messaging::record make_bitmap(int64_t offset, uint32_t width, uint32_t height) {
  std::string x(64, '\0');
  const auto put = [&x](size_t at, uint32_t value) {
    for (size_t i = 0; i < 4; ++i)
      x[at + i] = static_cast<char>(value >> (8 * i));
  };
  x[0] = 'B';
  x[1] = 'M';
  put(2, 64);
  put(10, 54);
  put(14, 40);
  put(18, width);
  put(22, height);
  x[26] = 1;
  x[28] = 24;
  auto result = make_record(offset);
  result.value = std::make_shared<const std::string>(std::move(x));
  return result;
}

struct decoder_log {
  std::vector<messaging::record_id> asked;
  std::deque<std::pair<decode_request, caf::typed_response_promise<decoded_job>>> open;

  void answer() {
    auto [request, promise] = open.front();
    open.pop_front();
    promise.deliver(decode(*request.source, messaging::job_limits{}));
  }
};

/// Answers the oldest request at each tick: a promise must be kept within its actor.
caf::behavior fake_decoder(caf::event_based_actor* self, std::shared_ptr<decoder_log> log) {
  return {
    [self, log](const decode_request& x) -> caf::result<decoded_job> {
      log->asked.push_back(x.source->id);
      log->open.emplace_back(x, self->make_response_promise<decoded_job>());
      return log->open.back().second;
    },
    [log](atom::tick) { log->answer(); },
  };
}

class Reading : public Dispatcher {
protected:
  ~Reading() override { log->open.clear(); }

  void start_with_decoder(uint32_t slot_count = 1) {
    reader = spawn(fake_decoder, log);
    start(slot_count, [this](dispatcher_settings& s) {
      s.make_neighbours = [this](const dispatcher_actor&) {
        auto all = fake_neighbours();
        all.decoder = caf::actor_cast<decoder_actor>(reader);
        return all;
      };
    });
  }

  void read() {
    ASSERT_FALSE(log->open.empty());
    send(reader, atom::tick{});
  }

  std::shared_ptr<decoder_log> log = std::make_shared<decoder_log>();
  caf::actor reader;
};

} // namespace

TEST_F(Reading, NothingIsReadBeforeItsRecordIsInTheLedgerAndBegun) {
  acknowledging = false;
  start_with_decoder();
  fetch(make_json(7));
  EXPECT_EQ(ledger()["in_flight"], 1);
  EXPECT_TRUE(log->asked.empty());
  EXPECT_GT(stored_map().begun_below.value_or(0), 7);
  acknowledge_commit();
  EXPECT_EQ(log->asked.size(), 1u);
  EXPECT_EQ(requests(), 0u);
  read();
  EXPECT_EQ(requests(), 1u);
  succeed();
  acknowledge_last();
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(credit->bytes(), 0u);
}

TEST_F(Reading, WhatKilledAnOwnerIsReadAloneAndOnlyWhenThatAttemptIsOnRecord) {
  start_with_decoder(2);
  acknowledging = false;
  messaging::offset_map map;
  map.attempts = {{2, 1}, {3, 1}};
  map.begun_below = 6;
  assign_from(p0, 2, 2, map);
  for (auto offset : {2, 3})
    fetch(make_json(offset, "", 2));
  EXPECT_TRUE(log->asked.empty());
  EXPECT_EQ(stored_map().attempts, (std::map<int64_t, uint32_t>{{2, 2}, {3, 1}}));
  acknowledge_commit();
  ASSERT_EQ(log->asked.size(), 1u);
  EXPECT_EQ(log->asked[0].offset, 2);
  read();
  EXPECT_EQ(status().running, 1u);
  EXPECT_EQ(log->asked.size(), 1u) << "the other one waits until that is over";
}

TEST_F(Reading, ARecordThatHasKilledTooManyOwnersIsNotReadAgain) {
  start_with_decoder();
  messaging::offset_map map;
  map.attempts = {{2, 3}};
  map.begun_below = 6;
  assign_from(p0, 2, 2, map);
  fetch(make_json(2, "", 2));
  EXPECT_TRUE(log->asked.empty());
  EXPECT_EQ(header(outbox().at(0), "__connect.errors.exception.class.name"), "max_attempts");
}

TEST_F(Reading, IsAheadOfTheSlotsButNotFar) {
  start_with_decoder(2);
  for (auto offset : {0, 1, 2, 3, 4, 5})
    fetch(make_json(offset));
  EXPECT_EQ(log->asked.size(), 1u) << "one at a time";
  for (auto i = 0; i < 4; ++i)
    read();
  EXPECT_EQ(status().running, 2u);
  EXPECT_EQ(log->asked.size(), 4u) << "two run, two wait";
  EXPECT_TRUE(log->open.empty());
  succeed(0);
  EXPECT_EQ(log->asked.size(), 5u);
}

TEST_F(Reading, PlainImagesNeedNoDecoderAndPassWhatItHas) {
  start_with_decoder();
  fetch(make_json(0));
  fetch(make_record(1));
  ASSERT_EQ(requests(), 1u);
  EXPECT_EQ(slots[0]->requests[0].jobs.at(0).job->source.id.offset, 1);
}

TEST_F(Reading, WhatIsNoJobBecomesADeadLetterWithTheReason) {
  start_with_decoder();
  fetch(make_json(0, ", \"schema\": \"other/9\""));
  read();
  EXPECT_EQ(requests(), 0u);
  ASSERT_EQ(outbox().size(), 1u);
  EXPECT_EQ(header(outbox()[0], "__connect.errors.exception.class.name"), "unknown_schema");
  EXPECT_EQ(header(outbox()[0], "ziyu-attempts"), "0");
  acknowledge_last();
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(stored.back().second, 1);
}

TEST_F(Reading, AnIdInTheJsonMayBeADuplicate) {
  start_with_decoder();
  for (auto offset : {0, 1}) {
    fetch(make_json(offset, ", \"job_id\": \"a\""));
    read();
    succeed();
    const auto document = nlohmann::json::parse(*outbox().back().content->value);
    EXPECT_EQ(document.at("duplicate_id").get<bool>(), offset == 1);
  }
}

TEST_F(Reading, GivesItsCreditBackWhenThePartitionGoesMeanwhile) {
  start_with_decoder();
  fetch(make_json(0));
  fetch(make_json(1));
  revoke({p0}, 1);
  EXPECT_EQ(credit->jobs(), 0u);
  assign({p0}, 2);
  fetch(make_json(0, "", 2));
  read(); // the answer to the first request comes too late
  EXPECT_EQ(requests(), 0u);
  read();
  EXPECT_EQ(requests(), 1u);
  succeed();
  acknowledge_last();
  EXPECT_EQ(credit->bytes(), 0u);
  EXPECT_EQ(credit->jobs(), 0u);
}

TEST_F(Reading, ADecoderThatDoesNotAnswerStopsNoPlainImageAndEndsInADeadLetter) {
  start_with_decoder();
  fetch(make_json(0));
  advance(31s, 1s);
  EXPECT_EQ(log->asked.size(), 2u);
  fetch(make_record(1));
  succeed();
  EXPECT_EQ(outbox().size(), 1u);
  advance(62s, 1s);
  EXPECT_EQ(log->asked.size(), 3u);
  ASSERT_EQ(outbox().size(), 2u);
  EXPECT_EQ(header(outbox()[1], "__connect.errors.exception.class.name"), "bad_dataref");
}

TEST_F(Dispatcher, RefusesAnImageOfTooManyPixelsByItsHeader) {
  start(1, [](dispatcher_settings& s) { s.limits.max_pixels = 10'000; });
  fetch(make_bitmap(0, 100, 100));
  fetch(make_bitmap(1, 20'000, 20'000));
  EXPECT_EQ(requests(), 1u);
  succeed();
  ASSERT_EQ(outbox().size(), 2u);
  EXPECT_EQ(header(outbox()[1], "__connect.errors.exception.class.name"), "image_too_large");
  EXPECT_EQ(header(outbox()[1], "__connect.errors.exception.message"),
            "the image's header announces 400000000 pixels, jobs.max_pixels is 10000");
}

TEST_F(Dispatcher, ThePixelsOfWhatRunsAreBoundedAndNobodyPassesWhoWaitsForThem) {
  credit = std::make_shared<intake>(intake::limits{64, 1'000'000});
  start(3);
  fetch(make_bitmap(0, 400, 500)); // 600 KB
  fetch(make_bitmap(1, 400, 500));
  fetch(make_bitmap(2, 1, 1));
  EXPECT_EQ(status().running, 1u);
  EXPECT_EQ(credit->bytes(), 300u + 600'000u);
  succeed(0);
  EXPECT_EQ(status().running, 2u);
  for (auto i = 0u; i < 3; ++i)
    if (!slots[i]->open.empty())
      succeed(i);
  fetch(make_bitmap(3, 4'000, 5'000));
  EXPECT_EQ(status().running, 1u) << "a single one may have more";
}

TEST(Decoder, ReadsAJobAndWhatItsImageAnnounces) {
  const auto plain = decode(make_bitmap(0, 10, 20), {});
  ASSERT_TRUE(plain.job);
  EXPECT_EQ(plain.pixels_bytes, 10u * 20 * 3);
  EXPECT_EQ(plain.image_bytes, 0u) << "the record's own";
  const auto json = decode(make_json(0), {});
  ASSERT_TRUE(json.job);
  EXPECT_EQ(*json.job->image, "hallo");
  EXPECT_EQ(json.image_bytes, 5u);
  EXPECT_EQ(json.pixels_bytes, 0u) << "no header that is known: the worker will say so";
  const auto none = decode(make_json(0, ", \"image\": \"\""), {});
  EXPECT_FALSE(none.job);
  EXPECT_EQ(none.reason.value_or(error{}).code, errc::unknown_schema);
}

} // namespace ziyu::test
