#include "l7/upstream_request.h"

#include <utility>

#include "l7/grpc.h"

namespace weft::l7 {

// With its loop or at the end of a turn: nothing of its pool is on the stack.
UpstreamRequest::~UpstreamRequest() {
  if (stream_ != nullptr) stream_->Reset(http::StreamError::kLocal);
}

void UpstreamRequest::Start(std::unique_ptr<upstream::Attempt> attempt, const http::RequestHead& head, bool end,
                            bool grpc) {
  attempt_ = std::move(attempt);
  head_ = &head;
  end_with_head_ = end;
  grpc_ = grpc;
  opened_ = response_ended_ = reported_ = false;
  local_ = {};
  early_.reset();
  connecting_ = true;
  attempt_->Connect(head.protocol, head.authority, *this);
  connecting_ = false;
  if (early_) {
    const Early early = std::move(*early_);
    early_.reset();
    Fail(early.failure, early.detail);
  }
}

void UpstreamRequest::Reset() {
  GiveUp();
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->Reset(http::StreamError::kLocal);
  // We may be inside a call of its pool.
  if (attempt_ != nullptr) context_.loop.Retire(std::move(attempt_));
}

void UpstreamRequest::ReportTimeout() { Report({.status = 0, .local_origin = true}); }

void UpstreamRequest::OnConnection(http::ClientConnection& connection) {
  local_ = connection.info().local;
  stream_ = connection.Open(*head_, end_with_head_, *this);
  if (stream_ == nullptr) {
    if (connecting_) {
      early_ = Early{UpstreamFailure::kConnectionTermination, {}};
      return;
    }
    return Fail(UpstreamFailure::kConnectionTermination, {});
  }
  opened_ = true;
  owner_.OnAttemptOpen();
}

void UpstreamRequest::OnPoolFailure(upstream::PoolFailure failure, std::string_view detail) {
  const UpstreamFailure mapped = FailureOf(failure);
  std::string text;
  if (failure == upstream::PoolFailure::kConnectFailure) text.append("delayed connect error: ").append(detail);
  if (failure == upstream::PoolFailure::kTlsFailure) text = detail;
  if (connecting_) {
    early_ = Early{mapped, std::move(text)};
    return;
  }
  Fail(mapped, text);
}

void UpstreamRequest::OnHead(http::ResponseHead& head, bool end) {
  response_ended_ = end;
  if (!grpc_) {
    Report({.status = head.status, .local_origin = false});
  } else if (end || head.status != 200) {
    ReportGrpc(head.headers);
  }
  owner_.OnAttemptHead(head, end);
}

void UpstreamRequest::OnBody(std::span<const uint8_t> bytes, bool end) {
  response_ended_ = end;
  owner_.OnAttemptBody(bytes, end);
}

void UpstreamRequest::OnResponseEnd(const http::HeaderMap* trailers) {
  response_ended_ = true;
  if (grpc_ && trailers != nullptr) ReportGrpc(*trailers);
  owner_.OnAttemptEnd(trailers);
}

void UpstreamRequest::OnStreamClosed(http::StreamError error) {
  stream_ = nullptr;
  if (!response_ended_) return Fail(FailureOf(error), {});
  attempt_.reset();
  owner_.OnAttemptClosed();
}

void UpstreamRequest::Fail(UpstreamFailure failure, std::string_view detail) {
  // Overflow says nothing of the endpoint.
  if (failure != UpstreamFailure::kOverflow) Report({.status = 0, .local_origin = true});
  context_.loop.Retire(std::move(attempt_));
  owner_.OnAttemptFailed(failure, detail);
  owner_.OnAttemptClosed();
}

// A gRPC server says 200 whatever happened.
void UpstreamRequest::ReportGrpc(const http::HeaderMap& headers) {
  if (const std::optional<uint32_t> status = GrpcStatusIn(headers)) {
    Report({.status = HttpStatusOfGrpc(*status), .local_origin = false});
  }
}

void UpstreamRequest::Report(const upstream::Outcome& outcome) {
  if (reported_ || attempt_ == nullptr) return;
  reported_ = true;
  attempt_->Report(outcome);
}

}  // namespace weft::l7
