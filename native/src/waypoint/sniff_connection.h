#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "net/byte_stream.h"
#include "waypoint/downstream.h"
#include "waypoint/sniff.h"

namespace weft::waypoint {

// A client whose protocol is told by its first bytes, for as long as it says nothing that decides. Hands the stream on.
// There is no time limit, as with Istio: a protocol in which the server speaks first needs a chain that is TCP.
class SniffConnection final : public Downstream, private ByteStream::Handler {
 public:
  // The stream has begun.
  static void Start(L7Worker& worker, std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream,
                    const SocketAddress& destination);

  void Drain() override;
  void Abort() override;

 private:
  SniffConnection(L7Worker& worker, std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream,
                  const SocketAddress& destination);
  void OnBytes(std::span<const uint8_t> bytes) override;
  void OnReadEnd() override;
  void OnWritable() override {}
  void OnStreamDown(StreamEnd end, std::string_view detail) override;

  // True when the stream was handed on.
  bool Decide(std::span<const uint8_t> seen);
  void HandToHttp(bool http2, std::span<const uint8_t> seen);
  void HandToTcp(const std::string* sni, std::span<const uint8_t> seen, bool read_end);

  std::unique_ptr<ByteStream> stream_;
  SocketAddress destination_;
  Buffer seen_;
};

}  // namespace weft::waypoint
