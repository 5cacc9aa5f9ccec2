#include "actors/stop_program.hpp"

#include "base/log.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

namespace ziyu::actors {

namespace {

using namespace std::chrono_literals;

/// Time beyond its limit that a stage has for its answer.
constexpr auto answer_time = 2s;

} // namespace

std::string_view to_string(stop_stage::kind x) noexcept {
  switch (x) {
  case stop_stage::kind::gate: return "gate";
  case stop_stage::kind::drain: return "drain";
  case stop_stage::kind::flush: return "flush";
  case stop_stage::kind::commit: return "commit";
  case stop_stage::kind::close: return "close";
  case stop_stage::kind::workers: return "workers";
  }
  return "unknown";
}

std::vector<stop_stage> stages_out_of_group(const stop_limits& x) {
  using kind = stop_stage::kind;
  return {{kind::gate, x.gate_ms},
          {kind::drain, x.drain_ms},
          {kind::flush, x.flush_ms},
          {kind::commit, x.commit_ms},
          {kind::close, x.close_ms}};
}

std::vector<stop_stage> stages_of_stop(const stop_limits& x) {
  auto all = stages_out_of_group(x);
  all.push_back({stop_stage::kind::workers, x.workers_ms});
  return all;
}

void stop_program_state::begin_stage() {
  const auto has_no_consumer = [this](const stop_stage& x) {
    return !settings_.source
           && (x.what == stop_stage::kind::commit || x.what == stop_stage::kind::close);
  };
  while (present_ < settings_.stages.size() && has_no_consumer(settings_.stages[present_]))
    ++present_;
  if (present_ == settings_.stages.size()) {
    settings_.source.reset();
    settings_.on_end(std::move(report_));
    self_->quit();
    return;
  }
  const auto& stage = settings_.stages[present_];
  begun_us_ = settings_.env->monotonic_us();
  self_->delayed_send(self_, std::chrono::milliseconds{stage.limit_ms} + answer_time,
                      atom::deadline{}, present_);
  run(stage);
}

void stop_program_state::run(const stop_stage& x) {
  switch (x.what) {
  case stop_stage::kind::gate:
    settings_.credit->hold(true);
    // When this is answered, all earlier messages of the source have arrived.
    self_->request(settings_.dispatcher, std::chrono::milliseconds{x.limit_ms}, atom::status{})
      .then([this, which = present_](const dispatcher_status&) { finish(which, true); },
            [this, which = present_](const caf::error&) { finish(which, false); });
    return;
  case stop_stage::kind::drain: return ask(settings_.dispatcher, x.limit_ms);
  case stop_stage::kind::flush: return ask(settings_.publisher, x.limit_ms);
  case stop_stage::kind::commit: return commit(x.limit_ms);
  case stop_stage::kind::close: return close(x.limit_ms);
  case stop_stage::kind::workers: return ask(settings_.supervisor, x.limit_ms);
  }
}

template <class Actor>
void stop_program_state::ask(const Actor& whom, uint64_t limit_ms) {
  self_->request(whom, std::chrono::milliseconds{limit_ms} + answer_time, atom::drain{}, limit_ms)
    .then([this, which = present_](bool done) { finish(which, done); },
          [this, which = present_](const caf::error&) { finish(which, false); });
}

void stop_program_state::commit(uint64_t limit_ms) {
  settings_.source->commit(std::chrono::milliseconds{limit_ms},
                           [answer = answer()](const expected<void>& ok) {
                             if (!ok)
                               spdlog::warn("the last commit failed: {}", ok.error().describe());
                             answer(ok.has_value());
                           });
}

void stop_program_state::close(uint64_t limit_ms) {
  settings_.source->close(std::chrono::milliseconds{limit_ms}, answer());
}

std::function<void(bool)> stop_program_state::answer() {
  return [me = caf::actor_cast<caf::actor>(self_), which = present_](bool done) {
    caf::anon_send(me, atom::stage_ended{}, which, done);
  };
}

void stop_program_state::finish(uint64_t which, bool done) {
  if (which != present_)
    return; // too late: it counts as not done
  const auto& stage = settings_.stages[present_];
  const auto ms = static_cast<double>(settings_.env->monotonic_us() - begun_us_) / 1000.;
  report_.stages.push_back({std::string{to_string(stage.what)}, stage.limit_ms, ms, done});
  if (settings_.on_stage)
    settings_.on_stage(report_.stages.back());
  ++present_;
  begin_stage();
}

caf::behavior stop_program(caf::stateful_actor<stop_program_state>* self,
                           stop_program_settings settings) {
  auto& state = self->state;
  state.self_ = self;
  state.settings_ = std::move(settings);
  state.begin_stage();
  return {
    [self](atom::stage_ended, uint64_t which, bool done) { self->state.finish(which, done); },
    [self](atom::deadline, uint64_t which) { self->state.finish(which, false); },
  };
}

} // namespace ziyu::actors
