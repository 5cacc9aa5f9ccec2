#pragma once

#include "actors/protocol.hpp"
#include "supervision/leak_report.hpp"
#include "supervision/memory_probe.hpp"

#include <optional>

namespace ziyu::actors {

/// The port to worker processes, their memory readings and the fork server. Real processes
/// (`process_host`) or a simulation stand behind it. Never blocks; only the supervisor uses
/// it.
class worker_host {
public:
  virtual ~worker_host() = default;

  /// Starts fork server number `server` for the model in `folder`; returns its pid. Its frames come
  /// to `supervisor` as `server_frame`, its end as `server_closed`. Several may run at once.
  /// @param server Unique for the life of the host.
  virtual expected<int32_t> start_server(uint64_t server, const std::string& folder,
                                         caf::actor supervisor) = 0;

  /// Asks a fork server to end (its workers stay), or kills it. No effect when it has ended.
  virtual void stop_server(uint64_t server, bool kill) = 0;

  /// False when the fork server has ended (and is reaped), or was never started.
  virtual bool server_running(uint64_t server) = 0;

  /// False from the moment when an ending fork server begins to release its pages.
  virtual bool server_has_memory(uint64_t server) = 0;

  /// Asks a fork server for worker number `worker`; returns its channel.
  /// `wire::spawned` follows as `server_frame`, `wire::ready` as `channel_frame`.
  virtual expected<caf::actor> spawn(uint64_t server, uint64_t worker, caf::actor supervisor) = 0;

  /// Worker number `worker` runs as `pid`: from now on it can be signalled.
  virtual void adopt(uint64_t worker, int32_t pid) = 0;

  /// Sends a signal; does nothing when the worker is gone.
  virtual void signal(uint64_t worker, int number) = 0;

  /// True when the process of an adopted worker has ended.
  virtual bool gone(uint64_t worker) = 0;

  /// True when its process is stopped: it would take a job and not answer.
  virtual bool stopped(uint64_t worker) = 0;

  /// Forgets a worker that is gone (and reaps it if it has become our child).
  virtual void forget(uint64_t worker) = 0;

  virtual expected<supervision::process_memory> read_memory(int32_t pid) = 0;
  virtual expected<supervision::container_memory> read_container() = 0;

  /// How many processes the kernel has killed for lack of memory; empty: there is no counter.
  virtual std::optional<uint64_t> oom_kills() = 0;

  /// Has a leak explained in another process; returns the explanation's number.
  virtual expected<uint64_t> explain(const supervision::leak_request& x) = 0;

  /// The report of that number when it is complete, or why there is none. It is returned
  /// once.
  virtual std::optional<expected<supervision::leak_report>> explained(uint64_t number) = 0;

  /// Abandons an explanation.
  virtual void stop_explaining(uint64_t number) = 0;
};

} // namespace ziyu::actors
