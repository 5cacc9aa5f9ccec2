#include "messaging/delivery/ledger_report.hpp"

namespace ziyu::messaging {

bool ledger_balance::balanced() const {
  return fetched == published + dead_lettered + handed_back + already_done + in_flight;
}

ledger_balance& ledger_balance::operator+=(const ledger_balance& x) {
  fetched += x.fetched;
  published += x.published;
  dead_lettered += x.dead_lettered;
  handed_back += x.handed_back;
  already_done += x.already_done;
  in_flight += x.in_flight;
  return *this;
}

nlohmann::json to_json(const ledger_balance& x) {
  return nlohmann::json{{"fetched", x.fetched},
                        {"published", x.published},
                        {"dead_lettered", x.dead_lettered},
                        {"handed_back", x.handed_back},
                        {"already_done", x.already_done},
                        {"in_flight", x.in_flight},
                        {"balanced", x.balanced()}};
}

nlohmann::json to_json(const ledger_report& x) {
  auto list = nlohmann::json::array();
  for (const auto& row : x.partitions) {
    auto item = to_json(row.sums);
    item["topic"] = row.where.topic;
    item["partition"] = row.where.partition;
    item["epoch"] = row.epoch;
    item["assigned"] = row.now.has_value();
    if (row.now) {
      item["next_offset"] = row.now->next_offset;
      item["highest_fetched"] = row.now->highest_fetched;
      item["committed_offset"] = row.now->committed_offset;
      item["map_bytes"] = row.now->map_bytes;
      item["commit_pending"] = row.now->commit_pending;
      if (!row.now->map_ignored.empty())
        item["map_ignored"] = row.now->map_ignored;
    }
    list.push_back(std::move(item));
  }
  return {{"total", to_json(x.total)}, {"partitions", std::move(list)}};
}

} // namespace ziyu::messaging
