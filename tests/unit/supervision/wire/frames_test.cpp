#include "supervision/wire/frames.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>

using namespace ziyu;
using namespace ziyu::wire;

namespace {

const memory_reading some_memory{1'234'567, 89'000'000, 1, std::numeric_limits<uint64_t>::max()};

/// At least one of each type, with every field set to something that is not its
/// default.
std::vector<frame> samples() {
  answer good;
  good.top_k = {{3, 0.875f, "金毛犬"}, {0, 0.125f, "零"}};
  good.width = 4032;
  good.height = 3024;
  good.decode_us = 11;
  good.preprocess_us = 22;
  good.inference_us = 33;
  answer bad;
  bad.error_code = "undecodable_image";
  bad.error_message = "不是图像";
  return {
    assign{3, uint64_t{1} << 40, "retain_tensors:6MiB"},
    batch{std::numeric_limits<uint64_t>::max(),
          5,
          {{"crash", std::string("\0\xff\x89PNG", 6)}, {}, {"", "图"}}},
    batch{},
    trim{},
    stop{},
    ready{4321, 1'500, some_memory},
    result{7, {good}, -4392, some_memory},
    result{8, {bad, good, {}}, 1, {}},
    result{},
    trimmed{some_memory, {1, 2, 3, 4}, 99},
    spawn{17},
    server_ready{1,
                 "数字",
                 "1",
                 std::string(64, 'a'),
                 "fp32",
                 "reduced",
                 "fp32 compiled",
                 "no code",
                 10,
                 {900, 1'700},
                 250'000,
                 some_memory},
    server_failed{"model_missing", "models/digits/1 is not there"},
    spawned{17, -1, 2'000, "fork: Cannot allocate memory"},
    exited{4321, 3, 9, uint64_t{1} << 33},
    profile{profile::dump, 14},
    profiled{profile::dump, "没有", 900, 50, 10, 1 << 20, "heap_v2/16384\n", "maps\n"},
  };
}

std::string header_bytes(uint16_t mark, uint8_t ver, uint8_t type, uint32_t body_size) {
  std::string out(header_size, '\0');
  std::memcpy(out.data(), &mark, 2);
  std::memcpy(out.data() + 2, &ver, 1);
  std::memcpy(out.data() + 3, &type, 1);
  std::memcpy(out.data() + 4, &body_size, 4);
  return out;
}

expected<frame> decode(std::string_view bytes) {
  auto head = decode_header(bytes);
  if (!head)
    return tl::unexpected(head.error());
  return decode_body(*head, bytes.substr(header_size));
}

/// All frames that `reader` holds by now; fails the test on an error.
void drain(frame_reader& reader, std::vector<frame>& to) {
  for (;;) {
    auto next = reader.next();
    ASSERT_TRUE(next) << next.error().describe();
    if (!*next)
      return;
    to.push_back(std::move(**next));
  }
}

} // namespace

TEST(Frames, SamplesCoverEveryType) {
  std::vector<bool> seen(std::variant_size_v<frame>);
  for (const auto& x : samples())
    seen[x.index()] = true;
  for (size_t i = 0; i < seen.size(); ++i)
    EXPECT_TRUE(seen[i]) << "no sample of type " << i;
}

TEST(Frames, RoundTripEveryType) {
  for (const auto& x : samples()) {
    const auto bytes = encode(x);
    const auto head = decode_header(bytes);
    ASSERT_TRUE(head) << head.error().describe();
    EXPECT_EQ(head->type, x.index());
    EXPECT_EQ(head->body_size, bytes.size() - header_size);
    const auto back = decode(bytes);
    ASSERT_TRUE(back) << back.error().describe();
    EXPECT_TRUE(*back == x) << "type " << x.index();
  }
}

TEST(Frames, BeginWithTheirMarkInLittleEndian) {
  const auto bytes = encode(spawn{0x0102030405060708});
  EXPECT_EQ(bytes.substr(0, 2), "ZY") << "as a person sees it in a dump";
  EXPECT_EQ(bytes.substr(header_size), "\x08\x07\x06\x05\x04\x03\x02\x01");
}

TEST(Frames, ABodyCutAtAnyByteIsRefused) {
  for (const auto& x : samples()) {
    const auto bytes = encode(x);
    const auto head = decode_header(bytes).value();
    const auto body = std::string_view{bytes}.substr(header_size);
    for (size_t size = 0; size < body.size(); ++size) {
      // A copy of its own, so that a read past the end would be seen.
      const std::string cut{body.substr(0, size)};
      const auto back = decode_body(head, cut);
      ASSERT_FALSE(back) << "type " << x.index() << " cut to " << size;
      EXPECT_EQ(back.error().code, errc::bad_frame);
    }
  }
}

TEST(Frames, ABodyWithBytesLeftOverIsRefused) {
  for (const auto& x : samples()) {
    const auto bytes = encode(x) + '\0';
    const auto back = decode(bytes);
    ASSERT_FALSE(back) << "type " << x.index();
    EXPECT_EQ(back.error().code, errc::bad_frame);
  }
}

TEST(Frames, AHeaderCutAtAnyByteIsRefused) {
  const auto bytes = encode(stop{});
  for (size_t size = 0; size < header_size; ++size) {
    const auto head = decode_header(std::string_view{bytes}.substr(0, size));
    ASSERT_FALSE(head) << size;
    EXPECT_EQ(head.error().code, errc::bad_frame);
  }
}

TEST(Frames, TheHeaderSaysWhatIsWrongWithIt) {
  const auto message_of = [](const std::string& bytes) {
    const auto head = decode_header(bytes);
    EXPECT_FALSE(head);
    EXPECT_EQ(head ? errc::io : head.error().code, errc::bad_frame);
    return head ? std::string{} : head.error().message;
  };
  EXPECT_EQ(message_of("GET / HTTP/1.1"), "invalid bytes where a frame should begin");
  EXPECT_EQ(message_of(header_bytes(magic, version + 1, 0, 0)),
            "the peer speaks protocol version " + std::to_string(version + 1) + ", we speak "
              + std::to_string(version));
  EXPECT_EQ(message_of(header_bytes(magic, version, std::variant_size_v<frame>, 0)),
            "unknown frame type " + std::to_string(std::variant_size_v<frame>));
  EXPECT_EQ(message_of(header_bytes(magic, version, 255, 0)), "unknown frame type 255");
  EXPECT_EQ(message_of(header_bytes(magic, version, 1, max_body_size + 1)),
            "a frame \"batch\" of " + std::to_string(max_body_size + 1) + " bytes, at most "
              + std::to_string(max_body_size) + " are allowed");
  EXPECT_TRUE(decode_header(header_bytes(magic, version, 1, max_body_size)));
}

TEST(Frames, ALengthBeyondTheBodyIsRefusedWithoutAllocatingIt) {
  // An `assign` whose text claims 4 GiB.
  std::string body(4 + 8, '\0');
  body += "\xff\xff\xff\xff";
  body += "text";
  EXPECT_FALSE(decode_body({0, static_cast<uint32_t>(body.size())}, body));
  // A `result` of one answer that claims four milliards of labels.
  std::string scores(8, '\0'); // attempt id
  scores += std::string("\1\0\0\0", 4) + std::string(8, '\0') + "\xff\xff\xff\xff"
            + std::string(100, '\0');
  EXPECT_FALSE(decode_body({5, static_cast<uint32_t>(scores.size())}, scores));
}

TEST(Frames, ABatchOfMoreJobsThanAllowedIsRefused) {
  batch x;
  x.jobs.resize(max_batch);
  EXPECT_TRUE(decode(encode(x)));
  x.jobs.resize(max_batch + 1);
  EXPECT_FALSE(decode(encode(x))) << "empty jobs would take much more memory than bytes";
  result y;
  y.answers.resize(max_batch);
  EXPECT_TRUE(decode(encode(y)));
  y.answers.resize(max_batch + 1);
  EXPECT_FALSE(decode(encode(y)));
}

TEST(Frames, RandomBodiesNeverDoHarm) {
  std::mt19937 random{20260101};
  size_t accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    header head;
    head.type = static_cast<uint8_t>(random() % std::variant_size_v<frame>);
    std::string body(random() % 96, '\0');
    for (auto& x : body) // mostly small numbers, so that lengths often fit
      x = static_cast<char>(random() % 4 == 0 ? random() : random() % 3);
    head.body_size = static_cast<uint32_t>(body.size());
    const auto back = decode_body(head, body);
    if (!back) {
      ASSERT_EQ(back.error().code, errc::bad_frame);
      continue;
    }
    // What was accepted says just what the bytes said.
    ++accepted;
    ASSERT_EQ(encode(*back).substr(header_size), body);
  }
  EXPECT_GT(accepted, 0u) << "else this test says nothing of accepted bodies";
}

TEST(Frames, OneFlippedByteNeverDoesHarm) {
  for (const auto& x : samples()) {
    const auto bytes = encode(x);
    for (size_t at = 0; at < bytes.size(); ++at)
      for (auto mask : {0x01, 0x80, 0xff}) {
        auto damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ mask);
        frame_reader reader;
        reader.feed(damaged);
        const auto next = reader.next();
        if (next && *next) {
          EXPECT_FALSE(**next == x) << "type " << x.index() << " byte " << at;
        } else if (!next) {
          EXPECT_EQ(next.error().code, errc::bad_frame);
        }
      }
  }
}

TEST(PatchMemory, FillsInTheEndOfAnEncodedResult) {
  for (const auto& sample : samples()) {
    const auto original = std::get_if<result>(&sample);
    if (original == nullptr)
      continue;
    auto bytes = encode(sample);
    const memory_reading memory{5, 6, 7, 8};
    patch_memory(bytes.data(), bytes.size(), -77, memory);
    auto wanted = *original;
    wanted.delta_live = -77;
    wanted.memory = memory;
    const auto back = decode(bytes);
    ASSERT_TRUE(back) << back.error().describe();
    EXPECT_TRUE(*back == frame{wanted});
  }
}

TEST(FrameReader, CutsFramesOutOfSingleBytes) {
  const auto wanted = samples();
  frame_reader reader;
  std::vector<frame> got;
  for (const auto& x : wanted)
    for (const auto c : encode(x)) {
      reader.feed({&c, 1});
      drain(reader, got);
    }
  EXPECT_TRUE(got == wanted);
}

TEST(FrameReader, CutsFramesOutOfRandomChunks) {
  std::mt19937 random{7};
  for (int round = 0; round < 200; ++round) {
    std::vector<frame> wanted;
    std::string stream;
    const auto all = samples();
    for (int i = 0; i < 40; ++i) {
      wanted.push_back(all[random() % all.size()]);
      if (auto big = std::get_if<batch>(&wanted.back()); big && i % 5 == 0)
        big->jobs.resize(1), big->jobs[0].image = std::string(random() % 5'000, 'i');
      stream += encode(wanted.back());
    }
    frame_reader reader;
    std::vector<frame> got;
    for (size_t at = 0; at < stream.size();) {
      const auto size = std::min<size_t>(1 + random() % 700, stream.size() - at);
      reader.feed(std::string_view{stream}.substr(at, size));
      at += size;
      if (random() % 3 == 0) // the reader may also be asked later
        drain(reader, got);
    }
    drain(reader, got);
    ASSERT_TRUE(got == wanted) << "round " << round;
  }
}

TEST(FrameReader, WaitsForTheRestOfAFrame) {
  const auto bytes = encode(batch{1, 1, {{"", "image"}}});
  frame_reader reader;
  EXPECT_FALSE(reader.next().value());
  reader.feed(std::string_view{bytes}.substr(0, header_size));
  EXPECT_FALSE(reader.next().value());
  reader.feed(std::string_view{bytes}.substr(header_size, 3));
  EXPECT_FALSE(reader.next().value());
  reader.feed(std::string_view{bytes}.substr(header_size + 3));
  EXPECT_TRUE(reader.next().value() == frame(batch{1, 1, {{"", "image"}}}));
  EXPECT_FALSE(reader.next().value());
}

TEST(FrameReader, HandsOutTheFramesBeforeRubbishAndThenStaysUnusable) {
  frame_reader reader;
  reader.feed(encode(spawn{1}) + encode(spawn{2}) + "Segmentation fault");
  EXPECT_TRUE(reader.next().value() == frame{spawn{1}});
  EXPECT_TRUE(reader.next().value() == frame{spawn{2}});
  EXPECT_EQ(reader.next().error().code, errc::bad_frame);
  reader.feed(encode(spawn{3}));
  EXPECT_EQ(reader.next().error().code, errc::bad_frame);
}

TEST(FrameReader, RefusesAnOversizedFrameBeforeItsBodyComes) {
  frame_reader reader;
  reader.feed(header_bytes(magic, version, 1, max_body_size + 1));
  EXPECT_EQ(reader.next().error().code, errc::bad_frame);
}

TEST(FrameReader, RefusesABodyThatDoesNotFitItsType) {
  frame_reader reader;
  reader.feed(header_bytes(magic, version, 2, 1) + "x"); // a `trim` has no body
  EXPECT_EQ(reader.next().error().code, errc::bad_frame);
}
