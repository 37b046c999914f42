#include "fake_http.h"

#include <algorithm>

namespace weft::test {

std::string FieldIn(const Fields& fields, std::string_view name) {
  std::string joined;
  bool found = false;
  for (const auto& [key, value] : fields) {
    if (key != name) continue;
    if (found) joined += ',';
    found = true;
    joined += value;
  }
  return found ? joined : "-";
}

// ---- downstream ----------------------------------------------------------------------------------------------------

void FakeServerStream::Body(std::string_view text, bool end) {
  if (handler_ == nullptr || asked) return;
  asked = end;
  handler_->OnBody(Bytes(text), end);
}

void FakeServerStream::Trailers(const Fields& sent) {
  if (handler_ == nullptr || asked) return;
  asked = true;
  http::HeaderMap map(arena_);
  for (const auto& [name, value] : sent) map.Add(name, value);
  handler_->OnRequestEnd(&map);
}

void FakeServerStream::Leave(http::StreamError error) { Close(error); }

void FakeServerStream::Read(size_t bytes) {
  room = bytes;
  if (std::exchange(blocked_, false) && handler_ != nullptr) handler_->OnStreamWritable();
}

void FakeServerStream::SendHead(const http::ResponseHead& response, bool end) {
  EXPECT_FALSE(closed);
  EXPECT_EQ(status, 0);
  status = response.status;
  upgraded = response.upgraded;
  fields = FieldsOf(response.headers);
  if (end) {
    ended = true;
    Close(http::StreamError::kNone);
  }
}

void FakeServerStream::SendBody(std::span<const uint8_t> bytes, bool end) {
  EXPECT_FALSE(closed);
  EXPECT_NE(status, 0);
  EXPECT_LE(bytes.size(), room);
  body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (room != SIZE_MAX) room -= bytes.size();
  if (end) {
    ended = true;
    Close(http::StreamError::kNone);
  }
}

void FakeServerStream::SendTrailers(const http::HeaderMap& sent) {
  EXPECT_FALSE(closed);
  trailers = FieldsOf(sent);
  ended = true;
  Close(http::StreamError::kNone);
}

void FakeServerStream::Reset(http::StreamError) {
  EXPECT_FALSE(closed);
  reset = true;
  closed = true;
  handler_ = nullptr;
  head_.reset();
}

void FakeServerStream::Close(http::StreamError error) {
  if (closed) return;
  closed = true;
  if (http::ServerStream::Handler* const handler = std::exchange(handler_, nullptr)) handler->OnStreamClosed(error);
  head_.reset();
}

// ---- upstream ------------------------------------------------------------------------------------------------------

FakeClientStream::FakeClientStream(const http::RequestHead& request, bool end, http::ClientStream::Handler& handler)
    : method(request.method),
      authority(request.authority),
      path(request.path),
      scheme(request.scheme),
      fields(FieldsOf(request.headers)),
      ended(end),
      handler_(&handler) {}

void FakeClientStream::Head(uint16_t answer_status, const Fields& answer_fields, bool end, bool upgraded) {
  if (handler_ == nullptr) return;
  head_ = std::make_unique<http::ResponseHead>(arena_);
  head_->status = answer_status;
  head_->upgraded = upgraded;
  for (const auto& [name, value] : answer_fields) head_->headers.Add(name, value);
  answered_ = end;
  handler_->OnHead(*head_, end);
  CloseIfWhole();
}

void FakeClientStream::Informational(uint16_t answer_status) {
  http::ResponseHead informational(arena_);
  informational.status = answer_status;
  if (handler_ != nullptr) handler_->OnInformational(informational);
}

void FakeClientStream::Body(std::string_view text, bool end) {
  if (handler_ == nullptr || answered_) return;
  answered_ = end;
  handler_->OnBody(Bytes(text), end);
  CloseIfWhole();
}

void FakeClientStream::Trailers(const Fields& answer_fields) {
  if (handler_ == nullptr || answered_) return;
  http::HeaderMap map(arena_);
  for (const auto& [name, value] : answer_fields) map.Add(name, value);
  answered_ = true;
  handler_->OnResponseEnd(&map);
  CloseIfWhole();
}

void FakeClientStream::Close(http::StreamError error) {
  closed = true;
  if (http::ClientStream::Handler* const handler = std::exchange(handler_, nullptr)) handler->OnStreamClosed(error);
  head_.reset();
}

void FakeClientStream::Writable() {
  if (std::exchange(blocked_, false) && handler_ != nullptr) handler_->OnStreamWritable();
}

void FakeClientStream::SendBody(std::span<const uint8_t> bytes, bool end) {
  EXPECT_FALSE(ended && !bytes.empty());
  EXPECT_LE(bytes.size(), room);
  body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (room != SIZE_MAX) room -= bytes.size();
  ended = ended || end;
  CloseIfWhole();
}

void FakeClientStream::SendTrailers(const http::HeaderMap& sent) {
  trailers = FieldsOf(sent);
  ended = true;
  CloseIfWhole();
}

void FakeClientStream::Reset(http::StreamError) {
  EXPECT_FALSE(closed);
  reset = true;
  closed = true;
  handler_ = nullptr;
  head_.reset();
}

void FakeClientStream::CloseIfWhole() {
  if (answered_ && ended && !closed) Close(http::StreamError::kNone);
}

FakeClientConnection::FakeClientConnection() { info_.local = *SocketAddress::Parse("10.0.0.9:4321"); }

http::ClientStream* FakeClientConnection::Open(const http::RequestHead& head, bool end,
                                               http::ClientStream::Handler& handler) {
  if (!can_open) return nullptr;
  return streams.emplace_back(std::make_unique<FakeClientStream>(head, end, handler)).get();
}

namespace {

class FakeAttempt final : public upstream::Attempt {
 public:
  FakeAttempt(FakeCluster& cluster, upstream::EndpointRef endpoint)
      : cluster_(cluster), endpoint_(std::move(endpoint)) {
    ++cluster_.active;
  }
  ~FakeAttempt() override { --cluster_.active; }
  const upstream::EndpointRef& endpoint() const override { return endpoint_; }
  void Connect(http::Protocol, std::string_view, upstream::PoolWaiter& waiter) override {
    if (cluster_.connect) return cluster_.connect(waiter);
    waiter.OnConnection(cluster_.connection);
  }
  void Report(const upstream::Outcome& outcome) override {
    static_cast<FakeEndpoint&>(*endpoint_).outcomes.push_back(outcome);
  }

 private:
  FakeCluster& cluster_;
  upstream::EndpointRef endpoint_;
};

}  // namespace

upstream::EndpointRef FakeCluster::Pick(const upstream::PickContext& context) {
  other_priorities.push_back(context.other_priorities);
  if (!cookie.empty() && context.answer != nullptr) *context.answer = {"set-cookie", cookie};
  for (size_t i = 0; i < endpoints.size(); ++i) {
    const std::shared_ptr<FakeEndpoint>& endpoint = endpoints[next_++ % endpoints.size()];
    const bool tried = std::ranges::any_of(context.tried, [&](const auto& each) { return each == endpoint; });
    if (tried && i + 1 < endpoints.size()) continue;
    picked.emplace_back(endpoint->address_text());
    return endpoint;
  }
  return nullptr;
}

std::unique_ptr<upstream::Attempt> FakeCluster::Begin(upstream::EndpointRef endpoint) {
  if (overflows) return nullptr;
  return std::make_unique<FakeAttempt>(*this, std::move(endpoint));
}

bool FakeCluster::MayRetry() {
  if (!may_retry) return false;
  ++retries;
  return true;
}

std::shared_ptr<upstream::Cluster> FakeClusters::Find(std::string_view name) {
  const auto found = std::ranges::find_if(clusters_, [&](const auto& each) { return each->name() == name; });
  return found == clusters_.end() ? nullptr : *found;
}

FakeCluster& FakeClusters::operator[](const std::string& name) {
  const auto found = std::ranges::find_if(clusters_, [&](const auto& each) { return each->name() == name; });
  if (found != clusters_.end()) return **found;
  return *clusters_.emplace_back(std::make_shared<FakeCluster>(name));
}

}  // namespace weft::test
