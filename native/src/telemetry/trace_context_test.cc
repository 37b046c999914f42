#include "telemetry/trace_context.h"

#include <gtest/gtest.h>

#include <string>

#include "telemetry/random.h"

namespace weft::telemetry {
namespace {

constexpr std::string_view kTrace = "0af7651916cd43dd8448eb211c80319c";
constexpr std::string_view kSpan = "b7ad6b7169203331";

std::string Traceparent(std::string_view version, std::string_view flags) {
  return std::string(version) + "-" + std::string(kTrace) + "-" + std::string(kSpan) + "-" + std::string(flags);
}

TEST(TraceparentTest, IsReadAndWrittenTheSame) {
  for (const char* flags : {"00", "01"}) {
    const std::string text = Traceparent("00", flags);
    const auto context = ParseTraceparent(text);
    ASSERT_TRUE(context) << text;
    EXPECT_EQ(context->sampled, flags[1] == '1');
    EXPECT_EQ(TraceparentText(*context).view(), text);
  }
}

TEST(TraceparentTest, UnknownVersionsAreReadAsFarAsTheyAreLikeOurs) {
  EXPECT_TRUE(ParseTraceparent(Traceparent("01", "03") + "-more"));
  EXPECT_TRUE(ParseTraceparent(Traceparent("cc", "01")));
  EXPECT_FALSE(ParseTraceparent(Traceparent("cc", "01") + "more"));
  EXPECT_FALSE(ParseTraceparent(Traceparent("00", "01") + "-more"));
  EXPECT_FALSE(ParseTraceparent(Traceparent("ff", "01")));
}

TEST(TraceparentTest, WhatIsNotValidIsAbsent) {
  EXPECT_FALSE(ParseTraceparent(""));
  EXPECT_FALSE(ParseTraceparent("00-00000000000000000000000000000000-b7ad6b7169203331-01"));
  EXPECT_FALSE(ParseTraceparent("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"));
  EXPECT_FALSE(ParseTraceparent("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"));
  EXPECT_FALSE(ParseTraceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g"));
  EXPECT_FALSE(ParseTraceparent("00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
}

TEST(B3Test, TheSingleHeaderIsReadAndWrittenTheSame) {
  const std::string ids = std::string(kTrace) + "-" + std::string(kSpan);
  for (const std::string& text : {ids, ids + "-0", ids + "-1", ids + "-d", ids + "-1-05e3ac9a4f6e3b90",
                                  std::string("05e3ac9a4f6e3b90-") + std::string(kSpan)}) {
    const auto context = ParseB3(text);
    ASSERT_TRUE(context) << text;
    EXPECT_EQ(B3Text(*context).view(), text);
  }
}

TEST(B3Test, ADecisionMayComeAlone) {
  EXPECT_EQ(ParseB3("0")->sampled, false);
  EXPECT_EQ(ParseB3("1")->sampled, true);
  EXPECT_TRUE(ParseB3("d")->debug);
  EXPECT_FALSE(ParseB3("1")->has_ids());
  EXPECT_FALSE(ParseB3("x"));
}

TEST(B3Test, WhatIsNotValidIsAbsent) {
  for (const char* text :
       {"", "-", "0af7651916cd43dd-", "0af7651916cd43d-b7ad6b7169203331", "0af7651916cd43dd-b7ad6b7169203331-",
        "0af7651916cd43dd-b7ad6b7169203331-2", "0af7651916cd43dd-b7ad6b7169203331-1-x",
        "0000000000000000-b7ad6b7169203331-1", "0af7651916cd43dd-b7ad6b7169203331-1-05e3ac9a4f6e3b90-1"}) {
    EXPECT_FALSE(ParseB3(text)) << text;
  }
}

TEST(B3Test, HeadersPerFieldSayTheSame) {
  const auto context = ParseB3Multi({kTrace, kSpan, "05e3ac9a4f6e3b90", "1", ""});
  ASSERT_TRUE(context);
  EXPECT_EQ(B3Text(*context).view(), std::string(kTrace) + "-" + std::string(kSpan) + "-1-05e3ac9a4f6e3b90");
  EXPECT_TRUE(ParseB3Multi({kTrace, kSpan, "", "", "1"})->debug);
  EXPECT_FALSE(ParseB3Multi({kTrace, kSpan, "", "", ""})->sampled.has_value());
  EXPECT_EQ(ParseB3Multi({"", "", "", "0", ""})->sampled, false);
  EXPECT_FALSE(ParseB3Multi({}));
  EXPECT_FALSE(ParseB3Multi({kTrace, "", "", "", ""}));
}

TEST(TraceContextPropertyTest, AnyContextSurvivesEachHeader) {
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    SpanContext context;
    for (uint8_t& byte : context.trace_id) byte = static_cast<uint8_t>(random.Next() | 1);
    for (uint8_t& byte : context.span_id) byte = static_cast<uint8_t>(random.Next() | 1);
    context.sampled = random.Next() % 2 == 0;
    EXPECT_EQ(ParseTraceparent(TraceparentText(context).view()), context);
    if (random.Next() % 2 == 0) {
      for (uint8_t& byte : context.parent_span_id) byte = static_cast<uint8_t>(random.Next() | 1);
    }
    EXPECT_EQ(ParseB3(B3Text(context).view()), context);
  }
}

}  // namespace
}  // namespace weft::telemetry
