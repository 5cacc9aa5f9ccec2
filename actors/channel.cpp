#include "actors/channel.hpp"

#include <caf/io/broker.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/system_messages.hpp>
#include <caf/stateful_actor.hpp>

#include <fcntl.h>
#include <sys/socket.h>

#include <type_traits>

namespace ziyu::actors {

namespace {

constexpr size_t read_size = 64 * 1024;

/// Time for the rest of a frame that has begun to arrive. A frame is written at once, and this end
/// reads at once: only a peer that hangs or is hostile exceeds it.
constexpr auto frame_limit = std::chrono::seconds{10};

/// Added for bytes that arrived while this process itself was stopped.
constexpr auto frame_grace = std::chrono::seconds{1};

struct channel_state {
  channel_state() = default;

  wire::frame_reader reader;
  wire::conversation talk; ///< The conversation with a worker.
  caf::actor owner;
  bool closed = false;
  unique_fd socket;               ///< The scribe's, by another descriptor. None once it is closed.
  uint64_t frames = 0;            ///< Complete frames so far.
  std::optional<uint64_t> timed;  ///< The frame with a deadline, by the number of frames before it.
  std::optional<uint64_t> graced; ///< The frame whose deadline has passed, likewise.
  static inline const char* name = "channel";
};

static_assert(!std::is_aggregate_v<channel_state>);

using self_ptr = caf::stateful_actor<channel_state, caf::io::broker>*;

caf::io::connection_handle adopt(self_ptr self, unique_fd socket) {
  using caf::io::network::default_multiplexer;
  auto& backend = dynamic_cast<default_multiplexer&>(self->system().middleman().backend());
  // The multiplexer writes until the socket would block.
  ::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) | O_NONBLOCK);
  self->state.socket = unique_fd{::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0)};
  auto scribe = backend.new_scribe(static_cast<caf::io::network::native_socket>(socket.release()));
  auto handle = scribe->hdl();
  self->add_scribe(std::move(scribe));
  self->configure_read(handle, caf::io::receive_policy::at_most(read_size));
  return handle;
}

/// The part that both kinds of channel share.
/// @param on_frame Called with each frame; may refuse it.
/// @param on_sent Called with the bytes of each frame for the peer.
/// @param on_closed Called once, with the reason if the peer broke the protocol.
template <class OnFrame, class OnSent, class OnClosed>
caf::behavior behave(self_ptr self, unique_fd socket, wire::stream from, OnFrame on_frame,
                     OnSent on_sent, OnClosed on_closed) {
  self->state.reader = wire::frame_reader{from};
  auto handle = adopt(self, std::move(socket));
  auto close = [self, on_closed](std::optional<error> reason) {
    if (std::exchange(self->state.closed, true))
      return;
    self->state.socket.reset();
    on_closed(std::move(reason));
    self->quit();
  };
  return {
    [=](const caf::io::new_data_msg& x) {
      auto& reader = self->state.reader;
      reader.feed({reinterpret_cast<const char*>(x.buf.data()), x.buf.size()});
      for (;;) {
        auto next = reader.next();
        if (!next) {
          close(next.error());
          return;
        }
        if (!*next)
          break;
        ++self->state.frames;
        auto taken = on_frame(std::make_shared<const wire::frame>(std::move(**next)));
        if (!taken) {
          close(taken.error());
          return;
        }
      }
      if (reader.pending() > 0 && self->state.timed != self->state.frames) {
        self->state.timed = self->state.frames;
        self->delayed_send(self, frame_limit, atom::deadline{}, self->state.frames);
      }
    },
    [=](atom::deadline, uint64_t frame) {
      if (self->state.frames != frame || self->state.reader.pending() == 0)
        return;
      if (std::exchange(self->state.graced, frame) != frame)
        self->delayed_send(self, frame_grace, atom::deadline{}, frame);
      else
        close(error{errc::bad_frame, "the rest of a frame did not come within "
                                       + std::to_string(frame_limit.count()) + " s"});
    },
    [=](const caf::io::connection_closed_msg&) { close(std::nullopt); },
    [=](const outgoing_frame& x) {
      if (self->state.closed)
        return;
      on_sent(*x.bytes);
      self->write(handle, x.bytes->size(), x.bytes->data());
      self->flush(handle);
    },
    [=](atom::own, const caf::actor& owner) { self->state.owner = owner; },
    // What the ending worker has sent is read; then the socket is at its end.
    [=](atom::ending) { ::shutdown(self->state.socket.get(), SHUT_RDWR); },
  };
}

} // namespace

caf::actor spawn_channel(caf::actor_system& system, uint64_t worker, unique_fd socket,
                         caf::actor supervisor, on_assigned assigned) {
  // Copyable for the actor's factory; its only call empties it.
  auto holder = std::make_shared<unique_fd>(std::move(socket));
  return system.middleman().spawn_broker([=](self_ptr self) {
    self->state.owner = supervisor;
    return behave(
      self, std::move(*holder), wire::stream::from_worker,
      [=](std::shared_ptr<const wire::frame> x) -> expected<void> {
        if (auto ok = self->state.talk.hear(*x); !ok)
          return ok;
        // Answers to jobs are for the slot. All other frames of a worker are for its supervisor,
        // also when the slot has gone on to another worker.
        const auto& to = std::holds_alternative<wire::result>(*x) ? self->state.owner : supervisor;
        self->send(to, channel_frame{worker, std::move(x)});
        return {};
      },
      [=](const std::string& bytes) {
        self->state.talk.tell(bytes);
        if (assigned)
          if (const auto head = wire::decode_header(bytes); head && head->type == 0)
            if (auto x = wire::decode_body(*head,
                                           std::string_view{bytes}.substr(wire::header_size)))
              assigned(std::get<wire::assign>(*x));
      },
      [=](std::optional<error> reason) {
        // The supervisor tells the slot, since it can say why.
        self->send(supervisor, channel_closed{worker, std::move(reason)});
      });
  });
}

caf::actor spawn_control(caf::actor_system& system, uint64_t server, unique_fd socket,
                         caf::actor supervisor) {
  auto holder = std::make_shared<unique_fd>(std::move(socket));
  return system.middleman().spawn_broker([=](self_ptr self) {
    return behave(
      self, std::move(*holder), wire::stream::from_server,
      [=](std::shared_ptr<const wire::frame> x) -> expected<void> {
        self->send(supervisor, server_frame{server, std::move(x)});
        return {};
      },
      [](const std::string&) {},
      [=](std::optional<error> reason) {
        self->send(supervisor, server_closed{server, std::move(reason)});
      });
  });
}

} // namespace ziyu::actors
