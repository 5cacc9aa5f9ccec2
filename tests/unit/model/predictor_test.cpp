#include "model/predictor.hpp"

#include "base/file.hpp"

#include <gtest/gtest.h>
#include <torch/script.h>

#include <cmath>

using namespace ziyu;
using namespace ziyu::model;

namespace {

/// Writes TorchScript with the given `forward` and describes it as a model for
/// 4 × 6 grey images with 3 classes.
class Predictor : public ::testing::Test {
protected:
  /// Of an input of one row.
  static expected<prediction> only(std::vector<expected<prediction>> rows) {
    EXPECT_EQ(rows.size(), 1u);
    return rows.at(0);
  }

  model_folder folder_with(const std::string& forward) {
    torch::jit::Module module{"tested"};
    module.register_attribute("training", c10::BoolType::get(), true);
    module.define("def forward(self, x):\n" + forward);
    module.save((dir.path() / "model.pt").string());
    return folder();
  }

  model_folder folder() {
    model_folder result;
    result.path = dir.path();
    result.weights = dir.path() / "model.pt";
    result.input.channels = preprocessing::colour::grey;
    result.input.crop_height = 4;
    result.input.crop_width = 6;
    result.input.mean = result.input.stddev = {1};
    result.labels = {"零", "一", "二"};
    return result;
  }

  void expect_refused(const model_folder& refused, errc code, const std::string& part) {
    const auto result = predictor::load(refused);
    ASSERT_FALSE(result);
    EXPECT_EQ(to_string(result.error().code), to_string(code));
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
    EXPECT_EQ(result.error().message.find('\n'), std::string::npos) << result.error().message;
  }

  temp_dir dir;
  const at::Tensor ones = at::ones({1, 1, 4, 6});
};

} // namespace

TEST_F(Predictor, RanksBySoftmax) {
  auto model = predictor::load(
    folder_with("  return torch.tensor([[1.0, 3.0, 2.0]]) * x.mean()\n"));
  ASSERT_TRUE(model) << model.error().describe();
  EXPECT_EQ(model->classes(), 3u);
  const auto result = only(model->predict(ones, 3));
  ASSERT_TRUE(result) << result.error().describe();
  ASSERT_EQ(result->size(), 3u);
  const auto sum = std::exp(1.0) + std::exp(2.0) + std::exp(3.0);
  EXPECT_EQ((*result)[0].label, "一");
  EXPECT_EQ((*result)[0].index, 1u);
  EXPECT_NEAR((*result)[0].probability, std::exp(3.0) / sum, 1e-6);
  EXPECT_EQ((*result)[1].label, "二");
  EXPECT_NEAR((*result)[1].probability, std::exp(2.0) / sum, 1e-6);
  EXPECT_EQ((*result)[2].label, "零");
}

TEST_F(Predictor, RanksEachRowOfABatchAndARowThatIsNotFiniteFailsAlone) {
  auto model = predictor::load(
    folder_with("  return torch.tensor([[1.0, 3.0, 2.0]]) * x.mean([1, 2, 3]).reshape([-1, 1])\n"));
  ASSERT_TRUE(model) << model.error().describe();
  const auto rows = model->predict(at::cat({ones, ones * NAN, ones * -1}), 1);
  ASSERT_EQ(rows.size(), 3u);
  ASSERT_TRUE(rows[0]);
  EXPECT_EQ(rows[0]->at(0).label, "一");
  ASSERT_FALSE(rows[1]);
  EXPECT_EQ(rows[1].error().code, errc::inference_failed);
  ASSERT_TRUE(rows[2]);
  EXPECT_EQ(rows[2]->at(0).label, "零");
}

TEST_F(Predictor, RunsAsManyRowsTogetherAsAreWorthWhile) {
  auto model = predictor::load(
    folder_with("  return torch.tensor([[1.0, 3.0, 2.0]]) * x.mean([1, 2, 3]).reshape([-1, 1])\n"));
  ASSERT_TRUE(model) << model.error().describe();
  EXPECT_EQ(model->max_batch(), 1u);
  EXPECT_EQ(model->measure_batches(8).size(), 4u) << "1, 2, 4, 8: a tiny model takes no time";
  EXPECT_EQ(model->max_batch(), 8u);
  EXPECT_EQ(model->measure_batches(7).size(), 3u);
  EXPECT_EQ(model->max_batch(), 4u) << "a power of two";
  EXPECT_EQ(model->measure_batches(0).size(), 1u);
  ASSERT_EQ(model->measure_batches(8).size(), 4u);
  // Parts of 8, 4 and 1 rows; the third row of the second part is not finite.
  std::vector<at::Tensor> rows;
  for (auto i = 0; i < 13; ++i)
    rows.push_back(ones * (i == 10 ? NAN : i % 2 == 0 ? 1 : -1));
  const auto answers = model->predict(at::cat(rows), 1);
  ASSERT_EQ(answers.size(), 13u);
  for (size_t i = 0; i < 13; ++i) {
    ASSERT_EQ(answers[i].has_value(), i != 10) << i;
    if (i != 10) {
      EXPECT_EQ(answers[i]->at(0).label, i % 2 == 0 ? "一" : "零") << i;
    }
  }
}

TEST_F(Predictor, AModelForOneImageOnlyGetsThemOneByOne) {
  auto model = predictor::load(
    folder_with("  return torch.tensor([[1.0, 3.0, 2.0]]) * x.mean()\n"));
  ASSERT_TRUE(model);
  EXPECT_EQ(model->measure_batches(8).size(), 1u);
  const auto rows = model->predict(at::cat({ones, ones * -1}), 1);
  ASSERT_EQ(rows.size(), 2u);
  ASSERT_TRUE(rows[0]);
  EXPECT_EQ(rows[0]->at(0).label, "一");
  ASSERT_TRUE(rows[1]);
  EXPECT_EQ(rows[1]->at(0).label, "零");
}

TEST_F(Predictor, AModelThatMixesItsRowsGetsThemOneByOne) {
  // The shapes are right, but each row's answer depends on the others.
  auto model = predictor::load(
    folder_with("  y = x.mean([1, 2, 3]).reshape([-1, 1])\n"
                "  return torch.tensor([[1.0, 3.0, 2.0]]) * (y - y.mean() * 0.5)\n"));
  ASSERT_TRUE(model) << model.error().describe();
  EXPECT_EQ(model->measure_batches(8).size(), 1u);
  EXPECT_EQ(model->max_batch(), 1u);
}

TEST_F(Predictor, GivesAtLeastOneAndAtMostAllClasses) {
  auto model = predictor::load(
    folder_with("  return torch.tensor([[1.0, 3.0, 2.0]]) * x.mean()\n"));
  ASSERT_TRUE(model);
  EXPECT_EQ(only(model->predict(ones, 0))->size(), 1u);
  EXPECT_EQ(only(model->predict(ones, 2))->size(), 2u);
  EXPECT_EQ(only(model->predict(ones, 1000))->size(), 3u);
}

TEST_F(Predictor, EqualClassesKeepTheirOrder) {
  auto model = predictor::load(folder_with("  return torch.zeros([1, 3]) * x.mean()\n"));
  ASSERT_TRUE(model);
  const auto result = only(model->predict(ones, 3));
  ASSERT_TRUE(result);
  for (uint32_t i = 0; i < 3; ++i)
    EXPECT_EQ((*result)[i].index, i);
}

TEST_F(Predictor, StaysFiniteForLargeNumbers) {
  auto model = predictor::load(
    folder_with("  return torch.tensor([[1e30, -1e30, 0.0]]) * x.mean()\n"));
  ASSERT_TRUE(model);
  const auto result = only(model->predict(ones, 3));
  ASSERT_TRUE(result);
  EXPECT_EQ((*result)[0].index, 0u);
  EXPECT_FLOAT_EQ((*result)[0].probability, 1);
  EXPECT_FLOAT_EQ((*result)[2].probability, 0);
}

TEST_F(Predictor, RefusesWhatIsNotTorchScript) {
  ASSERT_TRUE(write_file(dir.path() / "model.pt", "weights"));
  expect_refused(folder(), errc::model_corrupt, "is not a TorchScript model");
}

TEST_F(Predictor, RefusesATruncatedModel) {
  folder_with("  return torch.zeros([1, 3]) * x.mean()\n");
  const auto whole = read_file(dir.path() / "model.pt").value();
  ASSERT_TRUE(write_file(dir.path() / "model.pt", whole.substr(0, whole.size() / 2)));
  expect_refused(folder(), errc::model_corrupt, "is not a TorchScript model");
}

TEST_F(Predictor, RefusesAModelOfAnotherInputShape) {
  expect_refused(folder_with("  return torch.matmul(x.flatten(1), torch.zeros([25, 3]))\n"),
                 errc::model_mismatch, "does not take the input [1, 1, 4, 6]");
}

TEST_F(Predictor, RefusesAModelThatAnswersAnImage) {
  expect_refused(folder_with("  return x\n"), errc::model_mismatch, "but answers [1, 1, 4, 6]");
}

TEST_F(Predictor, RefusesAModelThatAnswersNoTensor) {
  expect_refused(folder_with("  return x.sum().item()\n"), errc::model_mismatch,
                 "but answers no tensor");
}

TEST_F(Predictor, RefusesAModelWithAnotherNumberOfClasses) {
  expect_refused(folder_with("  return torch.zeros([1, 4]) * x.mean()\n"), errc::labels_mismatch,
                 "has 4 classes, but there are 3 labels");
}

TEST_F(Predictor, RefusesAModelThatAnswersNaN) {
  expect_refused(folder_with("  return torch.zeros([1, 3]) / x.mean()\n"), errc::model_mismatch,
                 "not finite");
}

TEST_F(Predictor, AModelThatThrowsCostsOneJobOnly) {
  auto model = predictor::load(folder_with("  assert x.sum().item() != 24.0, 'no ones please'\n"
                                           "  return torch.zeros([1, 3]) * x.mean()\n"));
  ASSERT_TRUE(model) << model.error().describe();
  const auto failed = only(model->predict(ones, 1));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, errc::inference_failed);
  EXPECT_NE(failed.error().message.find("no ones please"), std::string::npos)
    << failed.error().message;
  EXPECT_TRUE(only(model->predict(ones * 2, 1)));
}

TEST_F(Predictor, NaNForOneInputIsAnError) {
  auto model = predictor::load(folder_with("  return torch.zeros([1, 3]) / (x.mean() - 1)\n"));
  ASSERT_TRUE(model) << model.error().describe();
  const auto failed = only(model->predict(ones, 1));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, errc::inference_failed);
}

TEST_F(Predictor, AnInputOfAnotherShapeIsAnError) {
  auto model = predictor::load(
    folder_with("  return torch.matmul(x.flatten(1), torch.zeros([24, 3]))\n"));
  ASSERT_TRUE(model) << model.error().describe();
  const auto failed = only(model->predict(at::ones({1, 1, 5, 6}), 1));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, errc::inference_failed);
  EXPECT_TRUE(model->warm_up(3));
}

TEST_F(Predictor, SigmoidGivesEachClassANumberOfItsOwn) {
  auto how = folder_with("  return torch.tensor([[0.0, 3.0, -2.0]]) * x.mean()\n");
  how.output = activation::sigmoid;
  auto model = predictor::load(how);
  ASSERT_TRUE(model) << model.error().describe();
  const auto result = only(model->predict(ones, 3));
  ASSERT_TRUE(result) << result.error().describe();
  ASSERT_EQ(result->size(), 3u);
  EXPECT_EQ((*result)[0].index, 1u);
  EXPECT_NEAR((*result)[0].probability, 1 / (1 + std::exp(-3.0)), 1e-6);
  EXPECT_NEAR((*result)[1].probability, 0.5, 1e-6);
  EXPECT_NEAR((*result)[2].probability, 1 / (1 + std::exp(2.0)), 1e-6);
}

TEST_F(Predictor, NoActivationPassesTheAnswerOn) {
  auto how = folder_with("  return torch.tensor([[0.25, 3.5, -2.0]]) * x.mean()\n");
  how.output = activation::none;
  auto model = predictor::load(how);
  ASSERT_TRUE(model) << model.error().describe();
  const auto result = only(model->predict(ones, 3));
  ASSERT_TRUE(result);
  EXPECT_EQ((*result)[0].probability, 3.5f);
  EXPECT_EQ((*result)[1].probability, 0.25f);
  EXPECT_EQ((*result)[2].probability, -2.0f);
}

TEST_F(Predictor, AThresholdLeavesOnlyTheLabelsFromItOn) {
  auto how = folder_with("  return torch.tensor([[0.0, 3.0, -2.0]]) * x.mean()\n");
  how.output = activation::sigmoid;
  how.threshold = 0.5f;
  auto model = predictor::load(how);
  ASSERT_TRUE(model) << model.error().describe();
  const auto result = only(model->predict(ones, 3));
  ASSERT_TRUE(result);
  ASSERT_EQ(result->size(), 2u); // 0.5 itself is in.
  EXPECT_EQ((*result)[1].probability, 0.5f);
  EXPECT_EQ(only(model->predict(ones, 1))->size(), 1u);
  // No label is an answer too: a picture that shows none of them.
  how.threshold = 0.99f;
  auto strict = predictor::load(how);
  ASSERT_TRUE(strict) << strict.error().describe();
  const auto none = only(strict->predict(ones, 3));
  ASSERT_TRUE(none) << none.error().describe();
  EXPECT_TRUE(none->empty());
}
