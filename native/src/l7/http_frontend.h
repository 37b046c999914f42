#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "http/codec.h"
#include "http/stream.h"
#include "l7/downstream.h"
#include "l7/services.h"
#include "net/byte_stream.h"

namespace weft::l7 {

// One connection that speaks HTTP: every request on it becomes an exchange under the chain that is in force then.
class HttpFrontend final : private http::ServerConnection::Owner {
 public:
  enum class Version : uint8_t { kHttp1, kHttp2 };

  class Owner {
   public:
    // The last call. The owner destroys it by EpollLoop::Retire.
    virtual void OnFrontendDown(HttpFrontend& frontend, StreamEnd end, std::string_view detail) = 0;

   protected:
    ~Owner() = default;
  };

  // `first`: bytes that were read from `stream` already. `handle` outlives the frontend.
  HttpFrontend(LoopServices& services, std::unique_ptr<ByteStream> stream, const ChainHandle& handle, Version version,
               std::span<const uint8_t> first, Owner& owner);

  // Lets open requests end and takes no new ones.
  void Drain() { connection_->Drain(); }
  void Abort() { connection_->Abort(); }
  size_t open_requests() const { return connection_->open_streams(); }

 private:
  http::ServerStream::Handler* OnRequest(http::ServerStream& stream, http::RequestHead& head, bool end) override;
  void OnBadRequest(uint16_t status, std::string_view detail) override;
  void OnConnectionDown(StreamEnd end, std::string_view detail) override;

  LoopServices& services_;
  const ChainHandle& handle_;
  const Version version_;
  Owner& owner_;
  const Downstream downstream_;
  std::unique_ptr<http::ServerConnection> connection_;
};

}  // namespace weft::l7
