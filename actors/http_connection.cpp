#include "actors/http_connection.hpp"

#include <cerrno>

#include <poll.h>
#include <sys/socket.h>

namespace ziyu::actors {

void http_connection::answer(const http_reply& reply, clock::time_point limit) {
  // What is left of "100 Continue" comes first.
  out_ = out_.substr(sent_) + encode(reply, with_body);
  sent_ = 0;
  interim = false;
  at = phase::writing;
  deadline = limit;
}

void http_connection::ask_to_go_on() {
  out_ = "HTTP/1.1 100 Continue\r\n\r\n";
  interim = true;
}

http_connection::flushed http_connection::flush() {
  while (sent_ < out_.size()) {
    const auto n = ::send(fd.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return flushed::partly;
    if (n < 0)
      return flushed::gone;
    sent_ += static_cast<size_t>(n);
  }
  out_ = {};
  sent_ = 0;
  return flushed::all;
}

short http_connection::wanted_events() const {
  const auto out = at == phase::writing || interim;
  const auto in = (at == phase::reading || at == phase::lingering) && !peer_ended;
  return static_cast<short>((out ? POLLOUT : 0) | (in ? POLLIN : 0));
}

} // namespace ziyu::actors
