#include "cli/doctor/examination.hpp"

#include "cli/common/json.hpp"
#include "cli/view/terminal.hpp"
#include "configs/config.hpp"
#include "supervision/leak_explainer.hpp"
#include "supervision/peak_memory.hpp"
#include "supervision/worker_session.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <thread>
#include <tuple>

#include <poll.h>

namespace ziyu::cli {

namespace {

using clock = std::chrono::steady_clock;
using supervision::growth;
using supervision::leak_judge;
using supervision::worker_session;

/// Least number of sampled jobs with which a heap is explained.
constexpr uint64_t least_sampled_jobs = 50;
constexpr size_t max_sizes = 12, max_times = 64;
/// Up to so many times the requested jobs, until it is known whether growth ends.
constexpr uint64_t patience = 10;
constexpr int timed_jobs = 2; ///< Additional jobs per size, only for the times.
/// Memory of the control process itself; the jobs that it holds come on top.
constexpr uint64_t control_process = 64u << 20;
constexpr auto explain_limit = std::chrono::seconds{120};

/// The values of a service without settings of its own.
expected<configs::config> default_config(const std::filesystem::path& model) {
  if (model.empty())
    return fail(errc::model_missing, "the name of a model folder must not be empty");
  const nlohmann::json document{{"kafka", {{"bootstrap.servers", "none"}, {"group.id", "doctor"}}},
                                {"model", {{"path", std::filesystem::absolute(model).string()}}}};
  auto x = configs::parse(dumped(document), ".");
  if (!x)
    return tl::unexpected(x.error().front());
  return x->values;
}

leak_judge::settings judge_settings(const configs::config& x, std::optional<uint64_t> cache) {
  leak_judge::settings s;
  s.warmup_jobs = x.judge.warmup_jobs;
  s.min_jobs = x.judge.min_jobs;
  s.window_jobs = x.judge.window_jobs;
  s.min_effect_bytes = x.judge.min_effect_bytes;
  s.confidence = x.judge.confidence;
  s.budget_bytes = x.memory.worker_budget_bytes;
  s.cache_entries = x.judge.cache_entries;
  s.model_cache_bytes = cache;
  return s;
}

/// Pearson's correlation of a stream of pairs; 0 when one of them does not vary.
class correlation {
public:
  void add(double x, double y) {
    ++n_;
    const auto dx = x - mean_x_, dy = y - mean_y_;
    mean_x_ += dx / n_;
    mean_y_ += dy / n_;
    xx_ += dx * (x - mean_x_);
    yy_ += dy * (y - mean_y_);
    xy_ += dx * (y - mean_y_);
  }
  double value() const { return xx_ > 0 && yy_ > 0 ? xy_ / std::sqrt(xx_ * yy_) : 0; }

private:
  double n_ = 0, mean_x_ = 0, mean_y_ = 0, xx_ = 0, yy_ = 0, xy_ = 0;
};

/// What was measured with one image.
struct seen_image {
  uint32_t width = 0, height = 0; ///< 0: there was no result.
  uint64_t encoded = 0;
  std::vector<uint64_t> decode_us, preprocess_us, inference_us;

  void add(const wire::answer& x) {
    width = x.width;
    height = x.height;
    if (decode_us.size() >= max_times)
      return;
    decode_us.push_back(x.decode_us);
    preprocess_us.push_back(x.preprocess_us);
    inference_us.push_back(x.inference_us);
  }

  uint64_t decoded() const { return uint64_t{width} * height * 3; }
};

uint64_t median(std::vector<uint64_t> x) {
  if (x.empty())
    return 0;
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
  std::nth_element(x.begin(), middle, x.end());
  return *middle;
}

class examiner {
public:
  examiner(const examination& x, worker_session session, const configs::config& defaults)
    : x_(x), session_(std::move(session)), defaults_(defaults),
      judge_(judge_settings(defaults, x.cache)) {
    found_.model = session_.server();
    found_.images = x.source;
  }

  expected<diagnosis> run() {
    auto container = supervision::read_container_memory("/", x_.container_limit);
    if (!container)
      return tl::unexpected(container.error());
    found_.container = *container;
    if (x_.container_limit > 0)
      found_.container.source = "as given";
    // Before anything is shared with a worker.
    if (auto server = supervision::read_process_memory(session_.server_pid()))
      found_.fork_server = *server;
    for (auto part : {&examiner::judge, &examiner::explain, &examiner::trim, &examiner::measure})
      if (auto done = (this->*part)(); !done) {
        if (done.error().code == errc::stopping)
          return tl::unexpected(done.error());
        found_.failure = done.error().message;
        break;
      }
    found_.verdict = judge_.last();
    advise();
    session_.end();
    return std::move(found_);
  }

private:
  // -- judging ---------------------------------------------------------------------

  expected<void> judge() {
    if (auto ok = session_.spawn(x_.fault); !ok)
      return ok;
    fresh_ = session_.worker().memory;
    fresh_private_ = session_.memory().value_or(supervision::process_memory{}).private_bytes;
    seen_.resize(x_.images.size());
    // A leak must not use up the machine's memory.
    const auto free = memory_left();
    progress_bar bar{"judging  ", x_.jobs};
    while (wants_more()) {
      if (auto ok = judge_one(found_.jobs % x_.images.size()); !ok)
        return ok;
      bar.show(found_.jobs);
      if (!found_.series.empty() && found_.series.back().private_bytes > free / 2)
        break;
      if (auto ok = sample_on_suspicion(); !ok)
        return ok;
    }
    return {};
  }

  static uint64_t memory_left() {
    const auto x = supervision::read_container_memory();
    return x && x->limit > x->used ? x->limit - x->used : uint64_t{1} << 30;
  }

  bool wants_more() const {
    if (found_.jobs < x_.jobs)
      return true;
    const auto kind = judge_.last().kind;
    if (kind == growth::growing)
      return found_.jobs < patience * x_.jobs;
    if (supervision::is_confirmed(kind))
      return sampling_ && found_.jobs - sampled_from_ < least_sampled_jobs;
    return kind == growth::suspected && found_.jobs < 2 * x_.jobs;
  }

  expected<void> judge_one(size_t index) {
    ++found_.jobs;
    auto bytes = x_.images[index].read();
    if (!bytes) {
      note_bad(index, std::string{to_string(bytes.error().code)}, bytes.error().message);
      return {};
    }
    auto& image = seen_[index];
    image.encoded = bytes->size();
    auto answer = session_.run(std::move(*bytes));
    if (!answer) {
      const auto number = std::to_string(found_.jobs--);
      return fail(answer.error().code,
                  "job " + number + " (" + x_.images[index].name + "): " + answer.error().message);
    }
    supervision::job_memory m;
    m.ok = answer->error_code.empty();
    if (m.ok) {
      image.add(*answer);
      m.decoded_bytes = image.decoded();
    } else {
      note_bad(index, answer->error_code, answer->error_message);
    }
    m.live = answer->memory.live;
    m.gpu_allocated = answer->memory.gpu_allocated;
    m.gpu_reserved = answer->memory.gpu_reserved;
    m.encoded_bytes = image.encoded;
    if (auto pages = session_.memory())
      m.private_bytes = pages->private_bytes;
    encoded_sum_ += static_cast<double>(m.encoded_bytes);
    decoded_sum_ += static_cast<double>(m.decoded_bytes);
    with_size_.add(static_cast<double>(answer->delta_live), static_cast<double>(m.decoded_bytes));
    judge_.observe(m);
    found_.series.push_back({found_.jobs, answer->delta_live, m.live, m.private_bytes});
    if (found_.confirmed_at == 0 && supervision::is_confirmed(judge_.last().kind))
      found_.confirmed_at = found_.jobs;
    return {};
  }

  void note_bad(size_t index, std::string code, std::string message) {
    ++found_.failed_jobs;
    const auto& name = x_.images[index].name;
    const auto known = std::any_of(found_.bad_images.begin(), found_.bad_images.end(),
                                   [&](const auto& b) { return b.name == name; });
    if (!known && found_.bad_images.size() < diagnosis::max_bad_images)
      found_.bad_images.push_back({name, std::move(code), std::move(message)});
  }

  // -- explaining ------------------------------------------------------------------

  expected<void> sample_on_suspicion() {
    const auto& v = judge_.last();
    if (sampling_ || v.kind < growth::suspected || v.kind == growth::hoarding)
      return {};
    const auto done = static_cast<double>(found_.jobs);
    const auto rate = v.live.bytes_per_job > 0
                        ? v.live.bytes_per_job
                        : static_cast<double>(v.grown_bytes)
                            / std::max(1., done - static_cast<double>(v.onset) + 1);
    const auto left = std::max(x_.jobs - std::min(x_.jobs, found_.jobs), least_sampled_jobs);
    auto start = session_.profile(wire::profile::start,
                                  supervision::choose_sample_rate(rate, left));
    if (!start) {
      if (start.error().code != errc::io)
        return tl::unexpected(start.error());
      found_.unexplained = start.error().message; // a worker without a profiler
    } else {
      sampled_live_ = start->live;
    }
    sampling_ = true;
    sampled_from_ = found_.jobs;
    return {};
  }

  expected<void> explain() {
    const auto& v = judge_.last();
    if (!sampling_ || !found_.unexplained.empty() || !supervision::is_confirmed(v.kind))
      return {};
    auto dump = session_.profile(wire::profile::dump);
    if (!dump)
      return tl::unexpected(dump.error());
    found_.sampled_jobs = dump->jobs;
    supervision::leak_request request;
    request.after = std::move(dump->heap);
    request.maps = std::move(dump->maps);
    request.live_growth = static_cast<int64_t>(dump->live) - static_cast<int64_t>(sampled_live_);
    request.jobs = dump->jobs;
    request.sampled_jobs = dump->sampled_jobs;
    auto& e = request.evidence;
    e.kind = v.kind;
    e.live_per_job = v.live.bytes_per_job;
    e.private_per_job = v.private_memory.bytes_per_job;
    e.gpu_allocated_per_job = v.on_gpu ? v.gpu.bytes_per_job : 0;
    e.encoded_per_job = encoded_sum_ / static_cast<double>(found_.jobs);
    e.decoded_per_job = decoded_sum_ / static_cast<double>(found_.jobs);
    e.model_bytes = found_.model.memory.live;
    e.delta_image_correlation = with_size_.value();
    auto helper = supervision::leak_explainer::start(
      x_.helper, request, std::chrono::duration_cast<std::chrono::seconds>(explain_limit));
    if (!helper) {
      found_.unexplained = helper.error().message;
      return {};
    }
    const auto deadline = clock::now() + explain_limit;
    while (clock::now() < deadline) {
      if (x_.cancelled && x_.cancelled())
        return fail(errc::stopping, "interrupted");
      if (auto report = helper->poll()) {
        if (*report)
          found_.explanation = std::move(**report);
        else
          found_.unexplained = report->error().message;
        return {};
      }
      ::poll(nullptr, 0, 10);
    }
    found_.unexplained = "naming the call stacks took too long";
    return {};
  }

  // -- measuring -------------------------------------------------------------------

  expected<void> trim() {
    const auto before = session_.memory();
    const auto done = session_.trim();
    if (!done)
      return tl::unexpected(done.error());
    const auto after = session_.memory();
    if (before && after)
      found_.trim = {before->private_bytes, after->private_bytes, fresh_private_};
    found_.gpu_trim = {done->before.gpu_reserved, done->after.gpu_reserved, fresh_.gpu_reserved};
    return {};
  }

  /// Up to `max_sizes` images of different sizes, ordered from the smallest to the largest.
  std::vector<size_t> chosen_images() const {
    std::map<std::tuple<uint64_t, uint32_t, uint32_t>, size_t> by_size;
    for (size_t i = 0; i < seen_.size(); ++i) {
      const auto& s = seen_[i];
      if (s.width == 0)
        continue;
      auto [at, added] = by_size.try_emplace({s.decoded(), s.width, s.height}, i);
      if (!added && s.encoded > seen_[at->second].encoded)
        at->second = i;
    }
    std::vector<size_t> all, result;
    for (const auto& [size, index] : by_size)
      all.push_back(index);
    const auto count = std::min(all.size(), max_sizes);
    for (size_t i = 0; i < count; ++i)
      result.push_back(all[count == 1 ? all.size() - 1 : i * (all.size() - 1) / (count - 1)]);
    return result;
  }

  expected<void> measure() {
    const auto chosen = chosen_images();
    progress_bar bar{"measuring", chosen.size()};
    for (const auto index : chosen) {
      if (auto ok = measure_one(index); !ok)
        return fail(ok.error().code, x_.images[index].name + ": " + ok.error().message);
      bar.show(found_.sizes.size());
    }
    return {};
  }

  /// In a new worker: memory left by earlier images would hide the peak.
  expected<void> measure_one(size_t index) {
    if (auto ok = session_.spawn(x_.fault); !ok)
      return ok;
    if (auto ok = session_.trim(); !ok)
      return tl::unexpected(ok.error());
    auto bytes = x_.images[index].read();
    if (!bytes)
      return tl::unexpected(bytes.error());
    auto& image = seen_[index];
    const auto idle = session_.memory();
    if (!idle)
      return tl::unexpected(idle.error());
    // Where the kernel does not support it, the peak since the fork is used: an upper bound.
    static_cast<void>(supervision::reset_peak_memory(session_.pid()));
    auto answer = session_.run(*bytes);
    if (!answer)
      return tl::unexpected(answer.error());
    const auto peak = supervision::read_peak_memory(session_.pid());
    const auto after = session_.memory();
    if (!peak || !after)
      return tl::unexpected(peak ? after.error() : peak.error());
    for (auto i = 0; i < timed_jobs; ++i) {
      auto again = session_.run(*bytes);
      if (!again)
        return tl::unexpected(again.error());
      if (again->error_code.empty())
        image.add(*again);
    }
    diagnosis::size_row row;
    row.name = x_.images[index].name;
    row.width = image.width;
    row.height = image.height;
    row.encoded_bytes = image.encoded;
    row.decoded_bytes = image.decoded();
    row.idle_private = idle->private_bytes;
    row.peak_private = supervision::peak_private(after->private_bytes, *peak);
    row.decode_us = median(image.decode_us);
    row.preprocess_us = median(image.preprocess_us);
    row.inference_us = median(image.inference_us);
    found_.sizes.push_back(std::move(row));
    return {};
  }

  void advise() {
    if (found_.sizes.empty())
      return;
    const auto leaks = health_of(found_) == health::leaks;
    found_.worker_idle = found_.sizes.front().idle_private;
    uint64_t largest_job = 0, largest_image = 0;
    for (const auto& row : found_.sizes) {
      found_.worker_idle = std::max(found_.worker_idle, row.idle_private);
      found_.worker_peak = std::max(found_.worker_peak, row.peak_private);
      largest_job = std::max(largest_job, row.over_idle());
      largest_image = std::max(largest_image, row.encoded_bytes);
    }
    found_.worker_peak = std::max(found_.worker_peak, settled_private(found_));
    sizing_input s;
    s.container = found_.container.limit;
    s.fork_server = found_.fork_server.rss;
    s.control = control_process
                + std::min(defaults_.jobs.max_in_flight_bytes,
                           defaults_.jobs.max_in_flight * largest_image);
    s.peak = found_.worker_peak;
    s.largest_job = largest_job;
    s.leak_per_job = !leaks ? 0
                     : found_.verdict.kind == growth::hoarding
                       ? found_.verdict.private_memory.bytes_per_job
                       : found_.verdict.live.bytes_per_job;
    s.cores = std::max(1u, std::thread::hardware_concurrency());
    s.slots = x_.slots;
    found_.advice = recommend(s);
  }

  const examination& x_;
  worker_session session_;
  const configs::config& defaults_;
  leak_judge judge_;
  diagnosis found_;

  wire::memory_reading fresh_;
  uint64_t fresh_private_ = 0;
  std::vector<seen_image> seen_; ///< By the index of the image.
  double encoded_sum_ = 0, decoded_sum_ = 0;
  correlation with_size_;

  bool sampling_ = false;
  uint64_t sampled_from_ = 0, sampled_live_ = 0;
};

} // namespace

expected<diagnosis> examine(const examination& x) {
  const auto defaults = default_config(x.model);
  if (!defaults)
    return tl::unexpected(defaults.error());
  worker_session::settings s;
  s.executable = x.worker;
  s.model = x.model;
  s.faults_allowed = !x.fault.empty();
  s.start_limit = x.load_limit;
  s.answer_limit = x.answer_limit;
  s.cancelled = x.cancelled;
  auto session = worker_session::start(std::move(s));
  if (!session) {
    auto why = session.error();
    if (why.code == errc::timeout)
      why.message += "; --load-timeout gives it longer";
    return tl::unexpected(why);
  }
  return examiner{x, std::move(*session), *defaults}.run();
}

} // namespace ziyu::cli
