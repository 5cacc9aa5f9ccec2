#include "supervision/wire/socket.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace ziyu;
using namespace ziyu::wire;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds patience{20'000};

/// A pair of sockets, closed with the test.
struct ends {
  ends() {
    auto pair = socket_pair();
    if (pair)
      std::tie(left, right) = std::move(*pair);
    else
      ADD_FAILURE() << pair.error().describe();
  }
  unique_fd left, right;
};

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

} // namespace

TEST(UniqueFd, ClosesOnceAndMoves) {
  int number = -1;
  {
    ends pair;
    number = pair.left.get();
    unique_fd owner{std::move(pair.left)};
    EXPECT_FALSE(pair.left);
    EXPECT_EQ(owner.get(), number);
    auto& same = owner;
    owner = std::move(same);
    EXPECT_TRUE(is_open(number)) << "assigned to itself";
    const auto other = pair.right.get();
    owner = std::move(pair.right);
    EXPECT_FALSE(is_open(number)) << "what was owned before is closed";
    EXPECT_EQ(owner.get(), other);
    number = owner.release();
    EXPECT_FALSE(owner);
  }
  EXPECT_TRUE(is_open(number)) << "released";
  unique_fd{number}.reset();
  EXPECT_FALSE(is_open(number));
}

TEST(Socket, PairsDoNotLeakIntoChildren) {
  ends pair;
  for (auto fd : {pair.left.get(), pair.right.get()})
    EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

TEST(Socket, FramesArriveInOrderInBothDirections) {
  ends pair;
  ASSERT_TRUE(send_frame(pair.left.get(), batch{1, 3, {{"", "图像"}}}));
  ASSERT_TRUE(send_frame(pair.left.get(), stop{}));
  ASSERT_TRUE(send_frame(pair.right.get(), spawn{9}));
  EXPECT_TRUE(receive_frame(pair.right.get(), patience)->content
              == frame(batch{1, 3, {{"", "图像"}}}));
  EXPECT_TRUE(receive_frame(pair.right.get(), patience)->content == frame{stop{}});
  EXPECT_TRUE(receive_frame(pair.left.get())->content == frame{spawn{9}});
}

TEST(Socket, AFrameLargerThanTheSocketsBuffersArrivesWhole) {
  ends pair;
  const frame big{batch{1, 1, {{"", std::string(8u << 20, 'x')}}}};
  expected<void> sent = fail(errc::io, "not yet");
  std::thread sender{[&] { sent = send_frame(pair.left.get(), big); }};
  const auto got = receive_frame(pair.right.get(), patience);
  pair.right.reset(); // also ends a sender that is stuck
  sender.join();
  ASSERT_TRUE(got) << got.error().describe();
  EXPECT_TRUE(got->content == big);
  EXPECT_TRUE(sent) << sent.error().describe();
}

TEST(Socket, ADescriptorTravelsWithItsFrame) {
  ends pair, passed;
  ASSERT_TRUE(send_frame(pair.left.get(), spawn{1}, {passed.right.get()}));
  ASSERT_TRUE(send_frame(pair.left.get(), spawn{2}));
  auto first = receive_frame(pair.right.get(), patience);
  ASSERT_TRUE(first) << first.error().describe();
  ASSERT_EQ(first->fds.size(), 1u);
  EXPECT_NE(first->fds[0].get(), passed.right.get()) << "a descriptor of its own";
  EXPECT_TRUE(::fcntl(first->fds[0].get(), F_GETFD) & FD_CLOEXEC);
  auto second = receive_frame(pair.right.get(), patience);
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->content == frame{spawn{2}});
  EXPECT_TRUE(second->fds.empty()) << "each frame has its own or none";
  // The socket that came is the one that was sent: what goes in at the other end comes out here.
  passed.right.reset();
  ASSERT_TRUE(send_frame(passed.left.get(), stop{}));
  EXPECT_TRUE(receive_frame(first->fds[0].get(), patience)->content == frame{stop{}});
}

TEST(Socket, ADescriptorThatNobodyTakesIsClosed) {
  ends pair, passed;
  ASSERT_TRUE(send_frame(pair.left.get(), spawn{1}, {passed.right.get()}));
  passed.right.reset();
  EXPECT_TRUE(receive_frame(pair.right.get(), patience)); // and dropped
  const auto end = receive_frame(passed.left.get(), patience);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, errc::unavailable);
}

TEST(Socket, ReceivingEndsAtItsDeadline) {
  ends pair;
  const auto nothing = receive_frame(pair.right.get(), milliseconds{1});
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, errc::timeout);
  ASSERT_TRUE(write_all(pair.left.get(), std::string_view{encode(spawn{1})}.substr(0, 5)));
  const auto half = receive_frame(pair.right.get(), milliseconds{1});
  ASSERT_FALSE(half);
  EXPECT_EQ(half.error().code, errc::timeout);
}

TEST(Socket, AFrameThatIsThereNeedsNoTime) {
  ends pair;
  ASSERT_TRUE(send_frame(pair.left.get(), spawn{1}));
  const auto got = receive_frame(pair.right.get(), milliseconds{0});
  ASSERT_TRUE(got) << got.error().describe();
  EXPECT_TRUE(got->content == frame{spawn{1}});
  const auto none = receive_frame(pair.right.get(), milliseconds{0});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, errc::timeout);
}

TEST(Socket, APeerThatClosesBetweenFramesIsGone) {
  ends pair;
  ASSERT_TRUE(send_frame(pair.left.get(), spawn{1}));
  pair.left.reset();
  EXPECT_TRUE(receive_frame(pair.right.get(), patience)) << "what it said before still counts";
  for (auto limit : {std::optional<milliseconds>{}, std::optional{patience}}) {
    const auto end = receive_frame(pair.right.get(), limit);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code, errc::unavailable);
  }
}

TEST(Socket, APeerThatClosesInTheMiddleOfAFrameLeavesABadOne) {
  const auto bytes = encode(batch{1, 1, {{"", "image"}}});
  for (size_t size = 1; size < bytes.size(); ++size) {
    ends pair;
    ASSERT_TRUE(write_all(pair.left.get(), std::string_view{bytes}.substr(0, size)));
    pair.left.reset();
    const auto got = receive_frame(pair.right.get(), patience);
    ASSERT_FALSE(got) << size;
    EXPECT_EQ(got.error().code, errc::bad_frame) << size;
  }
}

TEST(Socket, RubbishIsABadFrame) {
  ends pair;
  ASSERT_TRUE(write_all(pair.left.get(), "terminate called after throwing"));
  const auto got = receive_frame(pair.right.get(), patience);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, errc::bad_frame);
}

TEST(Socket, SendingToAPeerThatIsGoneIsAnErrorAndNoSignal) {
  ends pair;
  pair.right.reset();
  const auto sent = send_frame(pair.left.get(), stop{});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, errc::unavailable);
}

TEST(Socket, ANonBlockingSenderWaitsForASlowPeer) {
  ends pair;
  ASSERT_EQ(::fcntl(pair.left.get(), F_SETFL, O_NONBLOCK), 0);
  const frame big{batch{1, 1, {{"", std::string(4u << 20, 'y')}}}};
  expected<void> sent = fail(errc::io, "not yet");
  std::thread sender{[&] { sent = send_frame(pair.left.get(), big); }};
  const auto got = receive_frame(pair.right.get(), patience);
  pair.right.reset();
  sender.join();
  ASSERT_TRUE(got) << got.error().describe();
  EXPECT_TRUE(got->content == big);
  EXPECT_TRUE(sent) << sent.error().describe();
}

TEST(Socket, WhatIsNoSocketIsAnError) {
  unique_fd file{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  ASSERT_TRUE(file);
  EXPECT_EQ(send_frame(file.get(), stop{}).error().code, errc::io);
  EXPECT_EQ(receive_frame(file.get()).error().code, errc::io);
  EXPECT_EQ(receive_frame(-1).error().code, errc::io);
}
