#include "cli/demo/account.hpp"

#include <algorithm>

namespace ziyu::cli {

void demo_account::submitted(const std::string& job_id, const std::string& label) {
  labels_[job_id] = label;
  open_.insert(job_id);
  ++submitted_;
}

void demo_account::on_result(const messaging::result& x) {
  auto expected_label = labels_.find(x.job_id);
  if (expected_label == labels_.end())
    return; // another program's record
  if (open_.erase(x.job_id) == 0) {
    ++duplicates_;
    return;
  }
  ++results_;
  correct_ += !x.top_k.empty() && x.top_k.front().label == expected_label->second;
  by_slot_[x.slot].push_back({results_, x.generation, x.private_bytes});
  auto& peak = peaks_[std::to_string(x.slot) + "." + std::to_string(x.generation)];
  peak = std::max(peak, x.private_bytes);
}

void demo_account::on_dead_letter(const std::string& job_id) {
  if (!labels_.contains(job_id))
    return;
  if (open_.erase(job_id) == 0)
    ++duplicates_;
  else
    ++dead_lettered_;
}

void demo_account::on_event(const events::event& x) {
  if (std::holds_alternative<events::breaker_opened>(x.body))
    breaker_ = "open";
  else if (std::holds_alternative<events::breaker_half_open>(x.body))
    breaker_ = "half-open";
  else if (std::holds_alternative<events::breaker_closed>(x.body))
    breaker_ = "closed";
  else if (std::holds_alternative<events::worker_died>(x.body))
    ++deaths_;
  else if (const auto* replaced = std::get_if<events::worker_replaced>(&x.body))
    replacements_.push_back({replaced->worker.slot, replaced->worker.generation, replaced->cause,
                             replaced->bytes_recovered, replaced->ms});
}

double demo_account::accuracy() const {
  return results_ == 0 ? 0 : static_cast<double>(correct_) / static_cast<double>(results_);
}

uint64_t demo_account::peak_private_bytes() const {
  uint64_t result = 0;
  for (const auto& [worker, peak] : peaks_)
    result = std::max(result, peak);
  return result;
}

uint64_t demo_account::results_of(uint32_t slot) const {
  const auto found = by_slot_.find(slot);
  return found == by_slot_.end() ? 0 : found->second.size();
}

nlohmann::json demo_account::report() const {
  auto list = nlohmann::json::array();
  for (const auto& x : replacements_)
    list.push_back({{"slot", x.slot},
                    {"generation", x.generation},
                    {"cause", x.cause},
                    {"bytes_recovered", x.bytes_recovered},
                    {"ms", x.ms}});
  return {{"submitted", submitted_},
          {"results", results_},
          {"dead_lettered", dead_lettered_},
          {"lost", lost()},
          {"duplicates", duplicates_},
          {"correct", correct_},
          {"accuracy", accuracy()},
          {"replacements", std::move(list)},
          {"workers_died", deaths_},
          {"peak_private_bytes", peak_private_bytes()},
          {"peak_private_bytes_by_worker", peaks_}};
}

} // namespace ziyu::cli
