#pragma once

#include "messaging/events/fields.hpp"
#include "messaging/events/severity.hpp"

#include <string_view>

namespace ziyu::events {

/// The consumer reports trouble.
struct broker_unavailable {
  static constexpr std::string_view type = "broker_unavailable";
  severity level() const { return severity::warning; }

  std::string reason;

  static void fields(auto& self, auto&& f) { f("reason", self.reason); }
};

/// The trouble is over.
struct broker_available {
  static constexpr std::string_view type = "broker_available";
  severity level() const { return severity::info; }

  static void fields(auto&, auto&&) {}
};

/// Partitions were assigned, with what the commits of their last owners say.
struct partitions_assigned {
  static constexpr std::string_view type = "partitions_assigned";
  severity level() const { return maps_ignored.empty() ? severity::info : severity::warning; }

  /// A commit whose map could not be read.
  struct ignored_map {
    std::string topic;
    int32_t partition = 0;
    std::string reason;

    static void fields(auto& self, auto&& f) {
      f("topic", self.topic);
      f("partition", self.partition);
      f("reason", self.reason);
    }
  };

  uint64_t partitions = 0, epoch = 0;
  uint64_t finished_beyond_offsets = 0; ///< Records.
  uint64_t records_with_attempts = 0;
  uint64_t partitions_of_dead_owners = 0; ///< Records may have killed them.
  std::vector<ignored_map> maps_ignored = {};

  static void fields(auto& self, auto&& f) {
    f("partitions", self.partitions);
    f("epoch", self.epoch);
    f("finished_beyond_offsets", self.finished_beyond_offsets);
    f("records_with_attempts", self.records_with_attempts);
    f("partitions_of_dead_owners", self.partitions_of_dead_owners);
    f("maps_ignored", self.maps_ignored);
  }
};

struct partitions_revoked {
  static constexpr std::string_view type = "partitions_revoked";
  severity level() const { return lost ? severity::warning : severity::info; }

  uint64_t partitions = 0;
  bool lost = false;        ///< Not in good order.
  uint64_t handed_back = 0; ///< Unfinished records.

  static void fields(auto& self, auto&& f) {
    f("partitions", self.partitions);
    f("lost", self.lost);
    f("handed_back", self.handed_back);
  }
};

/// A broker refuses the metadata of a commit: offsets are committed without it.
struct commit_map_refused {
  static constexpr std::string_view type = "commit_map_refused";
  severity level() const { return severity::warning; }

  std::string topic;
  int32_t partition = 0;

  static void fields(auto& self, auto&& f) {
    f("topic", self.topic);
    f("partition", self.partition);
  }
};

/// The ledger does not balance: an error in Ziyu.
struct ledger_imbalance {
  static constexpr std::string_view type = "ledger_imbalance";
  severity level() const { return severity::critical; }

  std::string reason;

  static void fields(auto& self, auto&& f) { f("reason", self.reason); }
};

/// A partition has records and nothing hinders them, but none comes.
struct consumer_stalled {
  static constexpr std::string_view type = "consumer_stalled";
  severity level() const { return escalates ? severity::critical : severity::error; }

  bool escalates = false; ///< No remedy is left. Not part of the record.
  std::string topic;
  int32_t partition = 0;
  int64_t offset = 0; ///< -1: the beginning of the log.
  int64_t lag_records = 0, silent_ms = 0;
  std::string remedy;

  static void fields(auto& self, auto&& f) {
    f("topic", self.topic);
    f("partition", self.partition);
    f("offset", self.offset);
    f("lag_records", self.lag_records);
    f("silent_ms", self.silent_ms);
    f("remedy", self.remedy);
  }
};

/// Retention deleted job records before they were fetched.
struct records_lost_to_retention {
  static constexpr std::string_view type = "records_lost_to_retention";
  severity level() const { return severity::critical; }

  std::string topic;
  int32_t partition = 0;
  int64_t first_offset = 0, records_at_most = 0, log_start_offset = 0;

  static void fields(auto& self, auto&& f) {
    f("topic", self.topic);
    f("partition", self.partition);
    f("first_offset", self.first_offset);
    f("records_at_most", self.records_at_most);
    f("log_start_offset", self.log_start_offset);
  }
};

/// A topic refuses all records at present, or only this one: they wait, all others go on.
struct publication_set_aside {
  static constexpr std::string_view type = "publication_set_aside";
  severity level() const { return severity::error; }

  std::string topic, kind; ///< "result" or "dead_letter".
  std::string source;      ///< The job's place.
  bool whole_topic = false;
  std::string reason;

  static void fields(auto& self, auto&& f) {
    f("topic", self.topic);
    f("kind", self.kind);
    f("source", self.source);
    f("whole_topic", self.whole_topic);
    f("reason", self.reason);
  }
};

/// The topic accepted a record, and those that waited go on.
struct publication_resumed {
  static constexpr std::string_view type = "publication_resumed";
  severity level() const { return severity::info; }

  std::string topic;
  bool whole_topic = false;
  uint64_t records = 0;
  int64_t waited_ms = 0;
  std::string reason; ///< Why they had waited.

  static void fields(auto& self, auto&& f) {
    f("topic", self.topic);
    f("whole_topic", self.whole_topic);
    f("records", self.records);
    f("waited_ms", self.waited_ms);
    f("reason", self.reason);
  }
};

/// A job became a dead letter.
struct dead_lettered {
  static constexpr std::string_view type = "dead_lettered";
  severity level() const { return severity::warning; }

  std::string job_id, source, code, message;
  uint32_t attempts = 0;

  static void fields(auto& self, auto&& f) {
    f("job_id", self.job_id);
    f("source", self.source);
    f("code", self.code);
    f("message", self.message);
    f("attempts", self.attempts);
  }
};

} // namespace ziyu::events
