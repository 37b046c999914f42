#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/token_bucket.h"
#include "http/closed_streams.h"
#include "http/codec.h"
#include "http/frame_scan.h"
#include "http/stream.h"

namespace weft::http {

class Http2Connection;

// What one HTTP/2 stream is at either end: its texts, and the body that waits to be sent.
class Http2Stream {
 public:
  // Per stream: a few round trips within a cluster. Beyond it whoever writes waits.
  static constexpr size_t kHighWatermark = 64 * 1024;

  Http2Stream(Http2Connection& connection, LoopContext& context) : connection_(connection), out_(context.buffers) {}
  virtual ~Http2Stream() = default;

 protected:
  friend class Http2Connection;
  // Header fields of the block that is being read; false: refuse the stream.
  virtual void OnField(std::string_view name, std::string_view value) = 0;
  virtual void OnFieldsEnd(bool end_stream) = 0;
  virtual void OnChunk(std::span<const uint8_t> bytes) = 0;
  virtual void OnRemoteEnd() = 0;
  virtual void OnWritable() = 0;
  virtual void OnClosed(StreamError error) = 0;

  void Append(std::span<const uint8_t> bytes, bool end);
  void AppendTrailers(const HeaderMap& trailers);
  size_t Room() const;
  void Pause() { paused_ = true; }
  void Resume();

  Http2Connection& connection_;
  int32_t id_ = -1;
  Buffer out_;
  Arena arena_;
  std::vector<nghttp2_nv> trailers_;
  size_t header_bytes_ = 0;
  size_t unconsumed_ = 0;
  bool too_large_ = false;
  bool local_end_ = false;  // nothing is added to out_ any more
  bool deferred_ = false;
  bool remote_ended_ = false;
  bool end_sent_ = false;  // END_STREAM has left (server)
  bool paused_ = false;
  bool handler_gone_ = false;
  mutable bool blocked_ = false;
  bool writable_due_ = false;
};

// The part of an HTTP/2 connection that both ends share: nghttp2's session on a byte stream, flow control that lets a
// stalled stream stop itself alone, and budgets against abuse (the same as hbone/h2_session.h has, for the same
// attacks).
class Http2Connection : protected ByteStream::Handler {
 public:
  Http2Connection(LoopContext& context, std::unique_ptr<ByteStream> stream, bool server);
  virtual ~Http2Connection();
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  nghttp2_session* session() { return session_; }
  void FlushSoon();
  void Consume(Http2Stream& stream, size_t n);
  void WritableLater(Http2Stream& stream);
  // No more calls to the stream; RST with `code`.
  void ResetStream(Http2Stream& stream, uint32_t code);
  nghttp2_data_provider ProviderOf(Http2Stream& stream);

 protected:
  struct Limits {
    uint32_t max_header_bytes, max_headers, stream_window, connection_window, max_streams;
  };
  // `first`: bytes that were read from the stream already.
  void Start(const Limits& limits, std::span<const uint8_t> first);
  Http2Stream& Adopt(std::unique_ptr<Http2Stream> stream, int32_t id);
  size_t stream_count() const { return streams_.size(); }
  void BeginDrain();
  // No more streams from now on.
  void FinishDrain();
  void EndNow();
  // Says GOAWAY with `code`, once, and ends.
  void Break(std::string_view detail, uint32_t code);
  // The peer owes the end of its preface or of a header block since that long; 0: nothing.
  uint64_t OwedSinceMs() const;
  // When a stream began or ended last.
  uint64_t active_ms() const { return active_ms_; }
  bool ended() const { return ended_; }
  bool going_away() const { return peer_goes_ || draining_; }

  // A peer opened a stream (server).
  virtual std::unique_ptr<Http2Stream> NewPeerStream() = 0;
  virtual void OnCapacity() = 0;
  virtual void OnBroken(std::string_view detail) = 0;
  virtual void OnEnded(StreamEnd end, std::string_view detail) = 0;

  LoopContext& context_;
  std::unique_ptr<ByteStream> stream_;
  Limits limits_{};

 private:
  friend class Http2Stream;
  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_bytes,
                      const uint8_t* value, size_t value_bytes, uint8_t, void* self);
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd* header, void* self);
  static int OnInvalidFrame(nghttp2_session*, const nghttp2_frame* frame, int code, void* self);
  static int OnInvalidField(nghttp2_session*, const nghttp2_frame*, const uint8_t*, size_t, const uint8_t*, size_t,
                            uint8_t, void*);
  static int OnData(nghttp2_session*, uint8_t flags, int32_t id, const uint8_t* data, size_t n, void* self);
  static int OnFrameSent(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int OnClose(nghttp2_session*, int32_t id, uint32_t code, void* self);
  static ssize_t ReadBody(nghttp2_session* session, int32_t id, uint8_t* into, size_t room, uint32_t* flags,
                          nghttp2_data_source* source, void* self);

  void OnBytes(std::span<const uint8_t> bytes) override;
  void OnReadEnd() override;
  void OnWritable() override { FlushSoon(); }
  void OnStreamDown(StreamEnd end, std::string_view detail) override;
  void Feed(std::span<const uint8_t> bytes);
  Http2Stream* Find(int32_t id) const;
  // To nghttp2; false: the connection is over.
  bool Give(std::span<const uint8_t> bytes);
  // What is said to a peer that may not do what it does.
  struct Fault {
    std::string_view detail;
    uint32_t code;
  };
  std::optional<Fault> FaultOf(const FrameHead& head);
  std::optional<Fault> FaultOnClosed(int32_t id, uint8_t type) const;
  std::optional<Fault> Spend(TokenBucket& bucket);
  void Flush();
  // False: the connection is over.
  bool WriteOut();
  void CloseAll(StreamError error);
  void MaybeFinish();

  const bool server_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, std::unique_ptr<Http2Stream>> streams_;
  std::vector<Http2Stream*> writable_;
  // Streams of a server that are to be reset at the end of the turn: what was said in them by then is sent before.
  struct DueReset {
    int32_t id;
    uint32_t code;
  };
  std::vector<DueReset> resets_due_;
  FrameScan scan_;
  size_t continuations_ = 0;
  bool broken_ = false;
  bool settings_seen_ = false;
  uint64_t block_begun_ms_ = 0;  // a header block that goes on in CONTINUATION
  uint64_t active_ms_ = 0;
  int32_t last_opened_ = 0;  // by the peer of a server
  ClosedStreams closed_;
  bool draining_ = false;  // the peer is told to open no more
  bool drained_ = false;   // and cannot any more
  bool peer_goes_ = false;
  bool closing_ = false;
  bool ended_ = false;
  // Of a client: as many more as it has answers that it heard to their end. Applications that give up early are no
  // attack as long as they do not do so more often than not.
  TokenBucket resets_{200, 20};
  TokenBucket control_{500, 100};
  std::vector<uint8_t> first_;
  TurnTask first_task_;
  TurnTask flush_task_;
  TurnTask ended_task_;
};

// A block of fields for nghttp2, which copies them.
void AddField(std::vector<nghttp2_nv>& fields, std::string_view name, std::string_view value);
// All but what HTTP/2 has other places for.
void AddFields(std::vector<nghttp2_nv>& fields, const HeaderMap& headers);
StreamError ErrorOf(uint32_t code);
uint32_t CodeOf(StreamError error);

}  // namespace weft::http
