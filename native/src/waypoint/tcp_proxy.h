#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "l7/record.h"
#include "loop/timer_wheel.h"
#include "net/byte_stream.h"
#include "security/security_filter.h"
#include "waypoint/connect_answer.h"
#include "waypoint/downstream.h"

namespace weft::l7 {
struct ChainProgram;
struct TcpRouteProgram;
}  // namespace weft::l7

namespace weft::waypoint {

// A client's connection whose protocol stays its own: bytes go to one endpoint of a cluster and back, with half-close,
// back-pressure and time limits.
class TcpProxy final : public Downstream {
 public:
  struct Begin {
    std::unique_ptr<ByteStream> stream;
    std::unique_ptr<ConnectAnswer> answer;  // null: nobody waits for one
    SocketAddress destination;              // that the client asked for
    const std::string* sni = nullptr;       // TLS that is passed through; else null
    std::span<const uint8_t> first;         // read already
    bool read_end = false;                  // the client sends no more
    bool handshake = false;                 // TLS of ours, not done yet
  };
  // Lives on its own from here on. The stream has begun.
  static void Start(L7Worker& worker, std::shared_ptr<Port> port, Begin begin);

  void Drain() override {}  // until the two ends are done, or the deadline
  void Abort() override;

 private:
  class Side final : public ByteStream::Handler {
   public:
    Side(TcpProxy& proxy, Side& other) : proxy_(proxy), other_(other) {}
    void OnStreamUp() override { proxy_.OnUp(*this); }
    void OnBytes(std::span<const uint8_t> bytes) override { proxy_.OnBytes(*this, bytes); }
    void OnReadEnd() override;
    void OnWritable() override;
    void OnStreamDown(StreamEnd end, std::string_view detail) override { proxy_.OnDown(*this, end, detail); }

    TcpProxy& proxy_;
    Side& other_;
    std::unique_ptr<ByteStream> stream;
    uint64_t received = 0;
    bool paused = false;
  };

  TcpProxy(L7Worker& worker, std::shared_ptr<Port> port, Begin& begin);
  void Connect(const std::string* sni);
  const l7::TcpRouteProgram* FindRoute(const l7::ChainProgram& chain, const std::string* sni) const;
  void Fail(std::optional<l7::Flag> flag, std::string_view details);
  void OnUp(Side& side);
  void OnConnected();
  void OnBytes(Side& side, std::span<const uint8_t> bytes);
  void OnDown(Side& side, StreamEnd end, std::string_view detail);
  void OnIdle();
  void Report();
  void Drop(Side& side);
  void Finish();

  Side down_{*this, up_};
  Side up_{*this, down_};
  StreamInfo info_;  // of the client; the record refers to it
  std::unique_ptr<ConnectAnswer> answer_;
  // Of the chain that was in force when it began.
  std::string destination_name_;
  std::shared_ptr<const telemetry::TelemetryProgram> telemetry_;
  SocketAddress destination_;
  Buffer first_;
  bool read_end_;
  bool connected_ = false;
  bool finished_ = false;
  l7::RequestRecord record_;
  std::string route_name_;
  std::string cluster_name_;
  std::string termination_;
  std::string failure_;
  security::DryRun dry_run_;
  uint64_t began_us_;
  uint64_t active_ms_ = 0;
  uint64_t idle_ms_ = 0;  // 0: never
  Timer idle_timer_;
  Timer duration_timer_;
  Timer report_timer_;
};

}  // namespace weft::waypoint
