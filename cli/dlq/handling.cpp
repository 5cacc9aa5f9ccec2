// `ziyu dlq replay` and `ziyu dlq drop`. A job and the mark that hides its dead letter are written
// in one transaction. One record that a broker refuses spoils a whole transaction, so what can be
// known before is asked before: which topics may be written to.

#include "cli/dlq/handling.hpp"

#include "base/clock.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/common/json.hpp"
#include "cli/kafka/follow.hpp"
#include "cli/view/drawing.hpp"
#include "messaging/topic_access.hpp"
#include "messaging/transactional_writer.hpp"

#include <cstdio>
#include <iostream>
#include <memory>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using messaging::dead_letter_action;
using nlohmann::json;
using letter = dead_letter_book::letter;

// Of one transaction. The broker aborts one of more than 30 s.
constexpr std::chrono::seconds write_limit{30};
constexpr size_t batch_records = 200;
constexpr size_t batch_bytes = size_t{8} << 20;

/// Asks on the terminal. `invalid_usage` without one.
expected<bool> confirm(const std::string& question) {
  if (!is_terminal(STDIN_FILENO))
    return fail(errc::invalid_usage, question + " There is no terminal to ask on: give --yes");
  std::fprintf(stderr, "%s [y/N] ", question.c_str());
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

class handling {
public:
  handling(const configs::config& c, handling_request request)
    : c_(c), request_(std::move(request)) {}

  int run() {
    if (request_.which.empty() && !request_.all)
      return give_up({errc::invalid_usage,
                      "which ones? Give --code, --job, --record, --since or --until, or --all"});
    // Comes first: it ends another run of this command, whose commits can then be read.
    if (const auto opened = open_writer(); !opened)
      return give_up(opened.error());
    if (const auto found = find_wanted(); !found)
      return give_up(found.error());
    if (wanted_.empty()) {
      std::fprintf(stderr, "nothing to do: no open dead letter matches\n");
      return exit_ok;
    }
    if (const auto asked = ask_access(source_topics()); !asked)
      return give_up(asked.error());
    if (const auto why = access_.at(c_.topics.dead_letters).unwritable(c_.topics.dead_letters))
      return give_up({why->code, why->message + ": a mark in it hides a dead letter that was "
                                   + std::string{to_string(request_.what)}});
    if (!request_.yes) {
      const auto sure = confirm(question());
      if (!sure)
        return give_up(sure.error());
      if (!*sure) {
        std::fprintf(stderr, "nothing was done\n");
        return exit_ok;
      }
    }
    return do_it();
  }

private:
  bool replays() const { return request_.what == dead_letter_action::replayed; }

  int do_it() {
    catch_interrupts();
    total_ = wanted_.size();
    bar_.emplace(replays() ? "replaying" : "dropping", total_);
    const auto ok = replays() ? replay_all() : drop_all();
    bar_.reset();
    std::fprintf(stderr, "%zu of %s %s%s\n", done_, counted(total_, "dead letter").c_str(),
                 replays() ? "replayed" : "dropped",
                 refused_ > 0 ? (", " + std::to_string(refused_) + " refused").c_str() : "");
    if (!ok)
      return give_up(ok.error());
    if (interrupted() && done_ + refused_ < total_) {
      std::fprintf(stderr, "interrupted; the rest is unchanged: run it again\n");
      return exit_interrupted;
    }
    return done_ == total_ ? exit_ok : exit_failed;
  }

  expected<void> open_writer() {
    auto writer = messaging::open_transactional_writer(
      configs::producer_properties(c_), "ziyu-dlq-" + c_.topics.dead_letters, request_.limit);
    if (!writer)
      return tl::unexpected(writer.error());
    writer_ = std::move(*writer);
    return {};
  }

  expected<void> find_wanted() {
    const auto book = read_book(c_, request_.which, request_.limit);
    if (!book)
      return tl::unexpected(book.error());
    for (auto& x : book->letters(false))
      wanted_.emplace(x.head.id, std::move(x));
    return {};
  }

  std::set<std::string> source_topics() const {
    std::set<std::string> result;
    if (replays())
      for (const auto& [id, x] : wanted_)
        result.insert(x.what.source.topic);
    result.erase("");
    return result;
  }

  /// What may be done with these topics, and with that of dead letters.
  expected<void> ask_access(std::set<std::string> topics) {
    topics.insert(c_.topics.dead_letters);
    auto said = messaging::describe_topics(configs::common_properties(c_), topics, request_.limit);
    if (!said)
      return tl::unexpected(said.error());
    for (auto& [name, access] : *said)
      access_[name] = std::move(access);
    return {};
  }

  std::string question() const {
    std::map<std::string, size_t> targets;
    for (const auto& [id, x] : wanted_)
      ++targets[x.what.source.topic];
    if (!replays())
      return "Drop " + counted(wanted_.size(), "dead letter") + "? Nobody will work on them.";
    std::string to;
    for (const auto& [topic, n] : targets)
      to += (to.empty() ? "" : ", ") + std::to_string(n) + " to "
            + (topic.empty() ? "nowhere (no source)" : printable(topic));
    return "Replay " + counted(wanted_.size(), "dead letter") + " (" + to + ")?";
  }

  void refuse(const error& why) {
    ++refused_;
    bar_->clear();
    print_error(why);
  }

  void refuse(const messaging::record_id& id, const error& why) {
    refuse({why.code, messaging::to_string(id) + " (job " + wanted_.at(id).what.job_id
                        + ") was not replayed and stays a dead letter: " + why.message});
  }

  /// Payloads were not kept: reads the topic once more, a batch at a time.
  expected<void> replay_all() {
    expected<void> status;
    auto ok = read_all(
      c_, c_.topics.dead_letters,
      [&](const messaging::record& x) {
        if (!status || interrupted() || !wanted_.contains(x.id))
          return;
        auto job = messaging::replay_of(x);
        if (!job)
          return refuse(job.error());
        const auto& topic = access_.at(job->topic);
        if (const auto why = topic.unwritable(job->topic))
          return refuse(x.id, *why);
        if (job->partition && *job->partition >= topic.partitions)
          job->partition.reset(); // made anew with fewer partitions: by the key
        status = add(x.id, std::move(job.value()));
      },
      request_.limit);
    if (!ok)
      return ok;
    return status ? flush() : status;
  }

  expected<void> drop_all() {
    std::vector<messaging::record_id> all; // `wanted_` may be read anew meanwhile
    for (const auto& [id, x] : wanted_)
      all.push_back(id);
    for (const auto& id : all) {
      if (interrupted())
        break;
      if (!wanted_.contains(id))
        continue;
      if (auto ok = add(id, std::nullopt); !ok)
        return ok;
    }
    return flush();
  }

  expected<void> add(const messaging::record_id& id, std::optional<messaging::outgoing> job) {
    if (job) {
      bytes_ += job->bytes();
      batch_.push_back(std::move(*job));
      letters_.push_back(id);
    }
    batch_.push_back(messaging::make_mark(id, request_.what, system_environment().wall_ms()));
    letters_.push_back(id);
    ids_.push_back(id);
    if (ids_.size() < batch_records && bytes_ < batch_bytes)
      return {};
    return flush();
  }

  /// Jobs and their marks appear together or not at all.
  expected<void> flush() {
    while (!ids_.empty()) {
      const auto ok = writer_->write(batch_, write_limit);
      if (ok)
        break;
      if (!leave_out(ok.error()))
        return fail(ok.error().reason.code,
                    ok.error().reason.message
                      + "; dead letters that were not reported are unchanged: run it again");
      if (!writer_->is_open())
        if (auto opened = start_anew(); !opened)
          return opened;
    }
    done_ += ids_.size();
    bar_->show(done_);
    if (request_.json)
      for (const auto& id : ids_)
        print_done(id);
    batch_.clear();
    letters_.clear();
    ids_.clear();
    bytes_ = 0;
    return {};
  }

  void print_done(const messaging::record_id& id) {
    const auto& x = wanted_.at(id);
    bar_->clear();
    print_line(dumped(
      json{{"job_id", x.what.job_id},
           {"record", {{"topic", id.topic}, {"partition", id.partition}, {"offset", id.offset}}},
           {"action", to_string(request_.what)},
           {"replays", x.what.replays + (replays() ? 1 : 0)},
           {"topic", x.what.source.topic}}));
  }

  /// With a new writer. Another run may have replayed or dropped some of the batch meanwhile.
  expected<void> start_anew() {
    writer_.reset();
    if (auto opened = open_writer(); !opened)
      return opened;
    wanted_.clear();
    if (auto found = find_wanted(); !found)
      return found;
    for (const auto& id : std::vector{ids_})
      if (!wanted_.contains(id))
        remove(id);
    return {};
  }

  /// Refuses the dead letters that a write has failed by. False if it has failed otherwise, or
  /// cannot be repeated without them.
  bool leave_out(const messaging::transactional_writer::failure& failure) {
    const auto& why = failure.reason;
    if (why.code == errc::kafka_fatal || why.code == errc::timeout)
      return false;
    if (why.code != errc::job_too_large && leave_out_unwritable())
      return true;
    if (!failure.culprit)
      return false;
    const auto& topic = batch_.at(*failure.culprit).topic;
    if (topic == c_.topics.dead_letters) // a mark, without which none can be written
      return false;
    const auto id = letters_.at(*failure.culprit);
    refuse(id, {why.code, "topic " + topic + " does not take it: " + why.message});
    remove(id);
    return true;
  }

  /// Asks again, as topics go and rights change in the middle. A refusal does not always name the
  /// record, and it costs less to leave out all dead letters of a topic at once. False if there is
  /// none to leave out.
  bool leave_out_unwritable() {
    std::map<messaging::record_id, std::string> topics;
    std::set<std::string> names;
    for (size_t i = 0; i < batch_.size(); ++i)
      if (batch_[i].topic != c_.topics.dead_letters) {
        topics.emplace(letters_[i], batch_[i].topic);
        names.insert(batch_[i].topic);
      }
    if (!ask_access(std::move(names)))
      return false;
    size_t left_out = 0;
    for (const auto& [id, topic] : topics)
      if (const auto why = access_.at(topic).unwritable(topic)) {
        refuse(id, *why);
        remove(id);
        ++left_out;
      }
    return left_out > 0;
  }

  /// From the batch: the job and its mark.
  void remove(const messaging::record_id& id) {
    for (size_t i = letters_.size(); i-- > 0;)
      if (letters_[i] == id) {
        batch_.erase(batch_.begin() + static_cast<std::ptrdiff_t>(i));
        letters_.erase(letters_.begin() + static_cast<std::ptrdiff_t>(i));
      }
    std::erase(ids_, id);
  }

  const configs::config& c_;
  handling_request request_;
  std::unique_ptr<messaging::transactional_writer> writer_;
  std::map<std::string, messaging::topic_access> access_;
  std::map<messaging::record_id, letter> wanted_;
  std::vector<messaging::outgoing> batch_;
  std::vector<messaging::record_id> letters_; ///< Of each record of the batch: its dead letter.
  std::vector<messaging::record_id> ids_;     ///< The dead letters of the batch, each once.
  size_t bytes_ = 0, done_ = 0, refused_ = 0, total_ = 0;
  std::optional<progress_bar> bar_;
};

} // namespace

int handle_dead_letters(const configs::config& c, handling_request request) {
  return handling{c, std::move(request)}.run();
}

} // namespace ziyu::cli
