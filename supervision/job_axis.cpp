#include "supervision/job_axis.hpp"

#include <algorithm>

namespace ziyu::supervision {

void job_axis::add(uint64_t jobs) {
  ++readings_;
  if (jobs != latest_) {
    if (marks_.size() >= most_marks) {
      // Every second mark goes, so that old readings are known less exactly than late ones.
      size_t kept = 0;
      for (size_t i = 0; i < marks_.size(); i += i < marks_.size() / 2 ? 2 : 1)
        marks_[kept++] = marks_[i];
      marks_.resize(kept);
    }
    marks_.push_back({readings_, jobs_ + 1});
    latest_ = jobs;
  }
  jobs_ += jobs;
}

uint64_t job_axis::first_job_of(uint64_t reading) const {
  if (reading == 0 || marks_.empty())
    return 0;
  const auto next = std::upper_bound(marks_.begin(), marks_.end(), reading,
                                     [](uint64_t n, const mark& x) { return n < x.reading; });
  const auto& from = *std::prev(next);
  const auto until = next == marks_.end() ? mark{readings_ + 1, jobs_ + 1} : *next;
  return from.job
         + (reading - from.reading) * (until.job - from.job)
             / std::max<uint64_t>(until.reading - from.reading, 1);
}

} // namespace ziyu::supervision
