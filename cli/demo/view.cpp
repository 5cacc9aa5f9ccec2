#include "cli/demo/view.hpp"

#include "base/text.hpp"
#include "cli/view/drawing.hpp"

#include <algorithm>

namespace ziyu::cli {

namespace {

constexpr size_t max_results = 6, max_replacements = 3;

uint64_t recovered_by(const demo_account& a) {
  uint64_t sum = 0;
  for (const auto& x : a.replacements())
    sum += x.bytes_recovered;
  return sum;
}

class view : page {
public:
  view(const demo_account& a, const demo_moment& now, size_t columns, size_t rows, bool colours)
    : page(columns, colours), a_(a), now_(now), rows_(rows) {}

  std::vector<std::string> draw() {
    head();
    memory();
    results();
    healing();
    return take();
  }

private:
  void head() {
    put(start().add("Ziyu 自愈", colour::bold).add("  " + now_.phase));
    const auto share = a_.total() == 0
                         ? 0.
                         : static_cast<double>(a_.answered()) / static_cast<double>(a_.total());
    const auto tail = format(
      "  %llu of %llu jobs  %.1f jobs/s  %.0f s", static_cast<unsigned long long>(a_.answered()),
      static_cast<unsigned long long>(a_.total()), now_.jobs_per_second, now_.seconds);
    // The width is the same for few digits and for many, so that the bar does not jump.
    const auto taken = std::max(display_width(tail), size_t{32} + 2 * digits(a_.total()));
    const auto cells = columns() > taken + 8 ? columns() - taken : 0;
    put(start().bar(share, cells, colour::cyan).add(tail));
  }

  static size_t digits(uint64_t x) { return std::to_string(x).size(); }

  void memory() {
    line();
    put(start().add("private memory per worker; its budget is " + bytes_of(now_.budget_bytes),
                    colour::grey));
    if (a_.by_slot().empty())
      put(start().add("  none yet", colour::grey));
    for (const auto& [slot, readings] : a_.by_slot()) {
      std::vector<double> values;
      for (const auto& x : readings)
        values.push_back(static_cast<double>(x.private_bytes));
      const auto& last = readings.back();
      const auto budget = static_cast<double>(std::max<uint64_t>(now_.budget_bytes, 1));
      const auto share = static_cast<double>(last.private_bytes) / budget;
      auto row = start();
      row.add(format("  slot %-2u generation %-4llu ", slot,
                     static_cast<unsigned long long>(last.generation)));
      const auto numbers = fit(bytes_of(last.private_bytes), 10, true)
                           + format(" %4.0f %%", share * 100);
      const auto cells = row.room() > numbers.size() ? row.room() - numbers.size() : 0;
      row.levels(values, cells, budget);
      put(row.add(numbers, level_of(share)));
    }
  }

  void results() {
    const auto room = room_for_lists() - shown_replacements();
    const auto count = std::min(std::clamp(room, size_t{1}, max_results), now_.latest.size());
    line();
    put(start()
          .cell("latest results", 18, colour::grey)
          .cell("label", 8, colour::grey)
          .cell("confidence", 12, colour::grey, true)
          .cell("worker", 10, colour::grey, true)
          .cell("work", 12, colour::grey, true)
          .cell("kept", 12, colour::grey, true));
    if (count == 0)
      put(start().add("  none yet", colour::grey));
    for (auto i = now_.latest.end() - static_cast<std::ptrdiff_t>(count); i != now_.latest.end();
         ++i) {
      auto row = start();
      row.cell("  " + i->job_id, 18);
      if (i->ok && !i->top_k.empty())
        row.cell(i->top_k.front().label, 8, colour::cyan)
          .cell(format("%.1f %%", i->top_k.front().confidence * 100), 12, {}, true);
      else
        row.cell(to_string(i->reason.code), 20, colour::red);
      const auto kept = i->delta_bytes;
      row
        .cell(format("%u.%llu", i->slot, static_cast<unsigned long long>(i->generation)), 10, {},
              true)
        .cell(format("%.1f ms", i->decode_ms + i->preprocess_ms + i->inference_ms), 12, {}, true)
        .cell(signed_bytes(kept), 12, kept > 0 ? colour::yellow : colour::grey, true);
      put(std::move(row));
    }
  }

  /// Rows for results and replacements together: at least one of each.
  size_t room_for_lists() const {
    const auto fixed = 9 + a_.by_slot().size();
    return std::max<size_t>(2, rows_ > fixed ? rows_ - fixed : 0);
  }

  size_t shown_replacements() const {
    return std::min({max_replacements, healed(), room_for_lists() - 1});
  }

  size_t healed() const { return a_.replacements().size(); }

  /// A result of a new worker may come before the event that its predecessor was replaced: that one
  /// comes when the old worker has ended.
  bool has_later_generation() const {
    return std::any_of(a_.by_slot().begin(), a_.by_slot().end(), [](const auto& slot) {
      return !slot.second.empty() && slot.second.back().generation > 1;
    });
  }

  void healing() {
    line();
    if (healed() == 0)
      put(start().add(has_later_generation() ? "a worker was replaced; its report is under way"
                                             : "no worker replaced so far",
                      colour::grey));
    else
      put(start().add(counted(healed(), "worker") + " replaced, " + bytes_of(recovered_by(a_))
                        + " recovered",
                      colour::green));
    for (auto i = a_.replacements().end() - static_cast<std::ptrdiff_t>(shown_replacements());
         i != a_.replacements().end(); ++i)
      put(start()
            .cell(format("  slot %-2u generation %llu", i->slot,
                         static_cast<unsigned long long>(i->generation)),
                  26)
            .cell(i->cause, 24, colour::yellow)
            .cell(bytes_of(i->bytes_recovered), 12, {}, true)
            .cell(format("%.0f ms", i->ms), 10, {}, true));
    auto row = start();
    row.add("breaker ", colour::grey)
      .add(a_.breaker(), a_.breaker() == "closed" ? colour::green : colour::red)
      .add("   dead letters ", colour::grey)
      .add(std::to_string(a_.dead_lettered()))
      .add("   duplicates ", colour::grey)
      .add(std::to_string(a_.duplicates()));
    if (a_.deaths() > 0)
      row.add("   workers died ", colour::grey).add(std::to_string(a_.deaths()), colour::red);
    put(std::move(row));
  }

  const demo_account& a_;
  const demo_moment& now_;
  size_t rows_;
};

} // namespace

std::vector<std::string> draw_demo(const demo_account& a, const demo_moment& now, size_t columns,
                                   size_t rows, bool colours) {
  return view{a, now, columns, rows, colours}.draw();
}

std::vector<std::string> draw_ledger(const demo_account& a, const demo_outcome& o, size_t columns,
                                     bool colours) {
  page to{columns, colours};
  auto row = [&](const std::string& name, const std::string& value, std::optional<colour> how = {},
                 const std::string& more = {}) {
    auto x = to.start();
    x.cell("  " + name, 22).cell(value, 10, how, true);
    if (!more.empty())
      x.add("   " + more, colour::grey);
    to.put(std::move(x));
  };
  auto good_if = [](bool x) { return x ? colour::green : colour::red; };
  to.put(to.start().add("The ledger", colour::bold));
  row("submitted", std::to_string(a.total()));
  row("results", std::to_string(a.results()), {},
      format("%.1f jobs/s in %.1f s",
             o.seconds > 0 ? static_cast<double>(a.answered()) / o.seconds : 0, o.seconds));
  row("dead letters", std::to_string(a.dead_lettered()));
  row("lost", std::to_string(a.lost()), good_if(a.lost() == 0));
  row("duplicates", std::to_string(a.duplicates()), good_if(a.duplicates() == 0));
  row("correct", format("%.2f %%", a.accuracy() * 100), {},
      std::to_string(a.correct()) + " of " + counted(a.results(), "result"));
  std::string how_healed;
  if (const auto& all = a.replacements(); !all.empty()) {
    auto [fastest, slowest] = std::minmax_element(
      all.begin(), all.end(), [](const auto& x, const auto& y) { return x.ms < y.ms; });
    how_healed = bytes_of(recovered_by(a)) + " recovered, "
                 + (all.size() == 1 ? format("in %.0f ms", slowest->ms)
                                    : format("in %.0f to %.0f ms each", fastest->ms, slowest->ms));
  }
  row("replacements", std::to_string(a.replacements().size()), {}, how_healed);
  if (a.deaths() > 0)
    row("workers died", std::to_string(a.deaths()), {}, "and their jobs ran again");
  const auto in_budget = a.peak_private_bytes() <= o.budget_bytes;
  const auto done_by = [](uint32_t slot, uint64_t results) {
    return counted(results, "job") + " in slot " + std::to_string(slot);
  };
  row("peak of a worker", bytes_of(a.peak_private_bytes()), good_if(in_budget),
      "of a budget of " + bytes_of(o.budget_bytes)
        + (o.unhealed ? ", " + done_by(o.unhealed->slot, a.results_of(o.unhealed->slot)) : ""));
  if (o.unhealed)
    row("  without healing", bytes_of(o.unhealed->peak_bytes),
        good_if(o.unhealed->peak_bytes <= o.budget_bytes),
        done_by(o.unhealed->slot, o.unhealed->results)
          + (o.unhealed->at_limit ? ", then ended by the demo" : ""));
  if (!o.pointers.empty())
    to.line();
  for (const auto& [name, text] : o.pointers)
    to.put(to.start().cell("  " + name, 16, colour::grey).add(text));
  return to.take();
}

} // namespace ziyu::cli
