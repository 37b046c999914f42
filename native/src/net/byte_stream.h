#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "base/result.h"
#include "net/ip_address.h"

namespace weft {

// How a byte stream ended.
enum class StreamEnd : uint8_t {
  kClosed,    // both directions finished in order
  kReset,     // the peer reset it, or the transport below it died
  kAborted,   // we ended it
  kTlsError,  // verification or record failure; detail() has OpenSSL's words
  kTimeout,   // no answer to connect, handshake or keepalive
  kRefused,   // could not be connected; detail() says why
};

// What a transport knows of its two ends.
struct StreamInfo {
  SocketAddress local;
  SocketAddress remote;
  // Verified SPIFFE id of the peer ("spiffe://..."); empty when nobody has proved anything.
  std::string peer_identity;
  std::string sni;
  std::string alpn;
  bool tls = false;
  // HBONE only: what the peer asked for, and who it says the client is.
  SocketAddress authority;
  std::string baggage;
  std::string traceparent;
};

// A full-duplex stream of bytes on one loop: TCP, TLS on TCP, or one stream of an HBONE tunnel. The owner destroys it
// by EpollLoop::Retire after OnStreamDown.
//
// Reading. OnBytes hands over everything that arrives, at most one read's worth (LoopContext::kWireBytes) per call. A
// handler that cannot take more calls PauseReads, from within OnBytes or later; then nothing is delivered, the peer is
// held back by its window, and OnReadEnd waits too. What was delivered is taken.
// Writing. Write never fails and never blocks: bytes go to out() and leave at the end of the turn. WriteRoom() is what
// may still be added before the high watermark; 0 promises an OnWritable when the buffer is half empty again.
class ByteStream {
 public:
  class Handler {
   public:
    // Connected, TLS verified: bytes may be written. Not called for streams that are accepted up.
    virtual void OnStreamUp() {}
    virtual void OnBytes(std::span<const uint8_t> bytes) = 0;
    // The peer sends no more (FIN, close_notify, END_STREAM). Writing goes on.
    virtual void OnReadEnd() = 0;
    virtual void OnWritable() = 0;
    // The last call.
    virtual void OnStreamDown(StreamEnd end, std::string_view detail) = 0;

   protected:
    ~Handler() = default;
  };

  virtual ~ByteStream() = default;

  void set_handler(Handler* handler) { handler_ = handler; }
  const StreamInfo& info() const { return info_; }

  // Begins to read (accepted streams) or to connect. Calls the handler from later turns only.
  virtual Status Begin() = 0;
  virtual void Write(std::span<const uint8_t> bytes) = 0;
  // The write buffer itself, for writers that format in place; call WriteSoon() afterwards.
  virtual Buffer& out() = 0;
  virtual void WriteSoon() = 0;
  virtual size_t WriteRoom() const = 0;
  virtual void PauseReads() = 0;
  virtual void ResumeReads() = 0;
  // After what is buffered: FIN, close_notify, END_STREAM.
  virtual void FinishWrites() = 0;
  // Flushes, closes both ways; OnStreamDown(kClosed) follows in a later turn, at the latest when `linger` is over.
  virtual void Close() = 0;
  // Ends now, with RST where there is one. No further calls to the handler.
  virtual void Abort() = 0;

 protected:
  Handler* handler_ = nullptr;
  StreamInfo info_;
};

}  // namespace weft
