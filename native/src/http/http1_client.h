#pragma once

#include <memory>
#include <string>

#include "http/codec.h"
#include "http/http1_body.h"
#include "http/http1_head.h"

namespace weft::http {

// Our HTTP/1 connection to a server: one request at a time.
class Http1Client final : public ClientConnection, private ClientStream, private ByteStream::Handler, private BodySink {
 public:
  // 1xx answers before the one that counts.
  static constexpr uint32_t kMaxInformational = 16;

  Http1Client(LoopContext& context, std::unique_ptr<ByteStream> stream, Owner& owner, const ClientLimits& limits);
  ~Http1Client() override;

  ClientStream* Open(const RequestHead& head, bool end, ClientStream::Handler& handler) override;
  bool CanOpen() const override { return !exchange_open_ && !reading_ && !closing_; }
  void Drain() override;
  void Abort() override;
  size_t open_streams() const override { return exchange_open_ ? 1 : 0; }
  const StreamInfo& info() const override { return stream_->info(); }

 private:
  // ClientStream
  void SendBody(std::span<const uint8_t> bytes, bool end) override;
  void SendTrailers(const HeaderMap& trailers) override;
  void Reset(StreamError error) override;
  size_t WriteRoom() const override { return upgrade_wanted_ && !tunnel_ ? 0 : stream_->WriteRoom(); }
  void PauseBody() override { stream_->PauseReads(); }
  void ResumeBody() override { stream_->ResumeReads(); }
  // ByteStream::Handler
  void OnBytes(std::span<const uint8_t> bytes) override;
  void OnReadEnd() override;
  void OnWritable() override;
  void OnStreamDown(StreamEnd end, std::string_view detail) override;
  // BodySink
  void OnBodyBytes(std::span<const uint8_t> bytes, bool end) override;
  void OnTrailerBlock(std::string_view block) override;

  void Take(std::span<const uint8_t> bytes);
  size_t TakeHead(std::span<const uint8_t> bytes);
  bool BeginResponse(std::string_view block);
  void MaybeFinish();
  void CloseStream(StreamError error);
  void Broken(StreamError error);
  void EndNow();

  LoopContext& context_;
  std::unique_ptr<ByteStream> stream_;
  Owner& owner_;
  ClientLimits limits_;

  Arena arena_;
  ResponseHead head_;
  BodyReader body_;
  ClientStream::Handler* handler_ = nullptr;
  std::string method_;
  std::string pending_;  // begin of a head
  std::string early_;    // of a tunnel that does not stand yet
  uint32_t informational_ = 0;
  size_t scanned_ = 0;
  bool exchange_open_ = false;
  bool request_chunked_ = false;
  bool request_done_ = false;
  bool head_taken_ = false;
  bool response_done_ = false;
  bool upgrade_wanted_ = false;
  bool tunnel_ = false;
  bool keep_alive_ = true;
  bool reading_ = false;
  bool capacity_due_ = false;
  bool closing_ = false;
  bool down_ = false;
  TurnTask down_task_;
};

}  // namespace weft::http
