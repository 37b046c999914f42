#include "waypoint/sniff_connection.h"

#include <utility>

#include "l7/program.h"
#include "waypoint/client_hello.h"
#include "waypoint/l7_worker.h"
#include "waypoint/tcp_proxy.h"

namespace weft::waypoint {

void SniffConnection::Start(L7Worker& worker, std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream,
                            const SocketAddress& destination) {
  new SniffConnection(worker, std::move(port), std::move(stream), destination);  // owned by itself, see Downstream
}

SniffConnection::SniffConnection(L7Worker& worker, std::shared_ptr<Port> port, std::unique_ptr<ByteStream> stream,
                                 const SocketAddress& destination)
    : Downstream(worker, std::move(port)),
      stream_(std::move(stream)),
      destination_(destination),
      seen_(worker.context().buffers) {
  stream_->set_handler(this);
}

void SniffConnection::Drain() {
  // One that has said nothing waits for nothing that was promised; others go on to what they turn out to be.
  if (seen_.empty()) stream_->Close();
}

void SniffConnection::Abort() {
  stream_->Abort();
  worker_.context().loop.Retire(std::move(stream_));
  Leave();
}

void SniffConnection::OnBytes(std::span<const uint8_t> bytes) {
  // Nearly always the first read decides, and nothing is copied.
  if (seen_.empty()) {
    if (!Decide(bytes)) seen_.Append(bytes);
    return;
  }
  seen_.Append(bytes);
  Decide(seen_.bytes());
}

bool SniffConnection::Decide(std::span<const uint8_t> seen) {
  const l7::ChainProgram& chain = port_->chain();
  // What TLS has agreed on is not to be guessed again: a peer that says something else in it is broken (RFC 9113 3.3).
  if (chain.protocol != l7::ChainProtocol::kTls && stream_->info().alpn == "h2") {
    HandToHttp(true, seen);
    return true;
  }
  if (chain.protocol == l7::ChainProtocol::kHttp) {
    const Sniffed http = SniffHttp(seen);
    if (http == Sniffed::kMore) return false;
    HandToHttp(http == Sniffed::kHttp2, seen);
    return true;
  }
  Sniffed sniffed = Sniff(seen);
  // A chain that is TLS looks at nothing else, and TLS without a route by name is TCP like any other.
  if (chain.protocol == l7::ChainProtocol::kTls && sniffed != Sniffed::kMore && sniffed != Sniffed::kTls) {
    sniffed = Sniffed::kOther;
  }
  switch (sniffed) {
    case Sniffed::kMore:
      return false;
    case Sniffed::kHttp1:
    case Sniffed::kHttp2:
      HandToHttp(sniffed == Sniffed::kHttp2, seen);
      return true;
    case Sniffed::kOther:
      HandToTcp(nullptr, seen, false);
      return true;
    case Sniffed::kTls:
      break;
  }
  // Policies and the log want the name where no route does.
  const ClientHello hello = ParseClientHello(seen);
  if (hello.outcome == ClientHello::Outcome::kMore && seen.size() < kMaxClientHello) return false;
  HandToTcp(hello.outcome == ClientHello::Outcome::kDone ? &hello.sni : nullptr, seen, false);
  return true;
}

void SniffConnection::OnReadEnd() {
  // Said too little to be anything that we know.
  HandToTcp(nullptr, seen_.bytes(), true);
}

void SniffConnection::HandToHttp(bool http2, std::span<const uint8_t> seen) {
  worker_.StartHttp(port_, std::move(stream_), http2, seen);
  Leave();
}

void SniffConnection::HandToTcp(const std::string* sni, std::span<const uint8_t> seen, bool read_end) {
  TcpProxy::Start(worker_, port_,
                  {.stream = std::move(stream_),
                   .answer = nullptr,
                   .destination = destination_,
                   .sni = sni,
                   .first = seen,
                   .read_end = read_end});
  Leave();
}

void SniffConnection::OnStreamDown(StreamEnd, std::string_view) {
  if (!stream_) return;
  worker_.context().loop.Retire(std::move(stream_));
  Leave();
}

}  // namespace weft::waypoint
