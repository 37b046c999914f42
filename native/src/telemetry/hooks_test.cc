#include "telemetry/hooks.h"

#include <gtest/gtest.h>

#include <string>

#include "telemetry/request_id.h"

namespace weft::telemetry {
namespace {

using http::HeaderId;

constexpr std::string_view kTraceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
constexpr std::string_view kTrace = "0af7651916cd43dd8448eb211c80319c";

class HooksTest : public testing::Test {
 protected:
  HooksTest() {
    program_.tracing = true;
    program_.use_request_id = true;
  }
  RequestTrace Pass() {
    RequestTrace trace;
    hooks_.OnRequestStart(head_, &program_, trace);
    hooks_.OnUpstreamRequest(head_, trace);
    return trace;
  }
  std::string Get(HeaderId id) const { return std::string(head_.headers.Get(id)); }
  bool Has(HeaderId id) const { return head_.headers.Find(id) != nullptr; }

  Arena arena_;
  http::RequestHead head_{arena_};
  TelemetryProgram program_;
  Hooks hooks_{Random(3)};
};

TEST_F(HooksTest, ARequestWithoutIdGetsOneAndKeepsTheOneItHas) {
  RequestTrace trace;
  hooks_.OnRequestStart(head_, nullptr, trace);
  const std::string id = Get(HeaderId::kXRequestId);
  EXPECT_EQ(ReadTraceReason(id), TraceReason::kNone);
  hooks_.OnRequestStart(head_, nullptr, trace);
  EXPECT_EQ(Get(HeaderId::kXRequestId), id);
  EXPECT_FALSE(trace.span.has_ids());
}

TEST_F(HooksTest, WithoutTracingTraceHeadersPassAsTheyCame) {
  program_.tracing = false;
  head_.headers.Set(HeaderId::kTraceparent, kTraceparent);
  Pass();
  EXPECT_EQ(Get(HeaderId::kTraceparent), kTraceparent);
}

TEST_F(HooksTest, W3cIsAnsweredInKindWithASpanOfOurOwn) {
  program_.exporter = Exporter::kZipkin;
  head_.headers.Set(HeaderId::kTraceparent, kTraceparent);
  const RequestTrace trace = Pass();
  EXPECT_TRUE(*trace.span.sampled);
  const auto sent = ParseTraceparent(Get(HeaderId::kTraceparent));
  ASSERT_TRUE(sent);
  EXPECT_EQ(TraceIdText(*sent).view(), kTrace);
  EXPECT_EQ(sent->span_id, trace.span.span_id);
  EXPECT_EQ(SpanIdText(trace.span.parent_span_id).view(), "b7ad6b7169203331");
  EXPECT_FALSE(Has(HeaderId::kXB3TraceId));
}

TEST_F(HooksTest, B3IsAnsweredInKind) {
  head_.headers.Set(HeaderId::kB3, "05e3ac9a4f6e3b90-b7ad6b7169203331-0");
  const RequestTrace trace = Pass();
  EXPECT_FALSE(*trace.span.sampled);
  EXPECT_EQ(Get(HeaderId::kB3), std::string("05e3ac9a4f6e3b90-") + std::string(SpanIdText(trace.span.span_id).view()) +
                                    "-0-b7ad6b7169203331");
  EXPECT_FALSE(Has(HeaderId::kTraceparent));
  EXPECT_FALSE(Has(HeaderId::kXB3TraceId));
}

TEST_F(HooksTest, B3HeadersPerFieldAreAnsweredInKind) {
  head_.headers.Set(HeaderId::kXB3TraceId, kTrace);
  head_.headers.Set(HeaderId::kXB3SpanId, "b7ad6b7169203331");
  head_.headers.Set(HeaderId::kXB3Sampled, "1");
  const RequestTrace trace = Pass();
  EXPECT_EQ(Get(HeaderId::kXB3TraceId), kTrace);
  EXPECT_EQ(Get(HeaderId::kXB3SpanId), SpanIdText(trace.span.span_id).view());
  EXPECT_EQ(Get(HeaderId::kXB3ParentSpanId), "b7ad6b7169203331");
  EXPECT_EQ(Get(HeaderId::kXB3Sampled), "1");
  EXPECT_FALSE(Has(HeaderId::kB3));
}

TEST_F(HooksTest, WithoutHeadersTheProvidersOwnAreWritten) {
  program_.exporter = Exporter::kZipkin;
  Pass();
  EXPECT_TRUE(Has(HeaderId::kXB3TraceId));
  EXPECT_FALSE(Has(HeaderId::kXB3ParentSpanId));
  EXPECT_FALSE(Has(HeaderId::kTraceparent));
  head_.headers.clear();
  program_.exporter = Exporter::kOtlp;
  Pass();
  EXPECT_TRUE(Has(HeaderId::kTraceparent));
  EXPECT_FALSE(Has(HeaderId::kXB3TraceId));
  head_.headers.clear();
  program_.exporter = Exporter::kNone;
  Pass();
  EXPECT_TRUE(Has(HeaderId::kTraceparent));
  EXPECT_TRUE(Has(HeaderId::kXB3TraceId));
}

TEST_F(HooksTest, WithBothTheProvidersOwnIdsLead) {
  program_.exporter = Exporter::kOtlp;
  head_.headers.Set(HeaderId::kTraceparent, kTraceparent);
  head_.headers.Set(HeaderId::kB3, "05e3ac9a4f6e3b90-b7ad6b7169203331-0");
  Pass();
  EXPECT_EQ(ParseTraceparent(Get(HeaderId::kTraceparent))->trace_id, ParseB3(Get(HeaderId::kB3))->trace_id);
  EXPECT_EQ(TraceIdText(*ParseB3(Get(HeaderId::kB3))).view(), kTrace);
}

TEST_F(HooksTest, TwoTraceparentsAreNone) {
  head_.headers.Add(HeaderId::kTraceparent, kTraceparent);
  head_.headers.Add(HeaderId::kTraceparent, kTraceparent);
  const RequestTrace trace = Pass();
  EXPECT_NE(TraceIdText(trace.span).view(), kTrace);
  EXPECT_EQ(head_.headers.Count(HeaderId::kTraceparent), 1u);
}

TEST_F(HooksTest, TheDecisionIsKeptInTheRequestId) {
  program_.sampling_ppm = 1'000'000;
  const RequestTrace trace = Pass();
  EXPECT_TRUE(*trace.span.sampled);
  EXPECT_EQ(ReadTraceReason(Get(HeaderId::kXRequestId)), TraceReason::kSampled);
}

TEST_F(HooksTest, AProxyBehindFollowsTheRequestId) {
  head_.headers.Set(HeaderId::kXRequestId, "6a7e0b1c-0000-9000-8000-000000000000");
  EXPECT_TRUE(*Pass().span.sampled);
  head_.headers.clear();
  head_.headers.Set(HeaderId::kXRequestId, "6a7e0b1c-0000-4000-8000-000000000000");
  EXPECT_FALSE(*Pass().span.sampled);
  head_.headers.clear();
  program_.use_request_id = false;
  head_.headers.Set(HeaderId::kXRequestId, "6a7e0b1c-0000-9000-8000-000000000000");
  EXPECT_FALSE(*Pass().span.sampled);
}

TEST_F(HooksTest, ForcedTracesSayByWhom) {
  head_.headers.Add("x-client-trace-id", "1");
  EXPECT_TRUE(*Pass().span.sampled);
  EXPECT_EQ(ReadTraceReason(Get(HeaderId::kXRequestId)), TraceReason::kClientForced);
  head_.headers.clear();
  head_.headers.Add("x-envoy-force-trace", "true");
  EXPECT_TRUE(*Pass().span.sampled);
  EXPECT_EQ(ReadTraceReason(Get(HeaderId::kXRequestId)), TraceReason::kServiceForced);
}

TEST_F(HooksTest, AnIdThatIsNoUuidIsNotTraced) {
  program_.sampling_ppm = 1'000'000;
  head_.headers.Set(HeaderId::kXRequestId, "mine");
  EXPECT_FALSE(*Pass().span.sampled);
  EXPECT_EQ(Get(HeaderId::kXRequestId), "mine");
}

TEST_F(HooksTest, PropagationCanBeOff) {
  program_.disable_propagation = true;
  head_.headers.Set(HeaderId::kTraceparent, kTraceparent);
  const RequestTrace trace = Pass();
  EXPECT_EQ(Get(HeaderId::kTraceparent), kTraceparent);
  EXPECT_TRUE(*trace.span.sampled);
}

}  // namespace
}  // namespace weft::telemetry
