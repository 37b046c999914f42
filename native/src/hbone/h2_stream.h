#pragma once

#include <cstdint>
#include <span>

#include "base/intrusive_list.h"
#include "hbone/hpack.h"

namespace weft {

class H2Session;
class H2Stream;

// The user of one stream. Every stream ends with exactly one OnStreamClosed, after which its H2Stream is gone.
class StreamHandler {
 public:
  // Client: the answer. `end` is END_STREAM.
  virtual void OnStreamHeaders(const HeaderBlock& headers, bool end) = 0;
  // Payload; the span is valid until H2Session::Output::OnBatchEnd. Every byte must be given to H2Session::Consume
  // once it has left our memory.
  virtual void OnStreamData(std::span<const uint8_t> bytes) = 0;
  // END_STREAM: the peer sends no more.
  virtual void OnStreamEnd() = 0;
  // The send budget was used up and is there again.
  virtual void OnStreamWritable() = 0;
  // `code` is h2::kNoError when both sides had ended; else the stream was reset, by whom `by_peer` tells.
  virtual void OnStreamClosed(uint32_t code, bool by_peer) = 0;

 protected:
  ~StreamHandler() = default;
};

// Protocol state of one stream. Owned by its session.
class H2Stream {
 public:
  uint32_t id() const { return id_; }
  bool local_closed() const { return local_closed_; }
  bool remote_closed() const { return remote_closed_; }
  void set_handler(StreamHandler* handler) { handler_ = handler; }

 private:
  friend class H2Session;
  explicit H2Stream(uint32_t id) : id_(id), blocked_(this) {}

  uint32_t id_;
  bool local_closed_ = false;
  bool remote_closed_ = false;
  bool headers_done_ = false;  // client: final answer received; server: answer sent
  StreamHandler* handler_ = nullptr;
  int64_t send_window_ = 0;
  // What the peer may still send, what it may hold in all, and what the application took but was not credited yet.
  int64_t recv_window_ = 0;
  int64_t recv_target_ = 0;
  int64_t unacked_ = 0;
  ListLink<H2Stream> blocked_;
};

}  // namespace weft
