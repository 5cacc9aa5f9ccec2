// What `worker_host` promises, of real processes and of the fake that unit tests and the simulation
// use: a test that passes with the fake must mean something for the real one.

#include "actors/process_host.hpp"

#include "base/file.hpp"
#include "support/places.hpp"
#include "tests/support/actor_stage.hpp"
#include "tests/support/fake_host.hpp"
#include "tests/support/fork_server_process.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/io/middleman.hpp>
#include <gmock/gmock.h>

#include <condition_variable>
#include <mutex>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;

/// What the host has said so far, in its order.
struct news_book {
  using entry = std::variant<server_frame, channel_frame, server_closed, channel_closed>;
  std::mutex mutex;
  std::condition_variable more;
  std::vector<entry> entries;

  void add(entry x) {
    std::lock_guard guard{mutex};
    entries.push_back(std::move(x));
    more.notify_all();
  }
};

caf::behavior listener(caf::event_based_actor*, const std::shared_ptr<news_book>& book) {
  return {
    [book](const server_frame& x) { book->add(x); },
    [book](const channel_frame& x) { book->add(x); },
    [book](const server_closed& x) { book->add(x); },
    [book](const channel_closed& x) { book->add(x); },
  };
}

/// A host in an actor system.
class world {
public:
  virtual ~world() = default;
  virtual worker_host& host() = 0;
  virtual caf::actor_system& sys() = 0;
  /// Until `holds` is true, for a while.
  virtual bool wait(news_book& book, const std::function<bool()>& holds) = 0;
  virtual std::string image() const = 0;
};

class real_world : public world {
public:
  real_world() {
    process_host_settings x;
    x.executable = std::filesystem::path{program_dir()} / "ziyu-worker";
    host_.emplace(sys_, std::move(x));
  }
  worker_host& host() override { return *host_; }
  caf::actor_system& sys() override { return sys_; }
  bool wait(news_book& book, const std::function<bool()>& holds) override {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline)
        return false;
      // News wake it; what is not news (the end of a process) is looked at again.
      std::unique_lock guard{book.mutex};
      book.more.wait_for(guard, 10ms);
    }
    return true;
  }
  std::string image() const override {
    return *read_file(source_dir() + "/tests/data/digits/0_024.png");
  }

private:
  struct config : caf::actor_system_config {
    config() {
      set("scheduler.max-threads", size_t{2});
      load<caf::io::middleman>();
    }
  };
  config config_;
  caf::actor_system sys_{config_};
  std::optional<process_host> host_;
};

class fake_world : public world {
public:
  fake_world() {
    host_->complain = [](const std::string& what) { ADD_FAILURE() << what; };
  }
  ~fake_world() override {
    host_->release();
    stage_.run();
  }
  worker_host& host() override { return *host_; }
  caf::actor_system& sys() override { return stage_.sys; }
  bool wait(news_book&, const std::function<bool()>& holds) override {
    stage_.run();
    return holds();
  }
  std::string image() const override { return "an image"; }

private:
  actor_stage stage_;
  std::shared_ptr<fake_host> host_ = std::make_shared<fake_host>(stage_.sys);
};

std::unique_ptr<world> make(const std::string& which) {
  if (which == "Real")
    return std::make_unique<real_world>();
  return std::make_unique<fake_world>();
}

class WorkerHost : public testing::TestWithParam<std::string> {
protected:
  ~WorkerHost() override {
    for (auto number : servers_)
      host().stop_server(number, true);
    for (auto id : workers_)
      host().signal(id, SIGKILL);
    caf::anon_send_exit(boss_, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(owner_, caf::exit_reason::user_shutdown);
    for (auto number : servers_)
      EXPECT_TRUE(wait([&] { return !host().server_running(number); }));
    for (auto id : workers_) {
      EXPECT_TRUE(wait([&] { return host().gone(id); }));
      host().forget(id);
    }
  }

  worker_host& host() { return world_->host(); }

  bool wait(const std::function<bool()>& holds, news_book* book = nullptr) {
    return world_->wait(book != nullptr ? *book : *news_, holds);
  }

  /// The first entry of type `Entry` for which `find` returns something.
  template <class Entry, class T>
  std::optional<T> await(const std::function<std::optional<T>(const Entry&)>& find,
                         news_book* book = nullptr) {
    auto& where = book != nullptr ? *book : *news_;
    std::optional<T> found;
    wait(
      [&] {
        std::lock_guard guard{where.mutex};
        for (const auto& x : where.entries)
          if (auto entry = std::get_if<Entry>(&x); entry != nullptr && !found)
            found = find(*entry);
        return found.has_value();
      },
      &where);
    return found;
  }

  template <class Frame>
  std::optional<Frame> from_server(
    uint64_t server,
    const std::function<bool(const Frame&)>& wanted = [](const Frame&) { return true; }) {
    return await<server_frame, Frame>([&](const server_frame& x) -> std::optional<Frame> {
      const auto content = std::get_if<Frame>(x.content.get());
      return x.server == server && content != nullptr && wanted(*content) ? std::optional{*content}
                                                                          : std::nullopt;
    });
  }

  template <class Frame>
  std::optional<Frame> from_worker(uint64_t worker, news_book* book = nullptr) {
    return await<channel_frame, Frame>(
      [&](const channel_frame& x) -> std::optional<Frame> {
        const auto content = std::get_if<Frame>(x.content.get());
        return x.worker == worker && content != nullptr ? std::optional{*content} : std::nullopt;
      },
      book);
  }

  bool is_server_closed(uint64_t server) {
    return await<server_closed, bool>([&](const server_closed& x) {
             return x.server == server ? std::optional{true} : std::nullopt;
           })
      .has_value();
  }

  bool is_worker_closed(uint64_t worker) {
    return await<channel_closed, bool>([&](const channel_closed& x) {
             return x.worker == worker ? std::optional{true} : std::nullopt;
           })
      .has_value();
  }

  int32_t start_server(uint64_t number, const std::string& folder = digits_model.string()) {
    const auto pid = host().start_server(number, folder, boss_);
    EXPECT_TRUE(pid) << pid.error().describe();
    servers_.push_back(number);
    return pid.value_or(0);
  }

  /// A worker that is ready; returns its channel.
  caf::actor start_worker(uint64_t server, uint64_t id) {
    const auto channel = host().spawn(server, id, boss_);
    EXPECT_TRUE(channel) << channel.error().describe();
    workers_.push_back(id);
    const auto ready = from_worker<wire::ready>(id);
    EXPECT_TRUE(ready);
    if (!channel || !ready)
      return {};
    pids_[id] = ready->pid;
    host().adopt(id, ready->pid);
    return *channel;
  }

  static void tell(const caf::actor& channel, const wire::frame& x) {
    caf::anon_send(channel, outgoing_frame{std::make_shared<const std::string>(wire::encode(x))});
  }

  std::unique_ptr<world> world_ = make(GetParam());
  std::shared_ptr<news_book> news_ = std::make_shared<news_book>();
  std::shared_ptr<news_book> owners_news_ = std::make_shared<news_book>();
  caf::actor boss_ = world_->sys().spawn(listener, news_);
  caf::actor owner_ = world_->sys().spawn(listener, owners_news_); ///< As a slot.
  std::vector<uint64_t> servers_, workers_;
  std::map<uint64_t, int32_t> pids_; ///< Of workers.
};

INSTANTIATE_TEST_SUITE_P(Is, WorkerHost, testing::Values("Real", "Fake"),
                         [](const auto& x) { return x.param; });

} // namespace

TEST_P(WorkerHost, StartsAForkServerThatSaysWhatModelItHas) {
  EXPECT_FALSE(host().server_running(1));
  EXPECT_FALSE(host().server_has_memory(1));
  const auto pid = start_server(1);
  EXPECT_GT(pid, 0);
  EXPECT_TRUE(host().server_running(1));
  const auto ready = from_server<wire::server_ready>(1);
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->pid, pid);
  EXPECT_EQ(ready->model_name, "digits");
  EXPECT_EQ(ready->model_version, "1");
  EXPECT_TRUE(host().server_has_memory(1));
  EXPECT_TRUE(host().read_memory(pid));
}

TEST_P(WorkerHost, ForksAWorkerAndSaysItsPidTwice) {
  start_server(1);
  start_worker(1, 7);
  const auto spawned = from_server<wire::spawned>(1);
  ASSERT_TRUE(spawned);
  EXPECT_EQ(spawned->spawn_id, 7u);
  EXPECT_EQ(spawned->pid, pids_[7]);
  EXPECT_FALSE(host().gone(7));
  EXPECT_FALSE(host().stopped(7));
  const auto memory = host().read_memory(pids_[7]);
  ASSERT_TRUE(memory);
  EXPECT_GT(memory->private_bytes, 0u);
}

TEST_P(WorkerHost, ForksNothingWithoutAForkServer) {
  EXPECT_FALSE(host().spawn(1, 7, boss_));
  start_server(1);
  host().stop_server(1, true);
  EXPECT_TRUE(is_server_closed(1));
  // The socket of one that has ended may take a request, which its end answers.
  if (const auto channel = host().spawn(1, 8, boss_)) {
    EXPECT_TRUE(is_worker_closed(8));
  }
}

TEST_P(WorkerHost, OnlyAnswersToJobsGoToTheOwner) {
  start_server(1);
  const auto channel = start_worker(1, 7);
  caf::anon_send(channel, atom::own{}, owner_);
  tell(channel, wire::assign{0, 1, ""});
  tell(channel, wire::batch_of_one(5, 1, "", world_->image()));
  const auto answer = from_worker<wire::result>(7, owners_news_.get());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->attempt_id, 5u);
  ASSERT_EQ(answer->answers.size(), 1u);
  tell(channel, wire::trim{});
  EXPECT_TRUE(from_worker<wire::trimmed>(7));
  host().signal(7, SIGKILL);
  EXPECT_TRUE(is_worker_closed(7));
  std::lock_guard guard{owners_news_->mutex};
  EXPECT_EQ(owners_news_->entries.size(), 1u) << "the supervisor can tell the owner why";
}

TEST_P(WorkerHost, TellsHowAWorkerEnded) {
  start_server(1);
  const auto first = start_worker(1, 7);
  start_worker(1, 8);
  tell(first, wire::stop{});
  EXPECT_TRUE(is_worker_closed(7));
  const auto stopped = from_server<wire::exited>(1);
  ASSERT_TRUE(stopped);
  EXPECT_EQ(stopped->pid, pids_[7]);
  EXPECT_EQ(stopped->signal, 0);
  EXPECT_EQ(stopped->exit_code, 0);
  EXPECT_TRUE(wait([&] { return host().gone(7); }));
  host().signal(8, SIGKILL);
  const auto killed = from_server<wire::exited>(
    1, [this](const wire::exited& x) { return x.pid == pids_[8]; });
  ASSERT_TRUE(killed);
  EXPECT_EQ(killed->signal, SIGKILL);
  EXPECT_TRUE(wait([&] { return host().gone(8); }));
  EXPECT_FALSE(host().read_memory(pids_[8]));
}

TEST_P(WorkerHost, WorkersOutliveTheirForkServer) {
  start_server(1);
  const auto channel = start_worker(1, 7);
  host().stop_server(1, false);
  EXPECT_TRUE(is_server_closed(1));
  EXPECT_TRUE(wait([&] { return !host().server_running(1); }));
  EXPECT_FALSE(host().server_has_memory(1));
  EXPECT_FALSE(host().gone(7));
  caf::anon_send(channel, atom::own{}, owner_);
  tell(channel, wire::assign{0, 1, ""});
  tell(channel, wire::batch_of_one(5, 1, "", world_->image()));
  EXPECT_TRUE(from_worker<wire::result>(7, owners_news_.get()));
  host().signal(7, SIGKILL);
  EXPECT_TRUE(is_worker_closed(7));
  EXPECT_TRUE(wait([&] { return host().gone(7); }));
}

TEST_P(WorkerHost, HasTwoForkServersAtOnce) {
  start_server(1);
  start_server(2);
  start_worker(1, 7);
  start_worker(2, 8);
  host().stop_server(1, false);
  EXPECT_TRUE(is_server_closed(1));
  EXPECT_TRUE(host().server_running(2));
  EXPECT_FALSE(host().spawn(1, 9, boss_) && !is_worker_closed(9));
  start_worker(2, 10);
  EXPECT_FALSE(host().gone(7));
  EXPECT_FALSE(host().gone(10));
  host().signal(8, SIGKILL);
  EXPECT_TRUE(is_worker_closed(8));
  EXPECT_FALSE(host().gone(7));
}

TEST_P(WorkerHost, StopsAWorkerOnlyAfterItWasAdopted) {
  start_server(1);
  const auto channel = host().spawn(1, 7, boss_);
  ASSERT_TRUE(channel);
  workers_.push_back(7);
  ASSERT_TRUE(from_worker<wire::ready>(7));
  EXPECT_TRUE(host().gone(7)) << "no handle of it yet";
  host().signal(7, SIGKILL);
  tell(*channel, wire::trim{});
  EXPECT_TRUE(from_worker<wire::trimmed>(7)) << "it lives";
  host().adopt(7, from_worker<wire::ready>(7)->pid);
  host().signal(7, SIGSTOP);
  EXPECT_TRUE(wait([&] { return host().stopped(7); }));
  EXPECT_FALSE(host().gone(7));
}

TEST_P(WorkerHost, NobodyIsSignalledUnderANumberThatIsForgotten) {
  start_server(1);
  start_worker(1, 7);
  host().signal(7, SIGKILL);
  EXPECT_TRUE(wait([&] { return host().gone(7); }));
  host().forget(7);
  host().forget(7);
  host().signal(7, SIGKILL);
  host().signal(99, SIGKILL);
  EXPECT_TRUE(host().gone(7));
  EXPECT_TRUE(host().gone(99));
  EXPECT_FALSE(host().stopped(99));
}

TEST_P(WorkerHost, KnowsNoExplanationThatWasNotAskedFor) {
  const auto found = host().explained(77);
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
  host().stop_explaining(77);
}

TEST_P(WorkerHost, ReadsTheContainersMemory) {
  const auto memory = host().read_container();
  ASSERT_TRUE(memory);
  EXPECT_GT(memory->limit, 0u);
  EXPECT_FALSE(memory->source.empty());
}

} // namespace ziyu::actors
