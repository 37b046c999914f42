#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/stream.h"
#include "upstream/cluster.h"

// Both sides of the L7 engine, without bytes: what a codec would say is said by the test, what the engine sends is
// kept.
namespace weft::test {

using Fields = std::vector<std::pair<std::string, std::string>>;

inline Fields FieldsOf(const http::HeaderMap& headers) {
  Fields fields;
  for (const http::Header& each : headers) fields.emplace_back(each.name, each.value);
  return fields;
}
// Values joined by ","; "-" when there are none.
std::string FieldIn(const Fields& fields, std::string_view name);

inline std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A request on its way in. As a codec's, its head dies with the stream.
class FakeServerStream final : public http::ServerStream {
 public:
  FakeServerStream() : head_(std::make_unique<http::RequestHead>(arena_)) {}

  // Before the engine has it.
  http::RequestHead& head() { return *head_; }
  void set_handler(http::ServerStream::Handler* handler) { handler_ = handler; }
  // The client sends; nothing is delivered once the stream is closed, or behind the request's end.
  void Body(std::string_view text, bool end);
  void Trailers(const Fields& fields);
  // The client goes away.
  void Leave(http::StreamError error = http::StreamError::kConnectionClosed);
  // The client reads again. Told only to whom there was no room, as codecs do.
  void Read(size_t bytes);

  void SendInformational(const http::ResponseHead& response) override { informational.push_back(response.status); }
  void SendHead(const http::ResponseHead& response, bool end) override;
  void SendBody(std::span<const uint8_t> bytes, bool end) override;
  void SendTrailers(const http::HeaderMap& fields) override;
  void Reset(http::StreamError error) override;
  size_t WriteRoom() const override {
    blocked_ = blocked_ || room == 0;
    return room;
  }
  void PauseBody() override { paused = true; }
  void ResumeBody() override { paused = false; }
  void CloseAfter() override {}

  size_t room = SIZE_MAX;
  std::vector<uint16_t> informational;
  uint16_t status = 0;
  bool upgraded = false;
  Fields fields, trailers;
  std::string body;
  bool asked = false;   // the request is whole
  bool ended = false;   // the answer is whole
  bool reset = false;   // the engine cut it
  bool closed = false;  // nothing is called any more
  bool paused = false;

 private:
  void Close(http::StreamError error);

  mutable bool blocked_ = false;
  Arena arena_;
  std::unique_ptr<http::RequestHead> head_;
  http::ServerStream::Handler* handler_ = nullptr;
};

// A request as an upstream sees it.
class FakeClientStream final : public http::ClientStream {
 public:
  FakeClientStream(const http::RequestHead& request, bool end, http::ClientStream::Handler& handler);

  // The upstream answers. `end` closes the stream when the request is whole too.
  void Head(uint16_t answer_status, const Fields& answer_fields, bool end, bool upgraded = false);
  void Informational(uint16_t answer_status);
  void Body(std::string_view text, bool end);
  void Trailers(const Fields& answer_fields);
  void Close(http::StreamError error);
  void Writable();

  void SendBody(std::span<const uint8_t> bytes, bool end) override;
  void SendTrailers(const http::HeaderMap& sent) override;
  void Reset(http::StreamError error) override;
  size_t WriteRoom() const override {
    blocked_ = blocked_ || room == 0;
    return room;
  }
  void PauseBody() override { paused = true; }
  void ResumeBody() override { paused = false; }

  size_t room = SIZE_MAX;
  std::string method, authority, path, scheme;
  Fields fields, trailers;
  std::string body;
  bool ended = false;
  bool reset = false;
  bool closed = false;
  bool paused = false;

 private:
  void CloseIfWhole();

  mutable bool blocked_ = false;
  Arena arena_;
  std::unique_ptr<http::ResponseHead> head_;
  http::ClientStream::Handler* handler_;
  bool answered_ = false;
};

// A connection that takes any number of requests.
class FakeClientConnection final : public http::ClientConnection {
 public:
  FakeClientConnection();
  http::ClientStream* Open(const http::RequestHead& head, bool end, http::ClientStream::Handler& handler) override;
  bool CanOpen() const override { return can_open; }
  void Drain() override {}
  void Abort() override {}
  size_t open_streams() const override { return 0; }
  const StreamInfo& info() const override { return info_; }

  bool can_open = true;
  std::vector<std::unique_ptr<FakeClientStream>> streams;

 private:
  StreamInfo info_;
};

class FakeEndpoint final : public upstream::Endpoint {
 public:
  explicit FakeEndpoint(const std::string& text) : address_(*SocketAddress::Parse(text)), text_(text) {}
  const SocketAddress& address() const override { return address_; }
  std::string_view address_text() const override { return text_; }
  const upstream::WorkloadFacts& workload() const override { return facts_; }
  bool tunnel() const override { return false; }

  std::vector<upstream::Outcome> outcomes;

 private:
  SocketAddress address_;
  std::string text_;
  upstream::WorkloadFacts facts_;
};

// Gives out its endpoints in turn and avoids those that were tried.
class FakeCluster final : public upstream::Cluster {
 public:
  explicit FakeCluster(std::string name) : name_(std::move(name)) {}

  const std::string& name() const override { return name_; }
  const std::string& service_hostname() const override { return name_; }
  const std::string& service_namespace() const override { return name_; }
  const std::string& service_name() const override { return name_; }
  upstream::EndpointRef Pick(const upstream::PickContext& context) override;
  std::unique_ptr<upstream::Attempt> Begin(upstream::EndpointRef endpoint) override;
  std::unique_ptr<ByteStream> Open(upstream::EndpointRef, const StreamInfo&) override { return nullptr; }
  bool MayRetry() override;
  void RetryEnded() override { --retries; }
  size_t endpoint_count() const override { return endpoints.size(); }
  uint64_t tcp_idle_ms() const override { return 0; }
  uint64_t max_connection_duration_ms() const override { return 0; }

  FakeClientStream& stream(size_t i) { return *connection.streams.at(i); }
  size_t requests() const { return connection.streams.size(); }

  std::vector<std::shared_ptr<FakeEndpoint>> endpoints{std::make_shared<FakeEndpoint>("10.0.0.1:80")};
  FakeClientConnection connection;
  // In place of `connection`.
  std::function<void(upstream::PoolWaiter&)> connect;
  bool overflows = false;
  bool may_retry = true;
  std::string cookie;
  int retries = 0;  // that run
  int active = 0;   // attempts that live
  std::vector<std::string> picked;
  std::vector<bool> other_priorities;

 private:
  std::string name_;
  size_t next_ = 0;
};

class FakeClusters final : public upstream::ClusterSet {
 public:
  std::shared_ptr<upstream::Cluster> Find(std::string_view name) override;
  // Makes it when it is not there.
  FakeCluster& operator[](const std::string& name);

 private:
  std::vector<std::shared_ptr<FakeCluster>> clusters_;
};

}  // namespace weft::test
