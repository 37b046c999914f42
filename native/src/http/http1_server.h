#pragma once

#include <memory>
#include <string>

#include "http/codec.h"
#include "http/http1_body.h"
#include "http/http1_head.h"

namespace weft::http {

// A client's HTTP/1 connection. One request at a time: what comes behind it waits in the socket, but for what was read
// with it already.
class Http1Server final : public ServerConnection, private ServerStream, private ByteStream::Handler, private BodySink {
 public:
  Http1Server(LoopContext& context, std::unique_ptr<ByteStream> stream, Owner& owner, const ServerLimits& limits,
              std::span<const uint8_t> first);
  ~Http1Server() override;

  void Drain() override;
  void Abort() override;
  size_t open_streams() const override { return request_open_ ? 1 : 0; }
  const StreamInfo& info() const override { return stream_->info(); }

 private:
  enum class Response : uint8_t { kNone, kHead, kDone };

  // ServerStream
  void SendInformational(const ResponseHead& head) override;
  void SendHead(const ResponseHead& head, bool end) override;
  void SendBody(std::span<const uint8_t> bytes, bool end) override;
  void SendTrailers(const HeaderMap& trailers) override;
  void Reset(StreamError error) override;
  size_t WriteRoom() const override { return stream_->WriteRoom(); }
  void PauseBody() override;
  void ResumeBody() override;
  void CloseAfter() override { keep_alive_ = false; }
  // ByteStream::Handler
  void OnBytes(std::span<const uint8_t> bytes) override;
  void OnReadEnd() override;
  void OnWritable() override;
  void OnStreamDown(StreamEnd end, std::string_view detail) override;
  // BodySink
  void OnBodyBytes(std::span<const uint8_t> bytes, bool end) override;
  void OnTrailerBlock(std::string_view block) override;

  void Take(std::span<const uint8_t> bytes);
  // Returns how many bytes belong to the head; 0 when it is not whole.
  size_t TakeHead(std::span<const uint8_t> bytes);
  void BeginRequest(std::string_view block);
  void RequestDone();
  void ResponseDone();
  void FinishExchange();
  void CloseStream(StreamError error);
  void Refuse(uint16_t status, std::string_view detail);
  void OnTimer();
  void WatchTime(uint64_t within_ms);
  void CloseConnection();
  void EndNow();

  LoopContext& context_;
  std::unique_ptr<ByteStream> stream_;
  Owner& owner_;
  ServerLimits limits_;

  Arena arena_;
  RequestHead head_;
  Http1Meta meta_;
  BodyReader body_;
  ServerStream::Handler* handler_ = nullptr;
  std::string pending_;  // begin of a head, or what was read behind a request
  size_t scanned_ = 0;
  bool head_begun_ = false;
  bool blank_line_forgiven_ = false;
  bool request_open_ = false;
  bool request_done_ = false;
  bool tunnel_ = false;  // upgraded: bytes both ways
  bool keep_alive_ = true;
  bool draining_ = false;
  bool closing_ = false;
  bool body_paused_ = false;
  bool read_ended_ = false;
  bool down_ = false;
  Response response_ = Response::kNone;
  bool response_chunked_ = false;
  bool response_has_body_ = true;
  Timer timer_;
  uint64_t deadline_ms_ = 0;
  TurnTask next_task_;
  TurnTask down_task_;
};

}  // namespace weft::http
