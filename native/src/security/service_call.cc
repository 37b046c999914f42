#include "security/service_call.h"

#include <algorithm>

#include "http/header_map.h"

namespace weft::security {
namespace {

// Compressed flag and length before each gRPC message.
constexpr size_t kGrpcPrefixBytes = 5;

std::string Framed(std::string_view message) {
  std::string framed(kGrpcPrefixBytes, '\0');
  const auto n = static_cast<uint32_t>(message.size());
  for (int i = 0; i < 4; ++i) framed[1 + static_cast<size_t>(i)] = static_cast<char>(n >> (24 - 8 * i) & 0xff);
  return framed.append(message);
}

// False: not exactly one message, or a compressed one, which we did not offer to take.
bool Unframe(std::string& body) {
  if (body.size() < kGrpcPrefixBytes || body[0] != 0) return false;
  uint32_t n = 0;
  for (size_t i = 1; i < kGrpcPrefixBytes; ++i) n = n << 8 | static_cast<unsigned char>(body[i]);
  if (body.size() != kGrpcPrefixBytes + n) return false;
  body.erase(0, kGrpcPrefixBytes);
  return true;
}

}  // namespace

ServiceCall::ServiceCall(LoopContext& context, Owner& owner, CallRequest request)
    : context_(context),
      owner_(owner),
      request_(std::move(request)),
      timer_([this] { Fail("timed out", true); }),
      failed_([this] { owner_.OnAnswer(std::move(answer_)); }) {
  if (request_.grpc) request_.body = Framed(request_.body);
}

ServiceCall::~ServiceCall() {
  failed_.Cancel();
  Finish();
}

void ServiceCall::Start(upstream::ClusterSet& clusters, std::string_view cluster) {
  cluster_ = clusters.Find(cluster);
  if (!cluster_) return Fail("there is no cluster " + std::string(cluster));
  upstream::EndpointRef endpoint = cluster_->Pick({});
  if (!endpoint) return Fail("cluster " + std::string(cluster) + " has no healthy endpoint");
  attempt_ = cluster_->Begin(std::move(endpoint));
  if (!attempt_) return Fail("cluster " + std::string(cluster) + " has too many requests");
  context_.loop.Arm(timer_, request_.timeout_ms);
  attempt_->Connect(request_.grpc ? http::Protocol::kHttp2 : http::Protocol::kHttp11, request_.authority, *this);
}

void ServiceCall::OnConnection(http::ClientConnection& connection) {
  Arena arena;
  http::RequestHead head(arena);
  head.protocol = request_.grpc ? http::Protocol::kHttp2 : http::Protocol::kHttp11;
  head.method = request_.method;
  head.scheme = "http";
  head.authority = request_.authority;
  head.path = request_.path;
  if (request_.grpc) {
    head.headers.Add(http::HeaderId::kTe, "trailers");
    head.headers.Add(http::HeaderId::kContentType, "application/grpc");
    head.headers.Add(http::HeaderId::kGrpcTimeout,
                     std::to_string(std::min<uint64_t>(request_.timeout_ms, 99'999'999)) + "m");
  } else {
    head.content_length = request_.body.size();
    head.headers.Add(http::HeaderId::kContentLength, std::to_string(request_.body.size()));
  }
  for (const auto& [name, value] : request_.headers) head.headers.Add(name, value);
  stream_ = connection.Open(head, request_.body.empty(), *this);
  if (stream_ == nullptr) return Fail("the connection takes no more requests");
  SendMore();
}

void ServiceCall::SendMore() {
  while (stream_ != nullptr && sent_ < request_.body.size()) {
    const size_t n = std::min(stream_->WriteRoom(), request_.body.size() - sent_);
    if (n == 0) return;
    const auto* bytes = reinterpret_cast<const uint8_t*>(request_.body.data()) + sent_;
    sent_ += n;
    stream_->SendBody({bytes, n}, sent_ == request_.body.size());
  }
}

void ServiceCall::OnPoolFailure(upstream::PoolFailure, std::string_view detail) {
  if (attempt_) attempt_->Report({.status = 0, .local_origin = true});
  Fail("cannot be reached: " + std::string(detail));
}

void ServiceCall::OnHead(http::ResponseHead& head, bool end) {
  answer_.status = head.status;
  attempt_->Report({.status = head.status, .local_origin = false});
  for (const http::Header& header : head.headers) {
    answer_.headers.emplace_back(header.name, header.value);
    if (header.id == http::HeaderId::kGrpcStatus) grpc_status_ = header.value;
    if (header.id == http::HeaderId::kGrpcMessage) grpc_message_ = header.value;
  }
  response_done_ = end;
}

void ServiceCall::OnBody(std::span<const uint8_t> bytes, bool end) {
  if (done_) return;
  if (answer_.body.size() + bytes.size() > kMaxAnswerBytes) return Fail("the answer is too long");
  answer_.body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  response_done_ = end;
}

void ServiceCall::OnResponseEnd(const http::HeaderMap* trailers) {
  if (trailers != nullptr) {
    grpc_status_ = trailers->Get(http::HeaderId::kGrpcStatus);
    grpc_message_ = trailers->Get(http::HeaderId::kGrpcMessage);
  }
  response_done_ = true;
}

void ServiceCall::OnStreamWritable() { SendMore(); }

// Only here the answer is handed on: the owner may destroy this object then, and a stream that is not closed yet would
// take its connection along.
void ServiceCall::OnStreamClosed(http::StreamError) {
  stream_ = nullptr;
  if (done_) return;
  if (response_done_) return Complete();
  if (answer_.status == 0 && attempt_) attempt_->Report({.status = 0, .local_origin = true});
  Fail("the connection ended before the answer");
}

void ServiceCall::Complete() {
  if (done_) return;
  if (request_.grpc) {
    if (answer_.status != 200) return Fail("answered HTTP " + std::to_string(answer_.status));
    if (grpc_status_ != "0") return Fail("answered grpc-status " + grpc_status_ + " " + grpc_message_);
    if (!Unframe(answer_.body)) return Fail("the answer is not one gRPC message");
  }
  Finish();
  owner_.OnAnswer(std::move(answer_));
}

void ServiceCall::Fail(std::string why, bool timed_out) {
  if (done_) return;
  Finish();
  answer_ = {};
  answer_.failure = std::move(why);
  answer_.timed_out = timed_out;
  context_.loop.NextTurn(failed_);
}

void ServiceCall::Finish() {
  done_ = true;
  timer_.Disarm();
  GiveUp();
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->Reset(http::StreamError::kLocal);
  attempt_.reset();
}

}  // namespace weft::security
