// `ziyu top` shows a running service live, by its HTTP endpoints.

#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/common/json.hpp"
#include "cli/common/options.hpp"
#include "cli/common/service.hpp"
#include "cli/top/view.hpp"
#include "supervision/backoff.hpp"

#include <algorithm>
#include <cstdio>
#include <future>
#include <memory>
#include <random>
#include <utility>

#include <poll.h>
#include <termios.h>
#include <unistd.h>

namespace ziyu::cli {

namespace {

using nlohmann::json;
using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds answer_limit{3'000}, slowest_retry{10'000};
/// Keys, Ctrl-C and a new terminal size are noticed within this.
constexpr milliseconds attention{100};

struct top_options {
  service_options service;
  double interval_s = 1;
  bool once = false, as_json = false;
};

/// The bodies of one round of requests.
struct round {
  json health, workers, ledger;
};

expected<round> ask_all(const std::string& url) {
  round result;
  for (const auto& [path, body] : {std::pair{"/health", &result.health},
                                   {"/workers", &result.workers},
                                   {"/ledger", &result.ledger}}) {
    auto said = ask_service(url, path, answer_limit);
    if (!said)
      return tl::unexpected(said.error());
    if (said->status != 200) {
      const auto why = text_in(said->body, "error");
      return fail(errc::unavailable, url + path + " answers with HTTP "
                                       + std::to_string(said->status)
                                       + (why.empty() ? "" : ": " + why));
    }
    *body = std::move(said->body);
  }
  return result;
}

/// The whole terminal for the life of this object: single keys are read, the view has the screen,
/// and the earlier content comes back at the end.
class full_screen {
public:
  full_screen() {
    if (is_terminal(STDIN_FILENO) && ::tcgetattr(STDIN_FILENO, &before_) == 0) {
      auto raw = before_;
      raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO); // Ctrl-C is still a signal.
      reads_keys_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    write("\x1b[?1049h\x1b[?25l\x1b[?7l");
  }

  ~full_screen() {
    write("\x1b[?7h\x1b[?25h\x1b[?1049l");
    if (reads_keys_)
      ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }

  full_screen(const full_screen&) = delete;
  full_screen& operator=(const full_screen&) = delete;

  void draw(const std::vector<std::string>& lines) {
    std::string out = "\x1b[H";
    for (const auto& x : lines)
      out += "\x1b[2K" + x + (&x == &lines.back() ? "" : "\r\n");
    write(out + "\x1b[J");
  }

  /// Waits for a key for at most `limit`; true when it was q.
  bool quit_within(milliseconds limit) {
    pollfd entry{reads_keys_ ? STDIN_FILENO : -1, POLLIN, 0};
    char key = 0;
    if (::poll(&entry, 1, static_cast<int>(limit.count())) <= 0)
      return false;
    if (::read(STDIN_FILENO, &key, 1) == 1)
      return key == 'q' || key == 'Q';
    reads_keys_ = false; // Its other end is closed: stops looking for keys.
    return false;
  }

private:
  static void write(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }

  termios before_{};
  bool reads_keys_ = false;
};

class top_view {
public:
  explicit top_view(const top_options& options, std::string url)
    : options_(options), live_(!options.once && !options.as_json && is_terminal(STDOUT_FILENO)),
      colours_(wants_colour(STDOUT_FILENO)), interval_(to_milliseconds(options.interval_s)),
      retry_(std::min(interval_, slowest_retry), std::max(interval_, slowest_retry)) {
    moment_.url = std::move(url);
  }

  int run() {
    if (options_.once)
      return once();
    catch_interrupts();
    if (live_)
      screen_.emplace();
    while (!ended_) {
      if (auto said = ask(); said && !ended_)
        take(*said);
      else if (!said && !ended_)
        complain(said.error());
      else
        break;
      wait();
    }
    screen_.reset();
    if (live_ && reading_) // The last view stays.
      show_block();
    return exit_ok;
  }

private:
  int once() {
    const auto said = ask_all(moment_.url);
    if (!said)
      return give_up(said.error());
    take(*said);
    return exit_ok;
  }

  /// On a thread of its own, so that a service that hangs does not block the terminal.
  expected<round> ask() {
    pending_ = std::async(std::launch::async, [url = moment_.url] { return ask_all(url); });
    while (pending_.wait_for(milliseconds{0}) != std::future_status::ready) {
      if (pending_.wait_for(milliseconds{10}) == std::future_status::ready)
        break;
      if (attend(milliseconds{0}))
        return fail(errc::stopping, "interrupted");
    }
    return pending_.get();
  }

  void take(const round& x) {
    retry_.reset();
    due_ = clock::now() + interval_;
    moment_.trouble.clear();
    reading_ = reading_from(x.health, x.workers, x.ledger);
    measure(reading_->answered);
    if (options_.as_json)
      print_line(dumped(to_json(x)));
    else
      show();
  }

  void measure(uint64_t answered) {
    const auto now = clock::now();
    if (!rate_ || answered < last_answered_) { // The first reading, or after a restart.
      rate_.emplace();
      first_ = now;
      first_answered_ = answered;
      moment_.jobs_per_second.reset();
    } else {
      rate_->add(std::chrono::duration<double>(now - first_).count(), answered - first_answered_);
      moment_.jobs_per_second = rate_->per_second();
    }
    last_answered_ = answered;
  }

  json to_json(const round& x) const {
    return {{"url", moment_.url},
            {"time_ms", std::chrono::duration_cast<milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count()},
            {"jobs_per_second", moment_.jobs_per_second ? json(*moment_.jobs_per_second) : json()},
            {"health", x.health},
            {"workers", x.workers},
            {"ledger", x.ledger}};
  }

  void complain(const error& x) {
    const auto pause = retry_.next(std::random_device{}());
    due_ = clock::now() + pause;
    moment_.trouble = x.message + "; the next try is in "
                      + format("%.1f s", std::chrono::duration<double>(pause).count());
    if (live_)
      show();
    else
      print_error({x.code, moment_.trouble});
  }

  void show() {
    if (!live_) {
      show_block();
      return;
    }
    columns_ = terminal_width(STDOUT_FILENO);
    rows_ = terminal_height(STDOUT_FILENO);
    if (reading_)
      screen_->draw(draw_service(*reading_, moment_, columns_, rows_, colours_));
    else
      screen_->draw({styled_line{columns_, colours_}.add("Ziyu 自愈", colour::bold).take(),
                     styled_line{columns_, colours_}.add(moment_.trouble, colour::red).take()});
  }

  void show_block() {
    if (!std::exchange(first_block_, false))
      print_line("");
    for (const auto& x :
         draw_service(*reading_, moment_, terminal_width(STDOUT_FILENO), 0, colours_))
      print_line(x);
  }

  /// Waits until the next round is due, or the end.
  void wait() {
    while (!ended_ && clock::now() < due_) {
      const auto left = std::chrono::ceil<milliseconds>(due_ - clock::now());
      if (attend(std::clamp(left, milliseconds{0}, attention)))
        return;
      if (live_
          && (columns_ != terminal_width(STDOUT_FILENO) || rows_ != terminal_height(STDOUT_FILENO)))
        show();
    }
  }

  /// Handles keys, signals and closed output; true when the view must end.
  bool attend(milliseconds limit) {
    if (screen_)
      ended_ |= screen_->quit_within(limit);
    else
      ::poll(nullptr, 0, static_cast<int>(limit.count()));
    ended_ |= interrupted() || output_closed() || std::ferror(stdout) != 0;
    return ended_;
  }

  const top_options& options_;
  bool live_, colours_, ended_ = false, first_block_ = true;
  milliseconds interval_;
  supervision::backoff retry_;
  clock::time_point due_{};
  top_moment moment_;
  std::optional<service_reading> reading_;
  std::optional<rate_meter> rate_;
  clock::time_point first_{};
  uint64_t first_answered_ = 0, last_answered_ = 0;
  size_t columns_ = 0, rows_ = 0;
  std::future<expected<round>> pending_; ///< Outlives the screen, not the terminal's state.
  std::optional<full_screen> screen_;
};

} // namespace

void add_top_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("top", "Watch the memory of a running service's workers");
  auto options = std::make_shared<top_options>();
  options->service.add_to(*command);
  command
    ->add_option("--interval", options->interval_s, "Pause between two requests to the service")
    ->check(in_range(0.05, 3600.0))
    ->type_name("SECONDS")
    ->capture_default_str();
  command->add_flag("--once", options->once, "Ask once and end");
  command->add_flag("--json", options->as_json,
                    "Print /health, /workers and /ledger, one JSON object per line");
  command->footer(
    "On a terminal the key q ends it. A service that does not answer is asked again, except with "
    "--once.\n"
    "Exit codes: 0 seen, 1 the answer is not ziyu's, 2 wrong usage, 4 no answer (--once).\n"
    "Example: ziyu top --interval 0.5 localhost:8080");
  command->callback([options, &exit_code] {
    exit_code = options->service.use([&](const auto& url) {
      return top_view{*options, url}.run();
    });
  });
}

} // namespace ziyu::cli
