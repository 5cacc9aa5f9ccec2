#include "supervision/wire/socket.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ziyu::wire {

namespace {

using clock = std::chrono::steady_clock;

tl::unexpected<error> failed(const char* what) {
  const auto code = errno == EPIPE || errno == ECONNRESET ? errc::unavailable : errc::io;
  return fail(code, std::string{what} + ": " + std::strerror(errno));
}

/// Waits until `fd` has something to read, up to `deadline`. Bytes that are there already are read
/// even after the deadline.
expected<void> wait_readable(int fd, const std::optional<clock::time_point>& deadline) {
  for (;;) {
    auto wait_ms = -1;
    if (deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - clock::now());
      wait_ms = static_cast<int>(std::max<int64_t>(left.count(), 0));
    }
    pollfd entry{fd, POLLIN, 0};
    const auto n = ::poll(&entry, 1, wait_ms);
    if (n > 0)
      return {};
    if (n == 0 && wait_ms == 0)
      return fail(errc::timeout, "no frame before the deadline");
    if (n < 0 && errno != EINTR)
      return failed("poll");
  }
}

/// Descriptors of a frame.
constexpr size_t most_passed = 2;

/// Reads exactly `size` bytes. Descriptors that come with them go to `passed`.
expected<void> read_exactly(int fd, char* to, size_t size,
                            const std::optional<clock::time_point>& deadline,
                            std::vector<unique_fd>& passed) {
  size_t done = 0;
  while (done < size) {
    if (deadline)
      if (auto ok = wait_readable(fd, deadline); !ok)
        return ok;
    iovec part{to + done, size - done};
    alignas(cmsghdr) char control[CMSG_SPACE(most_passed * sizeof(int))];
    msghdr msg{};
    msg.msg_iov = &part;
    msg.msg_iovlen = 1;
    msg.msg_control = control;
    msg.msg_controllen = sizeof control;
    const auto n = ::recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return failed("recvmsg");
    for (auto c = CMSG_FIRSTHDR(&msg); c != nullptr; c = CMSG_NXTHDR(&msg, c))
      if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= c->cmsg_len; at += sizeof(int)) {
          int received = -1;
          std::memcpy(&received, CMSG_DATA(c) + at, sizeof received);
          passed.emplace_back(received);
        }
    if (n == 0)
      return done == 0 ? fail(errc::unavailable, "the peer has closed the socket")
                       : fail(errc::bad_frame, "the socket was closed in the middle of a frame");
    done += static_cast<size_t>(n);
  }
  return {};
}

} // namespace

expected<std::pair<unique_fd, unique_fd>> socket_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    return failed("socketpair");
  return std::pair{unique_fd{fds[0]}, unique_fd{fds[1]}};
}

expected<void> send_frame(int fd, const frame& x, std::initializer_list<int> passed) {
  require(passed.size() <= most_passed, "a frame has no more descriptors than its receiver takes");
  const auto bytes = encode(x);
  size_t done = 0;
  while (done < bytes.size()) {
    iovec part{const_cast<char*>(bytes.data()) + done, bytes.size() - done};
    msghdr msg{};
    msg.msg_iov = &part;
    msg.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(most_passed * sizeof(int))] = {};
    if (passed.size() > 0 && done == 0) {
      msg.msg_control = control;
      msg.msg_controllen = CMSG_SPACE(passed.size() * sizeof(int));
      auto c = CMSG_FIRSTHDR(&msg);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(passed.size() * sizeof(int));
      std::memcpy(CMSG_DATA(c), passed.begin(), passed.size() * sizeof(int));
    }
    const auto n = ::sendmsg(fd, &msg, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      // A non-blocking socket whose peer reads slowly: waits for a bounded time.
      pollfd entry{fd, POLLOUT, 0};
      if (::poll(&entry, 1, 5'000) > 0)
        continue;
      return fail(errc::timeout, "the peer does not read");
    }
    if (n < 0)
      return failed("sendmsg");
    done += static_cast<size_t>(n);
  }
  return {};
}

expected<received> receive_frame(int fd, std::optional<std::chrono::milliseconds> limit,
                                 stream from) {
  std::optional<clock::time_point> deadline;
  if (limit)
    deadline = clock::now() + *limit;
  received result;
  char head_bytes[header_size];
  if (auto ok = read_exactly(fd, head_bytes, header_size, deadline, result.fds); !ok)
    return tl::unexpected(ok.error());
  auto head = decode_header({head_bytes, header_size}, from);
  if (!head)
    return tl::unexpected(head.error());
  std::string body(head->body_size, '\0');
  if (!body.empty())
    if (auto ok = read_exactly(fd, body.data(), body.size(), deadline, result.fds); !ok) {
      auto err = ok.error();
      if (err.code == errc::unavailable)
        err = error{errc::bad_frame, "the socket was closed in the middle of a frame"};
      return tl::unexpected(err);
    }
  auto content = decode_body(*head, body);
  if (!content)
    return tl::unexpected(content.error());
  result.content = std::move(*content);
  return result;
}

} // namespace ziyu::wire
