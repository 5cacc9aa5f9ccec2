// `ziyu doctor` and `ziyu classify` with models that misbehave: each ends by itself, with an error
// that says which model, what it does and what to do.

#include "base/file.hpp"
#include "base/text.hpp"
#include "supervision/process.hpp"
#include "support/orphans.hpp"
#include "support/places.hpp"
#include "support/program.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <torch/script.h>

#include <filesystem>
#include <fstream>

#include <unistd.h>

using namespace ziyu;
using namespace ziyu::test;
using nlohmann::json;
using ::testing::HasSubstr;

namespace {

const std::string image = source_dir() + "/tests/data/digits/0_024.png";

/// What the model does in `forward(self, x)`, with y as a right answer. It is run on zeros first.
struct hostile {
  std::string name, forward, said;
};

void PrintTo(const hostile& x, std::ostream* out) { *out << x.name; }

class HostileModel : public ::testing::TestWithParam<hostile> {
protected:
  static void SetUpTestSuite() { supervision::become_subreaper(); }

  std::string folder_with(const std::string& forward) const {
    torch::jit::Module module{"hostile"};
    module.register_attribute("training", c10::BoolType::get(), true);
    module.register_attribute("calls", c10::ListType::ofInts(), c10::List<int64_t>{});
    module.define("def forward(self, x):\n  y = torch.zeros([1, 2]) + x.mean()\n" + forward);
    module.save((dir.path() / "model.pt").string());
    const json description{{"schema", "ziyu.model/1"},
                           {"name", "hostile"},
                           {"version", "1"},
                           {"weights", "model.pt"},
                           {"sha256", sha256_file((dir.path() / "model.pt").string()).value()},
                           {"precision", "fp32"},
                           {"labels", "labels.txt"},
                           {"classes", 2},
                           {"input",
                            {{"channels", "grey"},
                             {"height", 8},
                             {"width", 8},
                             {"squash", true},
                             {"interpolation", "bilinear"},
                             {"mean", {0.1}},
                             {"std", {1}}}}};
    EXPECT_TRUE(write_file(dir.path() / "model.json", description.dump()));
    EXPECT_TRUE(write_file(dir.path() / "labels.txt", "a\nb\n"));
    return dir.path().string();
  }

  struct ended {
    int exit_code;
    std::string out, err;
  };

  static ended run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program_dir() + "/ziyu");
    program x{std::move(arguments)};
    const auto code = x.finish();
    EXPECT_TRUE(no_child_is_left());
    return {code, x.out(), x.err()};
  }

  temp_dir dir{"ziyu-hostile-model"};
};

using HostileModels = HostileModel;

/// A cgroup of its own with a limit of memory. Empty where this process may not make one.
class limited_cgroup {
public:
  explicit limited_cgroup(uint64_t bytes) {
    const auto number = std::to_string(::getpid());
    for (const auto& [parent, file] : {std::pair{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
                                       std::pair{"/sys/fs/cgroup", "memory.max"}}) {
      const auto folder = std::filesystem::path{parent} / ("ziyu-test-" + number);
      std::error_code status;
      if (!std::filesystem::create_directory(folder, status))
        continue;
      path_ = folder;
      std::ofstream limit{folder / file};
      limit << bytes << std::flush;
      if (limit && std::filesystem::exists(folder / file))
        return;
      remove();
    }
  }
  ~limited_cgroup() { remove(); }
  limited_cgroup(const limited_cgroup&) = delete;
  limited_cgroup& operator=(const limited_cgroup&) = delete;

  const std::filesystem::path& path() const { return path_; }

private:
  void remove() {
    std::error_code ignored;
    if (!path_.empty())
      std::filesystem::remove(path_, ignored); // only the folder: its files are the kernel's
    path_.clear();
  }

  std::filesystem::path path_;
};

} // namespace

TEST_P(HostileModel, IsNamedWithWhatItDoes) {
  const auto folder = folder_with(GetParam().forward);
  const auto x = run({"doctor", folder, "--jobs", "10"});
  EXPECT_EQ(x.exit_code, 2) << x.out << x.err;
  EXPECT_THAT(x.err, HasSubstr(folder + "/model.pt"));
  EXPECT_THAT(x.err, HasSubstr(GetParam().said));
}

INSTANTIATE_TEST_SUITE_P(
  , HostileModel,
  ::testing::Values(
    hostile{"throws", "  assert bool(x.numel() == 0), \"no\"\n  return y\n",
            "does not take the input [1, 1, 8, 8]"},
    hostile{"throws_on_an_image", "  assert bool(x.sum() == 0), \"no\"\n  return y\n",
            "fails in the warm-up on an image of one colour: AssertionError: no"},
    hostile{"answers_nan", "  return y * float('nan')\n", "numbers that are not finite"},
    hostile{
      "answers_infinity_to_an_image", "  return y / (x.sum() == 0).float()\n",
      "fails in the warm-up on an image of one colour: the model answers numbers that are not"},
    hostile{"answers_a_dict", "  return {\"logits\": y}\n", "answers no tensor"},
    hostile{"answers_a_tuple", "  return y, y\n", "answers no tensor"},
    hostile{"answers_another_shape", "  return y.unsqueeze(0)\n", "but answers [1, 1, 2]"},
    hostile{"answers_two_rows_to_an_image",
            "  if bool(x.sum() != 0):\n    y = torch.cat([y, y], 0)\n  return y\n",
            "the model answers [2, 2] to the input"},
    hostile{"answers_no_row_to_an_image", "  if bool(x.sum() != 0):\n    y = y[:0]\n  return y\n",
            "the model answers [0, 2] to the input"},
    hostile{
      "wants_more_memory_than_there_is",
      "  if bool(x.sum() != 0):\n    y = y + torch.ones([1125899906842624]).sum()\n  return y\n",
      "you tried to allocate"}),
  [](const auto& x) { return x.param.name; });

TEST_F(HostileModels, OneThatNeverAnswersEndsAtTheDeadline) {
  const auto folder = folder_with(
    "  i = 0\n  while bool(x.numel() > 0):\n    i += 1\n  return y\n");
  const auto x = run({"doctor", folder, "--load-timeout", "3"});
  EXPECT_EQ(x.exit_code, 1) << x.out << x.err;
  EXPECT_THAT(x.err, HasSubstr("the model " + folder + " was not loaded and warm within 3 s"));
  EXPECT_THAT(x.err, HasSubstr("--load-timeout"));
}

TEST_F(HostileModels, OneThatTakesAllMemoryIsEndedByTheKernelAndThatIsSaid) {
  const limited_cgroup group{uint64_t{1} << 30};
  if (group.path().empty())
    GTEST_SKIP() << "no cgroup can be made here";
  const auto folder = folder_with(
    "  if bool(x.sum() != 0):\n    y = y + torch.ones([805306368]).sum()\n  return y\n"); // 3 GiB
  program x{{source_dir() + "/scripts/lib/in-cgroup", group.path().string(),
             program_dir() + "/ziyu", "doctor", folder}};
  EXPECT_EQ(x.finish(), 1) << x.out() << x.err();
  EXPECT_TRUE(no_child_is_left());
  EXPECT_THAT(x.err(), HasSubstr("while it loaded the model " + folder
                                 + ": killed by the kernel for lack of memory"));
}

TEST_F(HostileModels, OneThatPrintsALotIsExaminedAllTheSame) {
  const auto folder = folder_with("  for i in range(500):\n    print(\"a line of the model\", i)\n"
                                  "  return y\n");
  const auto x = run({"doctor", folder, "--jobs", "20", "--json"});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  EXPECT_TRUE(json::parse(x.out, nullptr, false).is_object())
    << "its lines are not in the findings";
}

// The calls of the warm-up are few: it behaves until some jobs have come.
TEST_F(HostileModels, OneThatThrowsOrHangsLaterIsAFinding) {
  const std::string counts = "  self.calls.append(1)\n";
  const auto throws = run(
    {"doctor", folder_with(counts + "  assert len(self.calls) < 60, \"enough\"\n  return y\n"),
     "--jobs", "100", "--json"});
  const auto said = json::parse(throws.out, nullptr, false);
  ASSERT_TRUE(said.is_object()) << throws.out << throws.err;
  EXPECT_GT(said["failed_jobs"], 0);
  ASSERT_FALSE(said["bad_images"].empty());
  EXPECT_EQ(said["bad_images"][0]["message"], "AssertionError: enough");

  const auto hangs = run(
    {"doctor", folder_with(counts + "  while len(self.calls) >= 60:\n    y = y + 1\n  return y\n"),
     "--jobs", "100", "--timeout", "1", "--json"});
  EXPECT_EQ(hangs.exit_code, 1) << hangs.out << hangs.err;
  const auto findings = json::parse(hangs.out, nullptr, false);
  ASSERT_TRUE(findings.is_object()) << hangs.out;
  EXPECT_THAT(findings["failure"].get<std::string>(), HasSubstr("did not answer in time"));
}

// What a model prints would be taken for an answer.
TEST_F(HostileModels, OneThatPrintsIsClassifiedWithLinesOfJsonOnly) {
  const auto folder = folder_with("  print(\"a line of the model\")\n  return y\n");
  const auto x = run({"classify", "--model", folder, "--json", image, image});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  EXPECT_EQ(std::count(x.out.begin(), x.out.end(), '\n'), 2) << x.out;
  EXPECT_TRUE(json::parse(x.out.substr(0, x.out.find('\n')), nullptr, false).is_object()) << x.out;
  EXPECT_THAT(x.err, HasSubstr("a line of the model"));
}
