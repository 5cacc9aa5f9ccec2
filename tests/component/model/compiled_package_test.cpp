// Compiled packages, good and bad, beside TorchScript. Their code is made by hand
// (tests/workers/compiled_code.cpp), so that no compiler and no PyTorch is needed.

#include "model/compiled/probe.hpp"
#include "model/precision_choice.hpp"

#include "support/compiled_folder.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::model;
using namespace ziyu::test;
using testing::HasSubstr;

namespace {

class CompiledPackage : public testing::Test, protected test::compiled_folder {
protected:
  expected<chosen_model> choose(precision_wish wish = precision_wish::fp32) const {
    return choose_model(folder, {}, {.wish = wish, .most_rows = 4});
  }

  /// The package does not serve, TorchScript does, and says why.
  void expect_refused(const std::string& why) const {
    const auto chosen = choose();
    ASSERT_TRUE(chosen) << chosen.error().describe();
    EXPECT_EQ(chosen->name, "fp32");
    ASSERT_EQ(chosen->refused.size(), 1u);
    EXPECT_THAT(chosen->refused.front(), HasSubstr(why));
  }
};

} // namespace

TEST_F(CompiledPackage, ServesWithTheAnswersOfTorchScript) {
  auto chosen = choose();
  ASSERT_TRUE(chosen) << chosen.error().describe();
  EXPECT_THAT(chosen->refused, testing::IsEmpty());
  ASSERT_EQ(chosen->name, "fp32 compiled");
  auto& model = chosen->by.model();
  EXPECT_EQ(model.measure_batches(4).size(), 2u) << "it has code for 1 and 2 images";
  const auto input = model.example(2);
  const auto answer = model.forward(input);
  ASSERT_TRUE(answer) << answer.error().describe();
  EXPECT_TRUE(at::allclose(*answer, input.flatten(1).narrow(1, 0, 2) * 3));
  EXPECT_EQ(model.predict(model.example(5), 1).size(), 5u);
}

TEST_F(CompiledPackage, IsNotNeeded) {
  std::filesystem::remove_all(folder / "compiled");
  const auto chosen = choose();
  ASSERT_TRUE(chosen) << chosen.error().describe();
  EXPECT_EQ(chosen->name, "fp32");
  EXPECT_THAT(chosen->refused, testing::IsEmpty());
}

TEST_F(CompiledPackage, WithOtherAnswersIsRefused) {
  put_package(3.1F);
  expect_refused("answers that differ by up to");
}

TEST_F(CompiledPackage, WithAnInstructionThatTheProcessorLacksIsRefused) {
  put_package(3, illegal_instruction);
  expect_refused("its code ended with signal 4");
}

TEST_F(CompiledPackage, ThatEndsTheProcessIsRefused) {
  put_package(3, ends);
  expect_refused("its code ended the process with exit code 7");
}

TEST_F(CompiledPackage, ThatStartsThreadsIsRefused) {
  put_package(3, starts_a_thread);
  expect_refused("it has started threads");
}

TEST_F(CompiledPackage, ThatFailsIsRefused) {
  put_package(3, throws);
  expect_refused("it fails: ");
}

TEST_F(CompiledPackage, ThatIsSlowerThanTorchScriptIsRefused) {
  put_package(3, is_slow);
  expect_refused("of the time of TorchScript in fp32");
}

TEST_F(CompiledPackage, ThatHangsIsGivenUpAtTheDeadline) {
  put_package(3, hangs);
  const auto found = compiled::find_package(folder / "compiled", sha256, here, "fp32");
  ASSERT_TRUE(found && *found);
  const auto input = at::ones({1, 1, 4, 4});
  const auto outcome = compiled::probe(**found, {{input, input.flatten(1).narrow(1, 0, 2) * 3}},
                                       {.patience = std::chrono::milliseconds{200}});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, errc::timeout);
}

TEST_F(CompiledPackage, OfAnotherMachineIsRefused) {
  auto other = here;
  other.isa += " avx1024";
  std::filesystem::create_directories(place(other).parent_path());
  std::filesystem::rename(place(here), place(other));
  expect_refused("has packages in fp32 for " + other.folder() + " only");
}

TEST_F(CompiledPackage, ThatSaysItIsForAnotherMachineIsRefused) {
  description["host"]["torch"] = "2.14.0";
  write(place(here) / "package.json", description.dump());
  expect_refused("with PyTorch 2.14.0, this is");
}

TEST_F(CompiledPackage, OfOtherWeightsIsRefused) {
  description["sha256"] = std::string(64, '0');
  write(place(here) / "package.json", description.dump());
  expect_refused("is of other weights");
}

TEST_F(CompiledPackage, ThatIsDamagedIsRefused) {
  write(place(here) / "package.json", "{");
  expect_refused("package.json");
}

TEST_F(CompiledPackage, WhoseConstantsAreCutOffIsRefused) {
  write(place(here) / "constants.bin", "1234");
  expect_refused("a constant lies outside of its file");
}

TEST_F(CompiledPackage, IsComparedByAutoWithTorchScript) {
  const auto chosen = choose(precision_wish::automatic);
  ASSERT_TRUE(chosen) << chosen.error().describe();
  std::vector<std::string> names;
  for (const auto& x : chosen->variants) {
    names.push_back(x.name);
    EXPECT_GT(x.image_us(), 0) << x.name;
    EXPECT_EQ(x.why_not.empty(), x.name == chosen->name || x.name == "fp32") << x.why_not;
  }
  EXPECT_EQ(chosen->name, "fp32 compiled");
  EXPECT_EQ(names, (std::vector<std::string>{"fp32", "bf16", "fp32 compiled"}));
}

TEST_F(CompiledPackage, InInt8ServesOnRequest) {
  put_package(3.2F, well, "int8"); // it is less exact
  auto chosen = choose(precision_wish::int8);
  ASSERT_TRUE(chosen) << chosen.error().describe();
  EXPECT_EQ(chosen->name, "int8 compiled");
  EXPECT_THAT(chosen->refused, testing::IsEmpty());
  auto& model = chosen->by.model();
  EXPECT_EQ(model.folder().precision, "int8");
  EXPECT_EQ(chosen->by.input().batch(1).scalar_type(), at::kFloat);
  EXPECT_EQ(model.predict(model.example(3), 1).size(), 3u);
}

TEST_F(CompiledPackage, InInt8ThatDoesNotServeIsReplacedByFp32) {
  put_package(3, illegal_instruction, "int8");
  const auto chosen = choose(precision_wish::int8);
  ASSERT_TRUE(chosen) << chosen.error().describe();
  EXPECT_EQ(chosen->name, "fp32");
  EXPECT_EQ(chosen->by.model().folder().precision, "fp32");
  ASSERT_EQ(chosen->refused.size(), 1u);
  EXPECT_THAT(chosen->refused.front(), HasSubstr("its code ended with signal 4"));
}

TEST_F(CompiledPackage, InInt8MustBeThereWhenItIsAskedFor) {
  const auto chosen = choose(precision_wish::int8);
  ASSERT_FALSE(chosen);
  EXPECT_EQ(chosen.error().code, errc::model_missing);
  EXPECT_THAT(chosen.error().message, HasSubstr("tools/optimize_model.py --precision int8"));
}

TEST_F(CompiledPackage, InInt8IsChosenByAutoWhereItAgrees) {
  put_package(3, well, "int8");
  std::filesystem::remove_all(place(here)); // fp32
  auto chosen = choose(precision_wish::automatic);
  ASSERT_TRUE(chosen) << chosen.error().describe();
  EXPECT_EQ(chosen->name, "fp32") << "there are no images to judge by";
  put_agreement(32);
  chosen = choose(precision_wish::automatic);
  ASSERT_TRUE(chosen) << chosen.error().describe();
  EXPECT_EQ(chosen->name, "int8 compiled");
  EXPECT_EQ(chosen->variants.back().agreement, 1.0);
}

TEST_F(CompiledPackage, InInt8IsNotChosenByAutoWhereItDisagrees) {
  put_package(3, other_labels, "int8");
  std::filesystem::remove_all(place(here)); // fp32
  put_agreement(32);
  const auto chosen = choose(precision_wish::automatic);
  ASSERT_TRUE(chosen) << chosen.error().describe();
  EXPECT_NE(chosen->name, "int8 compiled");
  EXPECT_EQ(chosen->variants.back().agreement, 0.0);
  EXPECT_THAT(chosen->variants.back().why_not, HasSubstr("0.0 % of 32 images the same label"));
  EXPECT_THAT(chosen->refused, testing::IsEmpty()) << "it works, but is not exact enough";
}

class KeptChoice : public testing::Test, protected test::compiled_folder {
protected:
  chosen_model choose(choice_request how = {}) const {
    how.wish = precision_wish::automatic;
    how.most_rows = 4;
    auto result = choose_model(folder, {}, how);
    EXPECT_TRUE(result) << result.error().describe();
    return std::move(*result);
  }

  void damage_what_is_kept() const {
    for (const auto& x : std::filesystem::directory_iterator{folder / "compiled"})
      if (x.path().extension() == ".json")
        write(x.path(), "{");
  }
};

TEST_F(KeptChoice, IsTakenByTheNextStart) {
  put_package(3, illegal_instruction, "int8");
  put_agreement(32);
  const auto first = choose(), second = choose();
  EXPECT_FALSE(first.was_kept);
  EXPECT_TRUE(second.was_kept);
  EXPECT_EQ(second.name, first.name);
  EXPECT_EQ(second.refused, first.refused);
  ASSERT_EQ(second.variants.size(), first.variants.size());
  for (size_t i = 0; i < first.variants.size(); ++i) {
    EXPECT_EQ(second.variants[i].name, first.variants[i].name);
    EXPECT_EQ(second.variants[i].batch_us, first.variants[i].batch_us);
    EXPECT_EQ(second.variants[i].why_not, first.variants[i].why_not);
    EXPECT_EQ(second.variants[i].agreement.has_value(), first.variants[i].agreement.has_value());
  }
  EXPECT_FALSE(choose({.anew = true}).was_kept) << "it is measured again on request";
}

TEST_F(KeptChoice, OfTorchScriptKeepsItsWarning) {
  std::filesystem::remove_all(place(here));
  choose();
  const auto second = choose();
  EXPECT_TRUE(second.was_kept);
  EXPECT_EQ(second.name, "fp32");
  ASSERT_FALSE(second.by.model().folder().warnings.empty());
  EXPECT_THAT(second.by.model().folder().warnings.back(), HasSubstr("auto has chosen fp32: "));
}

TEST_F(KeptChoice, IsMeasuredAgainWhenWhatItWasMeasuredWithHasChanged) {
  choose();
  put_package(3, well, "bf16");
  EXPECT_FALSE(choose().was_kept) << "another package";
  EXPECT_TRUE(choose().was_kept);
  put_agreement(33);
  EXPECT_FALSE(choose().was_kept) << "other images";
  EXPECT_TRUE(choose().was_kept);
  EXPECT_FALSE(choose({.decode = decode_wish::automatic}).was_kept) << "another wish";
  damage_what_is_kept();
  EXPECT_FALSE(choose({.decode = decode_wish::automatic}).was_kept) << "a damaged file";
}

TEST_F(KeptChoice, NeedsAFolderForPackages) {
  std::filesystem::remove_all(folder / "compiled");
  choose();
  EXPECT_FALSE(std::filesystem::exists(folder / "compiled")) << "model folders are the user's";
  EXPECT_FALSE(choose().was_kept);
}

TEST(CompiledHost, IsReadFromCpuinfo) {
  const auto x = compiled::host_of("processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\n"
                                   "model\t\t: 17\nmodel name\t: AMD EPYC\n"
                                   "flags\t\t: fpu fma avx2 amx_int8 avx\n",
                                   "2.15.0");
  EXPECT_EQ(x, (compiled::host{"AuthenticAMD", 25, 17, "amx_int8 avx2 fma", "2.15.0"}));
  // As tools/compiled_package.py names it.
  EXPECT_EQ(x.folder(), "AuthenticAMD-25-17-73634edd-torch-2.15.0");
}
