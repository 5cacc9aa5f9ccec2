// What `ziyu serve` refuses, with its messages and exit codes. No broker is needed: all of this is
// found before a broker is contacted.

#include "base/file.hpp"
#include "base/text.hpp"
#include "e2e/support/processes.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

namespace {

/// An address without a listener.
constexpr auto no_broker = "127.0.0.1:9";

outcome serve(const std::string& text, std::vector<std::string> more = {}) {
  temp_dir folder;
  const auto file = folder.path() / "ziyu.json";
  must(write_file(file, text));
  std::vector<std::string> command{ziyu_program(), "serve", "--config", file.string()};
  command.insert(command.end(), more.begin(), more.end());
  return run_program(command);
}

outcome serve(const json& patch) {
  return serve(stage{no_broker, false}.configuration(patch).dump(2));
}

/// A copy of the digits model to be damaged.
class model_copy {
public:
  model_copy() {
    fs::create_directories(folder());
    fs::copy(source_file("models/digits/1"), folder());
  }
  fs::path folder() const { return folder_.path() / "digits/1"; }
  json description() const { return json::parse(must(read_file(folder() / "model.json"))); }
  void describe(const json& x) const { must(write_file(folder() / "model.json", x.dump(2))); }
  json patch() const { return {{"model", {{"path", folder().string()}}}}; }

private:
  temp_dir folder_{"ziyu-model"};
};

#define EXPECT_REFUSED(ran, code, words)       \
  do {                                         \
    const auto& got = ran;                     \
    EXPECT_FALSE(got.timed_out);               \
    EXPECT_EQ(got.exit_code, code) << got.err; \
    EXPECT_THAT(got.err, words);               \
  } while (false)

} // namespace

TEST(Refusal, AMissingModelFolder) {
  EXPECT_REFUSED(serve({{"model", {{"path", "/nowhere/digits/9"}}}}), 1,
                 HasSubstr("/nowhere/digits/9"));
}

TEST(Refusal, AMissingModelFile) {
  model_copy model;
  fs::remove(model.folder() / "model.pt");
  EXPECT_REFUSED(serve(model.patch()), 1, HasSubstr("model.pt"));
}

TEST(Refusal, CorruptWeights) {
  model_copy model;
  auto weights = must(read_file(model.folder() / "model.pt"));
  weights[weights.size() / 2] ^= 1;
  must(write_file(model.folder() / "model.pt", weights));
  EXPECT_REFUSED(serve(model.patch()), 1,
                 AllOf(HasSubstr("model_corrupt"), HasSubstr("model.pt has the SHA-256")));
}

TEST(Refusal, WeightsThatAreNoTorchScriptWithTheRightChecksum) {
  model_copy model;
  const std::string rubbish(10'000, 'x');
  must(write_file(model.folder() / "model.pt", rubbish));
  auto description = model.description();
  description["sha256"] = must(sha256_file((model.folder() / "model.pt").string()));
  model.describe(description);
  EXPECT_REFUSED(serve(model.patch()), 1, HasSubstr("model.pt"));
}

TEST(Refusal, AModelOfAnotherInputShape) {
  model_copy model;
  auto description = model.description();
  description["input"]["channels"] = "rgb";
  description["input"]["mean"] = {0.3, 0.3, 0.3};
  description["input"]["std"] = {0.3, 0.3, 0.3};
  model.describe(description);
  EXPECT_REFUSED(serve(model.patch()), 1, HasSubstr("input"));
}

TEST(Refusal, AWrongNumberOfLabels) {
  model_copy model;
  must(write_file(model.folder() / "labels.txt", "零\n一\n二\n"));
  EXPECT_REFUSED(serve(model.patch()), 1,
                 AllOf(HasSubstr("labels.txt"), HasSubstr("3"), HasSubstr("10")));
}

TEST(Refusal, AWrongConfigurationWithAllOfItsMistakes) {
  const auto ran = serve({{"workers", {{"slot", 4}, {"standbys", 0}}},
                          {"jobs", {{"max_attempts", "many"}}},
                          {"helth", true},
                          {"breaker", {{"open_at", 0.5}, {"close_below", 0.9}}},
                          {"kafka", {{"enable.auto.offset.store", true}}}});
  EXPECT_REFUSED(ran, 2,
                 AllOf(HasSubstr("unknown key workers.slot: did you mean workers.slots?"),
                       HasSubstr("workers.standbys"), HasSubstr("jobs.max_attempts"),
                       HasSubstr("helth"), HasSubstr("breaker"),
                       HasSubstr("enable.auto.offset.store")));
  EXPECT_TRUE(ran.out.empty()) << "never said that it serves";
}

TEST(Refusal, AConfigurationThatIsNoJsonAndOneThatIsNotThere) {
  EXPECT_REFUSED(serve(std::string{"{\"kafka\": {,}}"}), 2, HasSubstr("ziyu.json"));
  EXPECT_REFUSED(run_program({ziyu_program(), "serve", "--config", "/nowhere/ziyu.json"}), 2,
                 HasSubstr("/nowhere/ziyu.json"));
  EXPECT_REFUSED(run_program({ziyu_program(), "serve"}), 2, HasSubstr("--config"));
}

TEST(Refusal, AWrongOverride) {
  const auto text = stage{no_broker, false}.configuration().dump();
  EXPECT_REFUSED(serve(text, {"--set", "workers.slotz=3"}), 2,
                 AllOf(HasSubstr("workers.slotz"), HasSubstr("slots")));
}

TEST(Refusal, FaultsWithoutPermissionAndFaultsThatAreNone) {
  EXPECT_REFUSED(serve({{"faults", {{"slots", {{"0", "crash"}}}}}}), 2,
                 HasSubstr("faults.allowed"));
  EXPECT_REFUSED(serve({{"faults", {{"allowed", true}, {"slots", {{"0", "explode"}}}}}}), 2,
                 AllOf(HasSubstr("faults.slots.0"), HasSubstr("explode")));
}

TEST(Refusal, APortThatIsTaken) {
  unique_fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(fd.get(), 1), 0);
  ASSERT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const auto port = ntohs(address.sin_port);
  const auto ran = serve({{"http", {{"port", port}}}});
  EXPECT_REFUSED(ran, 1,
                 AllOf(HasSubstr("http.host:port"), HasSubstr(std::to_string(port)),
                       HasSubstr("--set http.port")));
  EXPECT_TRUE(ran.out.empty());
}

TEST(Refusal, AMissingWorkerProgram) {
  EXPECT_REFUSED(serve({{"workers", {{"executable", "/nowhere/ziyu-worker"}}}}), 2,
                 AllOf(HasSubstr("workers.executable"), HasSubstr("/nowhere/ziyu-worker")));
}

TEST(Refusal, AWorkerProgramThatIsNone) {
  EXPECT_REFUSED(serve({{"workers", {{"executable", "/usr/bin/true"}}}}), 1,
                 HasSubstr("fork server"));
}

TEST(Refusal, ABudgetThatAFreshWorkerExceedsAlready) {
  EXPECT_REFUSED(
    serve({{"memory", {{"worker_budget_bytes", "1MiB"}}}}), 2,
    AllOf(HasSubstr("memory.worker_budget_bytes is 1"), HasSubstr("a fresh worker already has")));
}
