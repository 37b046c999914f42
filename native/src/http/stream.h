#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "http/message.h"
#include "net/byte_stream.h"

// One exchange, whatever HTTP it is spoken in. Codecs (http1_*, http2_*) implement the streams, the L7 engine the
// handlers.
//
// Order, both ways: informational heads*, head, body*, (trailers | nothing), end. `end` with the head or with the last
// body says that nothing follows. Spans and heads are valid during the call. Either side may be reset from any
// call-back; every stream ends with exactly one OnStreamClosed, after which it is gone; or with
// Reset, after which its handler is not called any more.
//
// Back-pressure, both ways: WriteRoom() is what may be sent now, 0 promises OnStreamWritable; PauseBody holds the peer
// back (HTTP/2: by the stream's window alone; HTTP/1: by the socket) and is undone by ResumeBody.
namespace weft::http {

// ---- downstream: we are the server
// ------------------------------------------------------------------------------------

class ServerStream {
 public:
  class Handler {
   public:
    virtual void OnBody(std::span<const uint8_t> bytes, bool end) = 0;
    // The end of a request with trailers; `trailers` is null when a body without a known end is over.
    virtual void OnRequestEnd(const HeaderMap* trailers) = 0;
    virtual void OnStreamWritable() = 0;
    // kNone: request and response are complete. Otherwise the client is gone, or broke a rule and was answered.
    virtual void OnStreamClosed(StreamError error) = 0;

   protected:
    ~Handler() = default;
  };

  // 100 and 103. A 100 is sent by the codec only when it is told so.
  virtual void SendInformational(const ResponseHead& head) = 0;
  virtual void SendHead(const ResponseHead& head, bool end) = 0;
  virtual void SendBody(std::span<const uint8_t> bytes, bool end) = 0;
  // Ends the response. HTTP/1 without chunks cannot: they are dropped, the message ends all the same.
  virtual void SendTrailers(const HeaderMap& trailers) = 0;
  virtual void Reset(StreamError error) = 0;
  virtual size_t WriteRoom() const = 0;
  virtual void PauseBody() = 0;
  virtual void ResumeBody() = 0;
  // Closes the connection once this response is out (HTTP/1: connection: close; HTTP/2: GOAWAY).
  virtual void CloseAfter() = 0;

 protected:
  ~ServerStream() = default;
};

// What requests on one connection have in common.
class ServerConnection {
 public:
  class Owner {
   public:
    // A request began. Returns who takes it; null: the stream was answered or reset already. `head` lives until
    // OnStreamClosed: whoever takes the request may change it.
    virtual ServerStream::Handler* OnRequest(ServerStream& stream, RequestHead& head, bool end) = 0;
    // A message that is none: the codec has answered (400, 408, 413, 417, 431, 501, 505; HTTP/2: reset or GOAWAY) or
    // will not. For the access log; `status` 0: no answer.
    virtual void OnBadRequest(uint16_t status, std::string_view detail) = 0;
    // Nothing is left and the stream below is closed. The last call.
    virtual void OnConnectionDown(StreamEnd end, std::string_view detail) = 0;

   protected:
    ~Owner() = default;
  };

  virtual ~ServerConnection() = default;
  // Takes no new requests; ends when those that are open have.
  virtual void Drain() = 0;
  virtual void Abort() = 0;
  virtual size_t open_streams() const = 0;
  virtual const StreamInfo& info() const = 0;
};

// ---- upstream: we are the client
// ---------------------------------------------------------------------------------------

class ClientStream {
 public:
  class Handler {
   public:
    virtual void OnInformational(const ResponseHead& head) = 0;
    // `head` lives until OnStreamClosed.
    virtual void OnHead(ResponseHead& head, bool end) = 0;
    virtual void OnBody(std::span<const uint8_t> bytes, bool end) = 0;
    virtual void OnResponseEnd(const HeaderMap* trailers) = 0;
    virtual void OnStreamWritable() = 0;
    virtual void OnStreamClosed(StreamError error) = 0;

   protected:
    ~Handler() = default;
  };

  virtual void SendBody(std::span<const uint8_t> bytes, bool end) = 0;
  virtual void SendTrailers(const HeaderMap& trailers) = 0;
  virtual void Reset(StreamError error) = 0;
  virtual size_t WriteRoom() const = 0;
  virtual void PauseBody() = 0;
  virtual void ResumeBody() = 0;

 protected:
  ~ClientStream() = default;
};

class ClientConnection {
 public:
  class Owner {
   public:
    // Fewer streams are open, or the peer allows more or fewer: CanOpen() may have changed.
    virtual void OnCapacityChanged(ClientConnection& connection) = 0;
    // All streams were closed before. The last call.
    virtual void OnConnectionDown(ClientConnection& connection, StreamEnd end, std::string_view detail) = 0;

   protected:
    ~Owner() = default;
  };

  virtual ~ClientConnection() = default;
  // Sends the head in this turn. Null: CanOpen() is false.
  virtual ClientStream* Open(const RequestHead& head, bool end, ClientStream::Handler& handler) = 0;
  virtual bool CanOpen() const = 0;
  // Opens nothing more; ends when those that are open have.
  virtual void Drain() = 0;
  virtual void Abort() = 0;
  virtual size_t open_streams() const = 0;
  virtual const StreamInfo& info() const = 0;
};

}  // namespace weft::http
