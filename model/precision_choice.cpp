#include "model/precision_choice.hpp"

#include "model/agreement.hpp"
#include "model/compiled/compiled_model.hpp"
#include "model/compiled/probe.hpp"
#include "model/kept_choice.hpp"
#include "model/least_time.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <numeric>

namespace ziyu::model {
namespace {

constexpr auto most_time = 0.95;
/// Of TorchScript's in fp32, for a package that is asked for: times vary by a few percent.
constexpr auto most_time_of_package = 1.1;
constexpr auto measured_runs = 3;
/// Larger batches than this time allows are left out: a fork server has a time to start in.
constexpr uint64_t most_us = 5'000'000;
/// For a probe: this, and so many times what TorchScript has taken, by the clock: what else runs on
/// the machine slows both.
constexpr std::chrono::milliseconds least_patience{5'000};
constexpr auto patience_factor = 5;

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", share * 100);
  return text;
}

/// How far a package's answers to waves may be off, as a part of the largest answer.
double tolerance_of(precision how) {
  switch (how) {
  case precision::fp32: return 1e-3;
  case precision::bf16: return 0.1; // it has 8 bits, of which a deep model loses some
  case precision::int8: return 0.5; // and waves are none of the images that its scales are made by
  }
  return 0;
}

/// TorchScript in fp32, and what the others are compared with.
class reference {
public:
  explicit reference(classifier& exact) : exact_(exact), images_(exact.model().folder().path) {}

  /// Runs 1, 2, 4 ... up to `most` images, as many as the model takes and as time allows.
  void run(uint32_t most) {
    const auto began = std::chrono::steady_clock::now();
    for (uint32_t rows = 1; rows <= std::max(most, 1u) && total_us() < most_us; rows *= 2) {
      compiled::trial next{exact_.model().example(rows), {}, UINT32_MAX};
      const auto us = least_time(measured_runs, [&] {
        auto answer = exact_.model().forward(next.input);
        if (answer)
          next.wanted = std::move(*answer);
        return answer.has_value();
      });
      if (!us)
        return;
      next.us = *us;
      fp32.batch_us.push_back(next.us);
      trials_.push_back(std::move(next));
      passed_ = std::chrono::ceil<std::chrono::milliseconds>(std::chrono::steady_clock::now()
                                                             - began);
    }
  }

  /// Says why `x`, whose time is known, may not serve; empty: it may. Sets its agreement with fp32,
  /// unless it is too slow anyway: a fork server has a time to start in.
  std::string judge(classifier& fast, variant& x) {
    if (images_.size() < agreement_images::least)
      return images_.too_few(images_.size());
    if (share_of(x) > most_time)
      return too_slow(x);
    const auto by = images_.compare(
      [&](const auto& file, std::string_view image) { return wanted_label(file, image); },
      [&](const auto&, std::string_view image) { return best_label(fast, image); });
    if (by.compared >= agreement_images::least)
      x.agreement = by.share();
    return images_.why_not(x.name, by);
  }

  std::string too_slow(const variant& x) const {
    return x.name + " takes " + percent(share_of(x)) + " of the time of fp32 on this processor";
  }

  /// The time of `x` as a part of fp32's.
  double share_of(const variant& x) const { return x.image_us() / fp32.image_us(); }

  /// The processor time of all trials.
  uint64_t total_us() const {
    return measured_runs * std::accumulate(fp32.batch_us.begin(), fp32.batch_us.end(), uint64_t{0});
  }

  /// How long the trials have taken, by the clock.
  std::chrono::milliseconds passed() const { return passed_; }

  const std::vector<compiled::trial>& trials() const { return trials_; }
  variant fp32{"fp32", {}, {}, {}};

private:
  /// Nothing if that is no image, or has none of the labels.
  static std::optional<uint32_t> best_label(classifier& by, std::string_view image) {
    const auto answer = by.classify(image, 1);
    return answer && !answer->top_k.empty() ? std::optional{answer->top_k[0].index} : std::nullopt;
  }

  /// In fp32, found once.
  std::optional<uint32_t> wanted_label(const std::filesystem::path& file, std::string_view image) {
    const auto [i, is_new] = labels_.try_emplace(file);
    if (is_new)
      i->second = best_label(exact_, image);
    return i->second;
  }

  classifier& exact_;
  std::map<std::filesystem::path, std::optional<uint32_t>> labels_;
  agreement_images images_;
  std::chrono::milliseconds passed_{0};
  std::vector<compiled::trial> trials_;
};

/// Tries the package and loads it; sets the times of `x`.
expected<classifier> adopt(const compiled::package& package, precision how, const reference& by,
                           const classifier& exact, variant& x) {
  auto trials = by.trials();
  trials.resize(std::min(trials.size(), package.batches.size()));
  if (trials.empty())
    return fail(errc::inference_failed, "TorchScript gives no answer to compare with");
  compiled::probe_limits limits;
  limits.tolerance = tolerance_of(how);
  limits.patience = least_patience + patience_factor * by.passed();
  const auto times = compiled::probe(package, trials, limits);
  if (!times)
    return tl::unexpected<error>(times.error());
  x.batch_us = *times;
  if (const auto share = by.share_of(x); share > most_time_of_package)
    return fail(errc::model_mismatch,
                "its code takes " + percent(share) + " of the time of TorchScript in fp32");
  const auto rows = static_cast<uint32_t>(trials.back().input.size(0));
  auto code = compiled::compiled_model::load(package, rows);
  if (!code)
    return tl::unexpected<error>(code.error());
  auto model = predictor::load(exact.model().folder(), how, std::move(*code));
  if (!model)
    return tl::unexpected<error>(model.error());
  return classifier{std::move(*model), exact.limits()};
}

std::string compiled_name(precision how) { return std::string{to_string(how)} + " compiled"; }

class choice {
public:
  choice(const std::filesystem::path& path, const decode_limits& limits,
         const choice_request& request)
    : path_(path), limits_(limits), request_(request) {}

  expected<chosen_model> as_wished() {
    switch (request_.wish) {
    case precision_wish::fp32: return in(precision::fp32);
    case precision_wish::bf16: return in(precision::bf16);
    case precision_wish::int8: return in(precision::int8);
    case precision_wish::automatic: return fastest();
    }
    return fail(errc::invalid_usage, "an unknown precision");
  }

  /// What was chosen before, loaded and probed again; nothing if it does not serve any more.
  std::optional<chosen_model> again(const choice_record& kept) {
    auto result = kept.name == compiled_name(kept.how) ? in(kept.how) : script_in(kept.how);
    refused_ = {};
    if (!result || result->name != kept.name)
      return {};
    result->variants = kept.variants;
    result->refused = kept.refused;
    result->was_kept = true;
    return std::move(*result);
  }

private:
  expected<chosen_model> script_in(precision how) {
    auto by = classifier::load(path_, limits_, how);
    if (!by)
      return tl::unexpected<error>(by.error());
    return chosen_model{std::move(*by), std::string{to_string(how)}, {}, {}};
  }

  expected<chosen_model> in(precision how) {
    const auto script = how == precision::int8 ? precision::fp32 : how; // TorchScript has no int8
    auto base = classifier::load(path_, limits_, script);
    if (!base)
      return tl::unexpected<error>(base.error());
    const auto name = std::string{to_string(script)};
    auto package = package_in(how, base->model().folder().sha256);
    if (!package && how == precision::int8 && refused_.empty())
      return fail(errc::model_missing,
                  root().string()
                    + " has no package in int8 for these weights; run "
                      "tools/optimize_model.py --precision int8 on this machine, or "
                      "set model.precision to another one");
    if (!package)
      return chosen_model{std::move(*base), name, {}, std::move(refused_)};
    // The reference is fp32, also for code in bf16.
    auto exact = script == precision::fp32 ? std::move(base) : classifier::load(path_, limits_);
    if (!exact)
      return tl::unexpected<error>(exact.error());
    auto code = package_beside(*exact, *package, how);
    if (code)
      return chosen_model{std::move(*code), compiled_name(how), {}, {}};
    return chosen_model{
      std::move(script == precision::fp32 ? *exact : *base), name, {}, std::move(refused_)};
  }

  expected<chosen_model> fastest() {
    auto exact = classifier::load(path_, limits_);
    if (!exact)
      return tl::unexpected<error>(exact.error());
    reference by{*exact};
    by.run(request_.most_rows);
    variants_.push_back(by.fp32);
    models_.emplace_back();
    const auto why = add_bf16(by);
    for (const auto how : {precision::fp32, precision::bf16, precision::int8})
      add_package(by, *exact, how);
    size_t best = 0;
    auto least = most_time;
    for (size_t i = 1; i < variants_.size(); ++i)
      if (variants_[i].why_not.empty() && by.share_of(variants_[i]) <= least)
        least = by.share_of(variants_[best = i]);
    for (size_t i = 1; i < variants_.size(); ++i)
      if (i != best && variants_[i].why_not.empty())
        variants_[i].why_not = by.too_slow(variants_[i]);
    if (best != 0)
      return chosen_model{std::move(*models_[best]), variants_[best].name, variants_,
                          std::move(refused_)};
    return chosen_model{std::move(*exact), "fp32", variants_, std::move(refused_)};
  }

  std::filesystem::path root() const {
    return request_.compiled.empty() ? path_ / "compiled" : request_.compiled;
  }

  std::optional<compiled::package> package_in(precision how, const std::string& sha256) {
    auto found = compiled::find_package(root(), sha256, compiled::this_host(), to_string(how));
    if (!found) {
      refused_.push_back("the compiled package in " + std::string{to_string(how)}
                         + " does not serve: " + found.error().message);
      return {};
    }
    return std::move(*found);
  }

  std::optional<classifier> package_beside(classifier& exact, const compiled::package& package,
                                           precision how) {
    reference by{exact};
    by.run(request_.most_rows);
    variant row{compiled_name(how), {}, {}, {}};
    return try_package(by, exact, package, how, row);
  }

  std::optional<classifier> try_package(const reference& by, const classifier& exact,
                                        const compiled::package& package, precision how,
                                        variant& row) {
    auto code = adopt(package, how, by, exact, row);
    if (code)
      return std::move(*code);
    row.why_not = code.error().message;
    refused_.push_back("the compiled package " + package.path.string()
                       + " does not serve: " + row.why_not);
    return {};
  }

  std::string add_bf16(reference& by) {
    variant row{"bf16", {}, {}, {}};
    auto fast = classifier::load(path_, limits_, precision::bf16);
    if (fast)
      row.batch_us = fast->model().measure_batches(request_.most_rows);
    row.why_not = fast ? by.judge(*fast, row) : fast.error().message;
    models_.push_back(fast ? std::optional{std::move(*fast)} : std::nullopt);
    variants_.push_back(row);
    return row.why_not;
  }

  void add_package(reference& all, classifier& exact, precision how) {
    const auto package = package_in(how, exact.model().folder().sha256);
    if (!package)
      return;
    variant row{compiled_name(how), {}, {}, {}};
    auto code = try_package(all, exact, *package, how, row);
    if (code && how != precision::fp32) // in fp32 the probe has compared the answers
      row.why_not = all.judge(*code, row);
    models_.push_back(std::move(code));
    variants_.push_back(std::move(row));
  }

  const std::filesystem::path& path_;
  const decode_limits& limits_;
  const choice_request& request_;
  std::vector<variant> variants_;
  std::vector<std::optional<classifier>> models_; // of the variants
  std::vector<std::string> refused_;
};

} // namespace

double variant::image_us() const {
  double best = 0;
  for (size_t i = 0; i < batch_us.size(); ++i)
    if (const auto us = batch_us[i] / static_cast<double>(uint64_t{1} << i); i == 0 || us < best)
      best = us;
  return best;
}

expected<chosen_model> choose_model(const std::filesystem::path& folder,
                                    const decode_limits& limits, const choice_request& request) {
  const auto measures_precision = request.wish == precision_wish::automatic;
  std::optional<kept_choice> memory;
  std::optional<choice_record> kept;
  if (measures_precision || request.decode == decode_wish::automatic) {
    const auto known = read_model_folder(folder);
    if (!known)
      return tl::unexpected<error>(known.error());
    memory.emplace(*known, request);
    if (!request.anew)
      kept = memory->read();
  }
  choice decision{folder, limits, request};
  std::optional<chosen_model> result;
  if (kept && measures_precision)
    result = decision.again(*kept);
  if (!result) {
    auto measured = decision.as_wished();
    if (!measured)
      return measured;
    result = std::move(*measured);
  }
  if (measures_precision && result->name == to_string(precision::fp32))
    result->by.model().warn("model.precision auto has chosen fp32: "
                            + result->variants.at(1).why_not);
  const auto same = kept && kept->name == result->name;
  result->decode = same ? kept->decode : choose_decoding(result->by, request.decode);
  use_decoding(result->by, result->decode);
  if (memory && !same)
    memory->write({result->by.model().computes_in(), result->name, result->variants,
                   result->refused, result->decode});
  return std::move(*result);
}

} // namespace ziyu::model
