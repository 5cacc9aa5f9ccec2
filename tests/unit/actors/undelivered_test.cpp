#include "actors/undelivered.hpp"

#include <gtest/gtest.h>

namespace ziyu::actors {

namespace {

using messaging::refusal;

publication make(publication_kind kind, const std::string& value = "x") {
  publication x;
  x.kind = kind;
  messaging::outgoing content;
  content.topic = "a";
  content.value = value;
  x.content = std::make_shared<const messaging::outgoing>(std::move(content));
  return x;
}

fate of(publication_kind kind, errc code, refusal refused = refusal::none) {
  auto x = make(kind);
  return fate_of(x, error{code, "as the test says"}, refused);
}

} // namespace

TEST(Undelivered, IsTriedAgainUnlessTheBrokerRefusesIt) {
  for (auto kind :
       {publication_kind::result, publication_kind::dead_letter, publication_kind::event})
    EXPECT_EQ(of(kind, errc::kafka), fate::again);
}

TEST(Undelivered, WaitsAloneOrWithItsTopicWhenItIsRefused) {
  for (auto kind : {publication_kind::result, publication_kind::dead_letter}) {
    EXPECT_EQ(of(kind, errc::kafka, refusal::record), fate::aside_alone);
    EXPECT_EQ(of(kind, errc::kafka, refusal::topic), fate::aside_with_topic);
  }
  EXPECT_EQ(of(publication_kind::event, errc::kafka, refusal::topic), fate::again);
}

TEST(Undelivered, ThatIsTooLargeIsHandedBackOrDropped) {
  EXPECT_EQ(of(publication_kind::result, errc::job_too_large), fate::handed_back);
  EXPECT_EQ(of(publication_kind::event, errc::job_too_large), fate::dropped);
}

TEST(Undelivered, DeadLetterThatIsTooLargeIsMadeSmallerOnceAndWaitsThen) {
  auto x = make(publication_kind::dead_letter, std::string(100'000, 'x'));
  const auto before = x.content->bytes();
  const error why{errc::job_too_large, "as the test says"};
  EXPECT_EQ(fate_of(x, why, refusal::record), fate::again);
  EXPECT_LT(x.content->bytes(), before);
  auto tries = 0;
  auto what = fate::again;
  while (what == fate::again && ++tries < 10)
    what = fate_of(x, why, refusal::record);
  EXPECT_EQ(what, fate::aside_alone);
}

} // namespace ziyu::actors
