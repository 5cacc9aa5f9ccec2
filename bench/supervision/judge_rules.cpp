#include "judge_rules.hpp"

#include "supervision/robust.hpp"

#include <deque>

namespace ziyu::bench {

namespace {

class function_rule : public rule {
public:
  explicit function_rule(std::function<bool(const reading&)> f) : f_(std::move(f)) {}
  bool observe(const reading& x) override { return f_(x); }

private:
  std::function<bool(const reading&)> f_;
};

std::unique_ptr<rule> make(std::function<bool(const reading&)> f) {
  return std::make_unique<function_rule>(std::move(f));
}

/// Mann–Kendall's test alone on the last 64 jobs, one-sided at 1 %, after each job.
std::function<bool(const reading&)> trend(uint64_t supervision::job_memory::*what) {
  return [what, window = std::vector<double>{}](const reading& x) mutable {
    window.push_back(static_cast<double>(x.memory.*what));
    if (window.size() > 64)
      window.erase(window.begin());
    return window.size() >= 10 && supervision::mann_kendall(window) > 2.326;
  };
}

} // namespace

std::vector<named_rule> peers(uint64_t budget) {
  // An operator includes shared pages in a limit on RSS: the worker's initial RSS, plus room for
  // the same budget.
  auto limit_of = [budget](const trace& t) {
    const auto& first = t.jobs.front();
    return first.rss - first.memory.private_bytes + budget / 2;
  };
  return {
    {"celery", "peak RSS (ru_maxrss) above a limit: half the budget and the shared pages",
     [=](const trace& t) {
       return make([limit = limit_of(t)](const reading& x) { return x.peak_rss > limit; });
     }},
    {"uwsgi", "RSS after a job above the same limit (reload-on-rss)",
     [=](const trace& t) {
       return make([limit = limit_of(t)](const reading& x) { return x.rss > limit; });
     }},
    {"gitlab", "USS above 3 times that after 10 jobs, at 5 checks in a row, each 10 jobs",
     [](const trace&) {
       return make([jobs = uint64_t{0}, base = uint64_t{0}, strikes = 0](const reading& x) mutable {
         if (++jobs == 10)
           base = x.memory.private_bytes;
         if (jobs <= 10 || jobs % 10 != 0)
           return false;
         strikes = x.memory.private_bytes > 3 * base ? strikes + 1 : 0;
         return strikes >= 5;
       });
     }},
    {"mann_kendall", "Mann-Kendall's test alone on private memory, 64 jobs, 1 %",
     [](const trace&) { return make(trend(&supervision::job_memory::private_bytes)); }},
    {"mann_kendall_live", "the same on live bytes, which only this service has",
     [](const trace&) { return make(trend(&supervision::job_memory::live)); }},
  };
}

} // namespace ziyu::bench
