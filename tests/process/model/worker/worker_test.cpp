// The real ziyu-worker with the digits model, at the other end of its sockets.

#include "tests/support/fork_server_process.hpp"

#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <vector>

#include <linux/sockios.h>
#include <sys/ioctl.h>

namespace ziyu {

namespace {

using namespace ziyu::test;

constexpr int64_t ki_b = 1024, mib = 1024 * ki_b;

/// Runs `jobs` jobs with a fault and returns their deltas, without those of the first
/// jobs, when tables of the libraries still grow.
std::vector<int64_t> deltas(worker_process& x, const std::string& image, const std::string& fault,
                            int jobs, int warm_up = 3) {
  std::vector<int64_t> xs;
  for (auto i = 0; i < jobs + warm_up; ++i) {
    auto answer = x.run(image, i < warm_up ? "" : fault);
    if (!answer) {
      ADD_FAILURE() << answer.error().describe();
      return xs;
    }
    EXPECT_TRUE(answer->error_code.empty()) << answer->error_message;
    if (i >= warm_up)
      xs.push_back(answer->delta_live);
  }
  return xs;
}

int64_t median(std::vector<int64_t> xs) {
  std::sort(xs.begin(), xs.end());
  return xs.at(xs.size() / 2);
}

/// A BMP image of one colour.
std::string bitmap(uint32_t width, uint32_t height) {
  const auto stride = (width * 3 + 3) / 4 * 4;
  std::string x(54 + size_t{stride} * height, '\x40');
  auto put = [&](size_t at, uint32_t value, size_t size) {
    for (size_t i = 0; i < size; ++i)
      x[at + i] = static_cast<char>(value >> (8 * i));
  };
  x[0] = 'B';
  x[1] = 'M';
  put(2, static_cast<uint32_t>(x.size()), 4);
  put(6, 0, 4);
  put(10, 54, 4);
  put(14, 40, 4);
  put(18, width, 4);
  put(22, height, 4);
  put(26, 1, 2);
  put(28, 24, 2);
  for (size_t i = 30; i < 54; i += 4)
    put(i, 0, 4);
  return x;
}

} // namespace

TEST(Worker, ForkServerDescribesItsModelAndWorkersClassify) {
  fork_server_process server;
  const auto news = server.expect_frame<wire::server_ready>();
  EXPECT_EQ(news.pid, server.child.pid());
  EXPECT_EQ(news.model_name, "digits");
  EXPECT_EQ(news.model_version, "1");
  EXPECT_EQ(news.model_sha256.size(), 64u);
  EXPECT_EQ(news.precision, "fp32");
  EXPECT_EQ(news.classes, 10u);
  EXPECT_EQ(news.largest_batch(), 1u) << "unless it is told otherwise";
  EXPECT_GT(news.memory.live, 100'000u);
  auto x = server.spawn(7);
  EXPECT_EQ(x.news.pid, x.pid);
  EXPECT_GT(x.news.memory.rss_anon, 0u);
  for (auto digit = 0; digit < 10; ++digit) {
    auto answer = x.run(digit_image(digit));
    ASSERT_TRUE(answer) << answer.error().describe();
    ASSERT_EQ(answer->top_k.size(), 3u);
    EXPECT_EQ(answer->top_k[0].label, digit_label(digit));
    EXPECT_EQ(answer->top_k[0].index, static_cast<uint32_t>(digit));
    EXPECT_GE(answer->top_k[0].probability, answer->top_k[1].probability);
    EXPECT_GT(answer->width, 0u);
    EXPECT_GT(answer->inference_us, 0u);
  }
}

TEST(Worker, AnswersEachJobOfABatchInItsPlace) {
  fork_server_process server{digits_model, {"--max-batch", "8"}};
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  wire::batch batch;
  batch.attempt_id = 77;
  batch.top_k = 1;
  for (auto digit = 0; digit < 10; ++digit)
    batch.jobs.push_back({"", digit_image(digit)});
  batch.jobs[4].image = "this is not an image";
  for (auto round = 0; round < 5; ++round) {
    x.send(batch);
    const auto frame = x.next();
    ASSERT_TRUE(frame) << frame.error().describe();
    const auto& result = std::get<wire::result>(*frame);
    EXPECT_EQ(result.attempt_id, 77u);
    ASSERT_EQ(result.answers.size(), 10u);
    for (auto digit = 0; digit < 10; ++digit) {
      const auto& each = result.answers[static_cast<size_t>(digit)];
      if (digit == 4)
        EXPECT_EQ(each.error_code, "undecodable_image");
      else
        EXPECT_EQ(each.top_k.at(0).label, digit_label(digit));
    }
    if (round > 2) {
      EXPECT_EQ(result.delta_live, 0) << "a batch keeps nothing either";
    }
  }
}

TEST(Worker, AnswersBadImagesAndGoesOn) {
  fork_server_process server{digits_model, {"--faults-allowed", "--max-pixels", "1000000"}};
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const std::pair<std::string, const char*> cases[] = {
    {"this is not an image", "undecodable_image"},
    {"", "empty_image"},
    {bitmap(1'001, 1'000), "image_too_large"},
  };
  for (const auto& [image, code] : cases) {
    auto answer = x.run(image);
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->error_code, code);
    EXPECT_FALSE(answer->error_message.empty());
    EXPECT_TRUE(answer->top_k.empty());
  }
  EXPECT_EQ(x.run(digit_image(3))->top_k.at(0).label, std::string{"三"});
}

TEST(Worker, KeepsNotOneByteOfAHealthyJob) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  std::vector<std::string> images;
  images.reserve(10);
  for (auto digit = 0; digit < 10; ++digit)
    images.push_back(digit_image(digit));
  images.emplace_back("not an image"); // its failure is answered, and leaves nothing either
  for (auto round = 0; round < 5; ++round)
    for (const auto& image : images) {
      auto answer = x.run(image);
      ASSERT_TRUE(answer);
      if (round > 0) {
        EXPECT_EQ(answer->delta_live, 0) << "round " << round;
      }
    }
}

TEST(Worker, AccountsForRetainedTensors) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const auto xs = deltas(x, digit_image(3), "retain_tensors:1MiB", 9);
  for (auto d : xs) {
    EXPECT_GE(d, mib);
    EXPECT_LE(d, mib + 300 * ki_b);
  }
  // Without an amount: only the output of ten classes, and the tensor around it.
  const auto small = median(deltas(x, digit_image(3), "retain_tensors", 9));
  EXPECT_GT(small, 0);
  EXPECT_LT(small, 4 * ki_b);
}

TEST(Worker, AccountsForNativeAllocationsToTheByte) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const auto xs = deltas(x, digit_image(3), "native_malloc:64KiB", 15);
  EXPECT_EQ(median(xs), 64 * ki_b);
  for (auto d : xs) { // now and then the table of the blocks grows
    EXPECT_GE(d, 64 * ki_b);
    EXPECT_LE(d, 65 * ki_b);
  }
}

TEST(Worker, AccountsForRetainedImages) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const auto image = bitmap(300, 200);
  const auto kept = static_cast<int64_t>(image.size()) + 300 * 200 * 3;
  for (auto d : deltas(x, image, "retain_images", 7)) {
    EXPECT_GE(d, kept);
    EXPECT_LE(d, kept * 5 / 4 + 8 * ki_b);
  }
}

TEST(Worker, AccountsForModelsLoadedAgain) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const auto weights = static_cast<int64_t>(std::filesystem::file_size(digits_model / "model.pt"));
  for (auto d : deltas(x, digit_image(3), "reload_model", 3))
    EXPECT_GE(d, weights / 2);
}

TEST(Worker, ObeysTheFaultOfItsSlot) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  deltas(x, digit_image(3), "", 3);
  x.send(wire::assign{4, 2, "native_malloc:64KiB"});
  EXPECT_GE(x.run(digit_image(3))->delta_live, 64 * ki_b);
  x.send(wire::assign{4, 3, ""});
  EXPECT_EQ(median(deltas(x, digit_image(3), "", 3)), 0);
}

TEST(Worker, RefusesFaultsUnlessAllowed) {
  fork_server_process server{digits_model, {}};
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  x.send(wire::assign{0, 1, "native_malloc:1MiB"});
  deltas(x, digit_image(3), "", 3);
  for (const auto fault : {"crash", "hang", "native_malloc:1MiB"}) {
    auto answer = x.run(digit_image(3), fault);
    ASSERT_TRUE(answer) << fault << ": " << answer.error().describe();
    EXPECT_EQ(answer->delta_live, 0) << fault;
  }
}

TEST(Worker, DiesOfACrashAndTheForkServerSaysHow) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn(1);
  auto other = server.spawn(2);
  auto answer = x.run(digit_image(3), "crash");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, errc::unavailable) << answer.error().describe();
  const auto ended = server.expect_frame<wire::exited>();
  EXPECT_EQ(ended.pid, x.pid);
  EXPECT_EQ(ended.signal, SIGSEGV);
  EXPECT_GT(ended.max_rss, 0u);
  EXPECT_TRUE(gone(x.pid)) << "reaped";
  EXPECT_TRUE(other.run(digit_image(5))) << "the other one does not notice";
}

TEST(Worker, HangsUntilItIsKilled) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  x.send(wire::batch_of_one(1, 1, "hang", digit_image(3)));
  x.send(wire::stop{});
  auto nothing = x.next(300ms);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, errc::timeout);
  ::kill(x.pid, SIGTERM); // a busy worker would finish its job first
  nothing = x.next(300ms);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, errc::timeout);
  ::kill(x.pid, SIGKILL);
  EXPECT_EQ(server.expect_frame<wire::exited>().signal, SIGKILL);
}

TEST(Worker, TakesLongerWhenToldTo) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const auto start = std::chrono::steady_clock::now();
  auto answer = x.run(digit_image(3), "slow:200");
  ASSERT_TRUE(answer);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 200ms);
  EXPECT_EQ(answer->top_k.at(0).label, std::string{"三"});
}

TEST(Worker, GivesMemoryBackWhenTrimmed) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  ASSERT_TRUE(x.run(bitmap(4'000, 2'000))); // 24 MB, decoded as much again
  x.send(wire::trim{});
  auto news = x.next();
  ASSERT_TRUE(news && std::holds_alternative<wire::trimmed>(*news));
  const auto& trimmed = std::get<wire::trimmed>(*news);
  EXPECT_GT(trimmed.before.rss_anon, trimmed.after.rss_anon + 20 * mib);
  EXPECT_EQ(trimmed.before.live, trimmed.after.live) << "nothing that lives is touched";
  EXPECT_TRUE(x.run(digit_image(3)));
}

TEST(Worker, EndsWhenTold) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn(1);
  x.send(wire::stop{});
  auto ended = server.expect_frame<wire::exited>();
  EXPECT_EQ(ended.pid, x.pid);
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.signal, 0);
  auto y = server.spawn(2);
  ::kill(y.pid, SIGTERM);
  ended = server.expect_frame<wire::exited>();
  EXPECT_EQ(ended.pid, y.pid);
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.signal, 0);
  auto z = server.spawn(3);
  z.socket.reset(); // the control process has ended
  ended = server.expect_frame<wire::exited>();
  EXPECT_EQ(ended.pid, z.pid);
  EXPECT_EQ(ended.exit_code, 0);
}

TEST(Worker, FinishesItsJobBeforeItEndsByASignal) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  x.send(wire::batch_of_one(1, 1, "slow:300", digit_image(3)));
  // The worker is at work when it has read all of the job and sleeps again.
  ASSERT_TRUE(wait_until([&] {
    auto unread = 1;
    if (::ioctl(x.socket.get(), SIOCOUTQ, &unread) != 0 || unread != 0)
      return false;
    const auto stat = read_file("/proc/" + std::to_string(x.pid) + "/stat");
    return stat && stat->find(") S ") != std::string::npos;
  }));
  ::kill(x.pid, SIGTERM);
  auto answer = x.next();
  ASSERT_TRUE(answer) << answer.error().describe();
  EXPECT_TRUE(std::holds_alternative<wire::result>(*answer));
  EXPECT_EQ(server.expect_frame<wire::exited>().exit_code, 0);
}

TEST(Worker, EndsAtRubbishOnItsSocket) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const std::string rubbish = "GET / HTTP/1.1\r\n\r\n";
  ASSERT_EQ(::write(x.socket.get(), rubbish.data(), rubbish.size()),
            static_cast<ssize_t>(rubbish.size()));
  const auto ended = server.expect_frame<wire::exited>();
  EXPECT_EQ(ended.exit_code, 3);
  EXPECT_EQ(ended.signal, 0);
}

TEST(ForkServer, EndsAtRubbishOnItsSocketWithItsWorkers) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const std::string rubbish(64, 'x');
  ASSERT_EQ(::write(server.control.get(), rubbish.data(), rubbish.size()),
            static_cast<ssize_t>(rubbish.size()));
  const auto status = server.child.wait(patience);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->exit_code, 3) << status->describe();
  EXPECT_TRUE(wait_until([&] { return gone(x.pid); }));
}

TEST(ForkServer, LeavesNothingWhenTheControlProcessIsGone) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto idle = server.spawn(1);
  auto hanging = server.spawn(2);
  hanging.send(wire::batch_of_one(1, 1, "hang", digit_image(3)));
  server.control.reset();
  const auto status = server.child.wait(patience);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->exit_code, 0) << status->describe();
  EXPECT_TRUE(wait_until([&] { return gone(idle.pid) && gone(hanging.pid); }));
}

TEST(ForkServer, EndsWithItsWorkersAtSigterm) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  server.child.signal(SIGTERM);
  const auto status = server.child.wait(patience);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->exit_code, 0) << status->describe();
  EXPECT_TRUE(wait_until([&] { return gone(x.pid); }));
}

TEST(ForkServer, LeavesItsWorkersAliveWhenTold) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  ASSERT_TRUE(wire::send_frame(server.control.get(), wire::stop{}));
  ASSERT_TRUE(server.child.wait(patience));
  EXPECT_TRUE(x.run(digit_image(3)));
}

TEST(ForkServer, IsSurvivedByItsWorkersWhenKilled) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  auto hanging = server.spawn(2);
  hanging.send(wire::batch_of_one(1, 1, "hang", digit_image(3)));
  server.child.signal(SIGKILL);
  ASSERT_TRUE(server.child.wait(patience));
  auto answer = x.run(digit_image(3));
  ASSERT_TRUE(answer) << answer.error().describe();
  EXPECT_EQ(answer->top_k.at(0).label, std::string{"三"});
  // Orphans end with their own sockets, even one that hangs.
  x.socket.reset();
  hanging.socket.reset();
  EXPECT_TRUE(wait_until([&] { return gone(x.pid) && gone(hanging.pid); }));
}

TEST(ForkServer, AnswersASpawnWithoutASocket) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  ASSERT_TRUE(wire::send_frame(server.control.get(), wire::spawn{5}));
  const auto made = server.expect_frame<wire::spawned>();
  EXPECT_EQ(made.spawn_id, 5u);
  EXPECT_EQ(made.pid, 0);
  EXPECT_FALSE(made.error_message.empty());
  EXPECT_TRUE(server.spawn(6).run(digit_image(3)));
}

// -- models that are none --------------------------------------------------------------------

namespace {

/// A copy of the digits model to be damaged.
class ForkServerModel : public ::testing::Test {
protected:
  ForkServerModel() {
    std::filesystem::create_directories(folder.parent_path());
    std::filesystem::copy(digits_model, folder, std::filesystem::copy_options::recursive);
  }

  void edit(const std::function<void(nlohmann::json&)>& change) {
    auto x = nlohmann::json::parse(*read_file(folder / "model.json"));
    change(x);
    ASSERT_TRUE(write_file(folder / "model.json", x.dump()));
  }

  wire::server_failed failure() {
    fork_server_process server{folder};
    auto news = server.expect_frame<wire::server_failed>();
    const auto status = server.child.wait(patience);
    EXPECT_TRUE(status && status->exit_code == 2) << (status ? status->describe() : "it runs");
    return news;
  }

  temp_dir dir{"ziyu-model"};
  std::filesystem::path folder = dir.path() / "digits" / "1";
};

} // namespace

TEST_F(ForkServerModel, IsMissing) {
  std::filesystem::remove_all(folder);
  const auto x = failure();
  EXPECT_EQ(x.error_code, "model_missing");
  EXPECT_NE(x.error_message.find(folder.string()), std::string::npos) << x.error_message;
}

TEST_F(ForkServerModel, HasNoWeights) {
  std::filesystem::remove(folder / "model.pt");
  const auto x = failure();
  EXPECT_EQ(x.error_code, "model_missing");
  EXPECT_NE(x.error_message.find("model.pt"), std::string::npos) << x.error_message;
}

TEST_F(ForkServerModel, HasOtherWeightsThanItsChecksumSays) {
  auto weights = *read_file(folder / "model.pt");
  weights[weights.size() / 2] ^= 1;
  ASSERT_TRUE(write_file(folder / "model.pt", weights));
  const auto x = failure();
  EXPECT_EQ(x.error_code, "model_corrupt");
  EXPECT_NE(x.error_message.find("model.pt"), std::string::npos) << x.error_message;
}

TEST_F(ForkServerModel, HasWeightsThatAreNoModel) {
  const std::string rubbish = "these are no weights";
  ASSERT_TRUE(write_file(folder / "model.pt", rubbish));
  edit([&](auto& x) { x["sha256"] = sha256_hex(rubbish); });
  EXPECT_EQ(failure().error_code, "model_corrupt");
}

TEST_F(ForkServerModel, HasTooFewLabels) {
  ASSERT_TRUE(write_file(folder / "labels.txt", "零\n一\n二\n"));
  const auto x = failure();
  EXPECT_EQ(x.error_code, "labels_mismatch");
  EXPECT_NE(x.error_message.find('3'), std::string::npos) << x.error_message;
  EXPECT_NE(x.error_message.find("10"), std::string::npos) << x.error_message;
}

TEST_F(ForkServerModel, HasLabelsForAnotherNumberOfClasses) {
  ASSERT_TRUE(write_file(folder / "labels.txt", "零\n一\n二\n"));
  edit([](auto& x) { x["classes"] = 3; });
  EXPECT_EQ(failure().error_code, "labels_mismatch");
}

TEST_F(ForkServerModel, TakesAnotherInputThanItsDescriptionSays) {
  edit([](auto& x) {
    x["input"]["height"] = 16;
    x["input"]["width"] = 48;
  });
  const auto x = failure();
  EXPECT_EQ(x.error_code, "model_mismatch");
  EXPECT_FALSE(x.error_message.empty());
}

TEST_F(ForkServerModel, TakesAnotherNumberOfChannelsThanItsDescriptionSays) {
  edit([](auto& x) {
    x["input"]["channels"] = "rgb";
    x["input"]["mean"] = {0.3, 0.3, 0.3};
    x["input"]["std"] = {0.35, 0.35, 0.35};
  });
  EXPECT_EQ(failure().error_code, "model_mismatch");
}

TEST(Worker, ShowsItsSlotAndGenerationInTheListOfProcesses) {
  fork_server_process server;
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  auto shown = [&x](const char* file) {
    const auto text = read_file("/proc/" + std::to_string(x.pid) + "/" + file).value_or("");
    return text.substr(0, text.find('\0'));
  };
  EXPECT_EQ(shown("cmdline"), "ziyu-worker: standby");
  EXPECT_EQ(shown("comm"), "ziyu-standby\n");
  x.send(wire::assign{3, 12, ""});
  EXPECT_TRUE(wait_until([&] { return shown("cmdline") == "ziyu-worker: slot 3 generation 12"; }))
    << shown("cmdline");
  EXPECT_EQ(shown("comm"), "ziyu w3.12\n");
}

} // namespace ziyu
