#pragma once

#include "messaging/events/evidence.hpp"
#include "messaging/events/severity.hpp"

#include <string_view>

namespace ziyu::events {

/// A worker serves a slot from now on.
struct worker_started {
  static constexpr std::string_view type = "worker_started";
  severity level() const { return severity::info; }

  uint32_t slot = 0;
  uint64_t generation = 0;
  int64_t pid = 0;
  uint64_t private_bytes = 0;
  std::optional<model_version> model = {}; ///< That it serves.

  static void fields(auto& self, auto&& f) {
    f("slot", self.slot);
    f("generation", self.generation);
    f("pid", self.pid);
    f("private_bytes", self.private_bytes);
    f("model", self.model);
  }
};

/// Growth per job that is not certain yet.
struct leak_suspected {
  static constexpr std::string_view type = "leak_suspected";
  severity level() const { return severity::info; }

  evidence worker;

  static void fields(auto& self, auto&& f) { f.part(self.worker); }
};

/// Growth of live bytes per job is certain: a leak, or a cache that is not full yet.
struct growth_confirmed {
  static constexpr std::string_view type = "growth_confirmed";
  severity level() const { return severity::warning; }

  evidence worker;

  static void fields(auto& self, auto&& f) { f.part(self.worker); }
};

/// Confirmed growth has ended by itself: a cache is full.
struct growth_ended {
  static constexpr std::string_view type = "growth_ended";
  severity level() const { return severity::info; }

  evidence worker;
  uint64_t grew_for_jobs = 0;
  uint64_t ended_at_bytes = 0; ///< Live bytes above those after the first job.

  static void fields(auto& self, auto&& f) {
    f.part(self.worker);
    f("grew_for_jobs", self.grew_for_jobs);
    f("ended_at_bytes", self.ended_at_bytes);
  }
};

/// No cache explains the growth, or private memory grows without live bytes.
struct leak_confirmed {
  static constexpr std::string_view type = "leak_confirmed";
  severity level() const { return severity::warning; }

  evidence worker;

  static void fields(auto& self, auto&& f) { f.part(self.worker); }
};

/// A place in code.
struct frame {
  std::string function, library; ///< Empty where not known.
  std::optional<std::string> file = {};
  std::optional<uint32_t> line = {};

  static void fields(auto& self, auto&& f) {
    f("function", self.function);
    f("library", self.library);
    f("file", self.file);
    f("line", self.line);
  }
  bool operator==(const frame&) const = default;
};

/// A call stack that memory was lost through. Stacks are innermost first.
struct site {
  int64_t bytes = 0, objects = 0;
  double share = 0; ///< Of all growth, 0..1.
  uint32_t threads = 0;
  std::string cause;
  frame responsible;
  uint64_t common = 0; ///< Index into `full_stack` of the innermost frame that its stacks share.
  std::vector<frame> stack = {}; ///< Without the allocator's frames and those of the worker's loop.
  std::vector<frame> full_stack = {};

  static void fields(auto& self, auto&& f) {
    f("bytes", self.bytes);
    f("objects", self.objects);
    f("share", self.share);
    f("threads", self.threads);
    f("cause", self.cause);
    f("responsible", self.responsible);
    f("common", self.common);
    f("stack", self.stack);
    f("full_stack", self.full_stack);
  }
};

/// The short form of a site.
struct short_site {
  int64_t bytes = 0;
  double share = 0;
  std::string function, library, file;
  uint32_t line = 0;

  static void fields(auto& self, auto&& f) {
    f("bytes", self.bytes);
    f("share", self.share);
    f("function", self.function);
    f("library", self.library);
    f("file", self.file);
    f("line", self.line);
  }
};

/// The growth that a report explains.
struct explained_growth {
  int64_t bytes = 0; ///< Between the two dumps.
  uint64_t jobs = 0;
  slope per_job;

  static void fields(auto& self, auto&& f) {
    f("bytes", self.bytes);
    f("jobs", self.jobs);
    f.part(self.per_job);
  }
};

/// Jobs until the budget.
struct jobs_forecast {
  uint64_t jobs_left = 0, earliest = 0;
  std::optional<uint64_t> latest = {};

  static void fields(auto& self, auto&& f) {
    f("jobs_left", self.jobs_left);
    f("earliest", self.earliest);
    f("latest", self.latest);
  }
};

/// How a report was sampled.
struct sampling_quality {
  uint64_t sample_bytes = 0; ///< Mean bytes between samples; 0: there is no heap profile.
  int64_t estimated_bytes = 0;
  bool calibrated = false; ///< The growth is exact, and sites are scaled to it.

  static void fields(auto& self, auto&& f) {
    f("sample_bytes", self.sample_bytes);
    f("estimated_bytes", self.estimated_bytes);
    f("calibrated", self.calibrated);
  }
};

/// A worker's growth was traced to call stacks.
struct leak_report {
  static constexpr std::string_view type = "leak_report";
  severity level() const { return severity::warning; }

  evidence worker;
  std::string report; ///< The report's id: slot.generation-random.
  std::string cause, reason;
  explained_growth growth;
  std::optional<jobs_forecast> forecast = {}; ///< Empty: growth does not lead to the budget.
  sampling_quality sampling;
  std::vector<site> sites = {}; ///< The largest first.
  std::string flame;            ///< Folded stacks.
  double explain_ms = 0;

  static void fields(auto& self, auto&& f) {
    f.part(self.worker);
    f("report", self.report);
    f("cause", self.cause);
    f("reason", self.reason);
    f("growth", self.growth);
    f("forecast", self.forecast);
    f("sampling", self.sampling);
    f("sites", self.sites);
    f("flame", self.flame);
    f("explain_ms", self.explain_ms);
  }
};

/// The memory of one of Ziyu's own processes grows.
struct self_growth {
  static constexpr std::string_view type = "self_growth";
  severity level() const { return severity::error; }

  std::string process; ///< "control" or "fork_server".
  int64_t pid = 0;
  uint64_t private_bytes = 0;
  std::string reason;

  static void fields(auto& self, auto&& f) {
    f("process", self.process);
    f("pid", self.pid);
    f("private_bytes", self.private_bytes);
    f("reason", self.reason);
  }
};

struct worker_trimmed {
  static constexpr std::string_view type = "worker_trimmed";
  severity level() const { return severity::info; }

  evidence worker;
  uint64_t bytes_recovered = 0;
  std::optional<uint64_t> gpu_bytes_recovered = {};
  double ms = 0;
  bool enough = false; ///< It is judged anew. Else the next rung is due.

  static void fields(auto& self, auto&& f) {
    f.part(self.worker);
    f("bytes_recovered", self.bytes_recovered);
    f("gpu_bytes_recovered", self.gpu_bytes_recovered);
    f("ms", self.ms);
    f("enough", self.enough);
  }
};

/// Another worker serves the slot, and the old one has ended.
struct worker_replaced {
  static constexpr std::string_view type = "worker_replaced";
  severity level() const { return severity::warning; }

  evidence worker; ///< The old one, when its replacement was decided.
  std::string cause, reason;
  uint64_t new_generation = 0;
  int64_t new_pid = 0;
  uint64_t bytes_recovered = 0;
  double ms = 0; ///< From the decision, or the death, until the new worker served the slot.
  /// The report that names the cause, and its largest sites.
  std::optional<std::string> report = {};
  std::optional<std::vector<short_site>> sites = {};

  static void fields(auto& self, auto&& f) {
    f.part(self.worker);
    f("cause", self.cause);
    f("reason", self.reason);
    f("new_generation", self.new_generation);
    f("new_pid", self.new_pid);
    f("bytes_recovered", self.bytes_recovered);
    f("ms", self.ms);
    f("report", self.report);
    f("sites", self.sites);
  }
};

/// The supervisor kills a worker.
struct worker_killed {
  static constexpr std::string_view type = "worker_killed";
  severity level() const { return severity::error; }

  uint32_t slot = 0;
  uint64_t generation = 0;
  int64_t pid = 0;
  std::optional<model_version> model = {}; ///< That it serves.
  std::string code, reason;
  uint64_t private_bytes = 0;

  static void fields(auto& self, auto&& f) {
    f("slot", self.slot);
    f("generation", self.generation);
    f("pid", self.pid);
    f("model", self.model);
    f("code", self.code);
    f("reason", self.reason);
    f("private_bytes", self.private_bytes);
  }
};

/// A worker ended without being told to.
struct worker_died {
  static constexpr std::string_view type = "worker_died";
  severity level() const { return severity::error; }

  uint32_t slot = 0;
  uint64_t generation = 0;
  int64_t pid = 0;
  std::optional<model_version> model = {}; ///< That it serves.
  std::string how;                         ///< "exit code 3", "signal 11", "unknown".
  uint64_t jobs = 0, private_bytes = 0;
  std::optional<std::string> code = {}, reason = {}; ///< If it was killed.
  /// If the kernel killed it for lack of memory: the container at the latest reading.
  std::optional<uint64_t> container_used_bytes = {}, container_limit_bytes = {};
  std::optional<std::string> container_source = {};

  static void fields(auto& self, auto&& f) {
    f("slot", self.slot);
    f("generation", self.generation);
    f("pid", self.pid);
    f("how", self.how);
    f("jobs", self.jobs);
    f("private_bytes", self.private_bytes);
    f("code", self.code);
    f("reason", self.reason);
    f("container_used_bytes", self.container_used_bytes);
    f("container_limit_bytes", self.container_limit_bytes);
    f("container_source", self.container_source);
  }
};

/// A fork server was started.
struct fork_server_started {
  static constexpr std::string_view type = "fork_server_started";
  severity level() const { return severity::info; }

  int64_t pid = 0;
  uint64_t server = 0; ///< Its number, from 1.

  static void fields(auto& self, auto&& f) {
    f("pid", self.pid);
    f("server", self.server);
  }
};

/// A fork server ended without being told to.
struct fork_server_died {
  static constexpr std::string_view type = "fork_server_died";
  severity level() const { return severity::error; }

  int64_t pid = 0;
  uint64_t server = 0;
  std::string reason; ///< Empty: not known.

  static void fields(auto& self, auto&& f) {
    f("pid", self.pid);
    f("server", self.server);
    f("reason", self.reason);
  }
};

/// Compiled packages of the model that are there do not serve: TorchScript does.
struct package_refused {
  static constexpr std::string_view type = "package_refused";
  severity level() const { return severity::warning; }

  std::string folder; ///< Of the model.
  std::string serves; ///< What serves instead: "fp32", "bf16", …
  std::string reason;

  static void fields(auto& self, auto&& f) {
    f("folder", self.folder);
    f("serves", self.serves);
    f("reason", self.reason);
  }
};

/// Another version of the model is to serve; slots keep theirs until a worker of it has proved
/// itself.
struct rollout_started {
  static constexpr std::string_view type = "rollout_started";
  severity level() const { return severity::info; }

  std::string folder; ///< Of the new version.

  static void fields(auto& self, auto&& f) { f("folder", self.folder); }
};

/// The new version cannot serve: the slots keep theirs.
struct rollout_rejected {
  static constexpr std::string_view type = "rollout_rejected";
  severity level() const { return severity::error; }

  std::string folder, reason;

  static void fields(auto& self, auto&& f) {
    f("folder", self.folder);
    f("reason", self.reason);
  }
};

/// The new version serves every slot, and no process of the old one is left.
struct rollout_finished {
  static constexpr std::string_view type = "rollout_finished";
  severity level() const { return severity::info; }

  std::optional<model_version> model = {}; ///< The new one.
  double ms = 0;                           ///< Since `rollout_started`.

  static void fields(auto& self, auto&& f) {
    f("model", self.model);
    f("ms", self.ms);
  }
};

/// More processes died within the period than `restart.intensity` allows.
struct restart_intensity_exceeded {
  static constexpr std::string_view type = "restart_intensity_exceeded";
  severity level() const { return severity::critical; }

  std::string of; ///< "workers" or "fork_server".
  std::string reason;
  uint64_t deaths = 0;
  int64_t period_ms = 0;

  static void fields(auto& self, auto&& f) {
    f("of", self.of);
    f("reason", self.reason);
    f("deaths", self.deaths);
    f("period_ms", self.period_ms);
  }
};

} // namespace ziyu::events
