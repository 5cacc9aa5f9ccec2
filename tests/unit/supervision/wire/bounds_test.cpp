// What a stream of frames may contain, depending on its sender.

#include "supervision/wire/frames.hpp"

#include <gtest/gtest.h>

#include <cstring>

using namespace ziyu;
using namespace ziyu::wire;

namespace {

std::string header_bytes(uint8_t type, uint32_t body_size) {
  std::string out(header_size, '\0');
  std::memcpy(out.data(), &magic, 2);
  std::memcpy(out.data() + 2, &version, 1);
  std::memcpy(out.data() + 3, &type, 1);
  std::memcpy(out.data() + 4, &body_size, 4);
  return out;
}

std::vector<frame> all_types() {
  return {assign{}, batch{},        trim{},          stop{},    ready{},  result{},  trimmed{},
          spawn{},  server_ready{}, server_failed{}, spawned{}, exited{}, profile{}, profiled{}};
}

} // namespace

TEST(FrameBounds, EachTypeHasItsOwnAndOnlyJobsHaveTheLargest) {
  for (const auto& x : all_types()) {
    const auto type = static_cast<uint8_t>(x.index());
    const auto most = max_body_of(type);
    EXPECT_TRUE(decode_header(header_bytes(type, most))) << name_of(type);
    const auto above = decode_header(header_bytes(type, most + 1));
    ASSERT_FALSE(above) << name_of(type);
    EXPECT_EQ(above.error().code, errc::bad_frame);
    EXPECT_NE(above.error().message.find(name_of(type)), std::string::npos);
    EXPECT_LE(encode(x).size(), header_size + most + 200) << name_of(type);
    if (!std::holds_alternative<batch>(x)) {
      EXPECT_LE(most, 16u << 20) << name_of(type);
    }
  }
}

TEST(FrameBounds, AnswersOfAWholeModelFit) {
  result x;
  x.answers.resize(1);
  x.answers[0].top_k.assign(
    1000, {0, 0.001f, std::string(1000, 'x')}); // the most that model.top_k allows
  const auto bytes = encode(x);
  EXPECT_TRUE(decode_header(bytes, stream::from_worker));
  EXPECT_TRUE(decode_header(encode(ready{1, 2, {1, 2, 3, 4}}), stream::from_worker));
  EXPECT_TRUE(decode_header(encode(trimmed{{1, 2, 3, 4}, {1, 2, 3, 4}, 9}), stream::from_worker));
  EXPECT_TRUE(decode_header(encode(exited{1, 2, 3, 4}), stream::from_server));
  EXPECT_TRUE(decode_header(encode(spawn{1}), stream::to_server));
  EXPECT_TRUE(decode_header(encode(profile{1, 14}), stream::to_worker));
}

TEST(FrameBounds, AStreamTakesOnlyTheTypesOfItsWriter) {
  size_t taken[5] = {};
  for (const auto& x : all_types())
    for (auto from : {stream::any, stream::to_worker, stream::from_worker, stream::to_server,
                      stream::from_server})
      taken[static_cast<size_t>(from)] += decode_header(encode(x), from).has_value();
  EXPECT_EQ(taken[0], std::variant_size_v<frame>);
  EXPECT_EQ(taken[1], 5u); // assign, batch, trim, stop, profile
  EXPECT_EQ(taken[2], 4u); // ready, result, trimmed, profiled
  EXPECT_EQ(taken[3], 2u); // spawn, stop
  EXPECT_EQ(taken[4], 4u); // server_ready, server_failed, spawned, exited
  const auto refused = decode_header(encode(batch{}), stream::from_worker);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "a frame \"batch\", which this peer does not take");
}

TEST(FrameBounds, AReaderRefusesALargeFrameAtItsHeader) {
  frame_reader reader{stream::from_worker};
  reader.feed(header_bytes(13, 200u << 20)); // profiled
  EXPECT_FALSE(reader.next());
}

TEST(FrameBounds, AReaderTellsWhatItHasOfAFrame) {
  frame_reader reader{stream::from_worker};
  const auto bytes = encode(result{});
  reader.feed(bytes);
  reader.feed(std::string_view{bytes}.substr(0, 5));
  EXPECT_TRUE(reader.next().value().has_value());
  EXPECT_EQ(reader.pending(), 5u);
  EXPECT_FALSE(reader.next().value().has_value());
  reader.feed(std::string_view{bytes}.substr(5));
  EXPECT_TRUE(reader.next().value().has_value());
  EXPECT_EQ(reader.pending(), 0u);
}
