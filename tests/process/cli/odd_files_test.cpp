// Files that never end, are no files, or are far too large, wherever a command takes one: each ends
// with an error that names the file, in bounded time and memory.

#include "base/file.hpp"
#include "support/mock_kafka.hpp"
#include "support/places.hpp"
#include "support/program.hpp"

#include <gmock/gmock.h>

#include <thread>

#include <fcntl.h>
#include <sys/stat.h>

using namespace ziyu;
using namespace ziyu::test;
using ::testing::AnyOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

namespace {

const std::string digits = source_dir() + "/models/digits/1";
const std::string an_image = source_dir() + "/tests/data/digits/0_024.png";

struct ended {
  int exit_code;
  std::string out, err;
};

class OddFiles : public ::testing::Test {
protected:
  static ended run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program_dir() + "/ziyu");
    program x{std::move(arguments), program::output::pipes, {{"ZIYU_CONFIG", ""}}};
    const auto code = x.finish();
    return {code, x.out(), x.err()};
  }

  /// 10 GiB that take no space.
  std::string sparse(const std::string& name) const {
    const auto file = dir.path() / name;
    EXPECT_TRUE(write_file(file, ""));
    fs::resize_file(file, uint64_t{10} << 30);
    return file.string();
  }

  std::string pipe(const std::string& name) const {
    const auto file = (dir.path() / name).string();
    EXPECT_EQ(::mkfifo(file.c_str(), 0600), 0);
    return file;
  }

  /// A copy of the digits model whose file `name` is a link to `to`.
  std::string model_with(const std::string& name, const std::string& to) const {
    const auto folder = dir.path() / ("with-" + name);
    fs::copy(digits, folder, fs::copy_options::recursive);
    fs::remove(folder / name);
    fs::create_symlink(to, folder / name);
    return folder.string();
  }

  temp_dir dir{"ziyu-odd-files"};
};

} // namespace

TEST_F(OddFiles, AreNotClassifiedAndTheOthersAre) {
  const auto large = sparse("large.png"), empty = (dir.path() / "empty.png").string(),
             foreign = (dir.path() / "\xff\xfe.png").string();
  ASSERT_TRUE(write_file(empty, ""));
  fs::copy_file(an_image, foreign);
  const auto x = run({"classify", "--model", digits, "--json", "/dev/zero", "/dev/urandom",
                      "/proc/self/mem", large, empty, foreign});
  EXPECT_EQ(x.exit_code, 1) << x.err;
  EXPECT_THAT(x.out, HasSubstr("cannot read /dev/zero: it is a device, not a file"));
  EXPECT_THAT(x.out, HasSubstr("cannot read /dev/urandom: it is a device, not a file"));
  EXPECT_THAT(x.out, HasSubstr("cannot read /proc/self/mem: Input/output error"));
  EXPECT_THAT(x.out, HasSubstr("has 10737418240 bytes, but jobs.max_bytes is 16777216"));
  EXPECT_THAT(x.out, HasSubstr("\"empty_image\""));
  EXPECT_THAT(x.out, HasSubstr("\"label\":\"零\"")) << "the name that is not UTF-8";
  const auto y = run({"classify", "--model", digits, an_image, "--set", "jobs.max_bytes=100"});
  EXPECT_EQ(y.exit_code, 1);
  EXPECT_THAT(y.out, HasSubstr("jobs.max_bytes is 100"));
}

TEST_F(OddFiles, APipeIsReadToItsEndAndNotForEver) {
  const auto good = pipe("good"), endless = pipe("endless");
  program x{{program_dir() + "/ziyu", "classify", "--model", digits, good, endless}};
  std::thread writer{[&] { // waits for the reader
    const auto image = read_file(an_image).value();
    const auto fd = ::open(good.c_str(), O_WRONLY | O_CLOEXEC);
    EXPECT_EQ(::write(fd, image.data(), image.size()), static_cast<ssize_t>(image.size()));
    ::close(fd);
  }};
  EXPECT_EQ(x.finish(std::chrono::seconds{120}), 1) << x.err();
  writer.join();
  EXPECT_THAT(x.out(), HasSubstr("零"));
  EXPECT_THAT(x.out(), HasSubstr("it did not end within 30 s"));
}

TEST_F(OddFiles, AListOfPathsIsBounded) {
  program x{{"/bin/sh", "-c", "exec \"$0\" classify --model \"$1\" - < /dev/zero",
             program_dir() + "/ziyu", digits}};
  EXPECT_EQ(x.finish(), 2);
  EXPECT_THAT(x.err(), HasSubstr("a line of more than 4096 bytes"));
}

TEST_F(OddFiles, AreNoConfigurationAndNoPartOfAModel) {
  for (const auto& file : {std::string{"/dev/zero"}, std::string{"/dev/urandom"},
                           std::string{"/proc/self/mem"}, dir.path().string(), sparse("large")}) {
    for (const auto& arguments : {std::vector<std::string>{"check", file},
                                  {"classify", "--config", file, an_image},
                                  {"submit", "--config", file, an_image},
                                  {"serve", "--config", file}}) {
      const auto x = run(arguments);
      EXPECT_EQ(x.exit_code, 2) << arguments[0] << " " << file << x.out << x.err;
      EXPECT_THAT(x.out + x.err, HasSubstr(file)) << arguments[0];
    }
  }
  for (const auto* part : {"labels.txt", "model.json", "model.pt"}) {
    const auto model = model_with(part, "/dev/zero");
    for (const auto* command : {"classify", "doctor"}) {
      auto arguments = std::vector<std::string>{command, model};
      if (command == std::string{"classify"})
        arguments = {command, "--model", model, an_image};
      const auto x = run(arguments);
      EXPECT_EQ(x.exit_code, 2) << command << " " << part << x.out << x.err;
      EXPECT_THAT(x.err, HasSubstr(model + "/" + part));
      EXPECT_THAT(x.err, AnyOf(HasSubstr("it is a device, not a file"), HasSubstr("no weights")));
    }
  }
}

TEST_F(OddFiles, AreNoImagesForTheDoctor) {
  for (const auto& file : {std::string{"/dev/zero"}, sparse("large.png")}) {
    const auto x = run({"doctor", digits, "--jobs", "10", "--images", file});
    EXPECT_EQ(x.exit_code, 1) << x.out << x.err;
    EXPECT_THAT(x.out, AnyOf(HasSubstr("it is a device"), HasSubstr("is larger than")));
  }
}

TEST_F(OddFiles, AreNotSubmittedAndTheOthersAre) {
  mock_kafka kafka;
  kafka.make_topic("image.jobs");
  const auto large = sparse("large.png");
  const auto x = run(
    {"submit", "--brokers", kafka.bootstrap(), "/dev/zero", large, an_image, "/proc/self/mem"});
  EXPECT_EQ(x.exit_code, 1) << x.err;
  EXPECT_THAT(x.err, HasSubstr("cannot read /dev/zero: it is a device, not a file"));
  EXPECT_THAT(x.err, HasSubstr(large + " has 10737418240 bytes, but jobs.max_bytes is 16777216"));
  EXPECT_THAT(x.err, HasSubstr("cannot read /proc/self/mem"));
  EXPECT_THAT(x.err, HasSubstr("1 of 4 jobs acknowledged"));
}
