// CONNECT authorities and trace headers as a peer sends them. An authority that is accepted names this pod, by one of
// its addresses or by a host that the pod answers for, and a port that is no port of ours.
#include <memory>

#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "proxy/connect_target.h"
#include "proxy/limits.h"
#include "proxy/pod_state.h"
#include "proxy/worker.h"

namespace {

class NoEvents final : public weft::EventSink {
 public:
  void OnEvents(std::vector<weft::Event>) override {}
};

// One pod, 10.0.0.2 and fd00::2, that also answers for echo.default:80.
const weft::PodState& Pod() {
  static NoEvents sink;
  static const weft::EngineLimits limits;
  static weft::Worker worker(limits, nullptr, sink, 0, 1);
  static const std::unique_ptr<weft::PodState> pod = [] {
    auto shared = std::make_shared<weft::PodShared>();
    shared->config.addresses = {*weft::IpAddress::Parse("10.0.0.2"), *weft::IpAddress::Parse("fd00::2")};
    auto made = std::make_unique<weft::PodState>(worker, std::move(shared));
    made->hosts = {{"echo.default:80", 8080}, {"own.default:80", weft::kInboundHbonePort}};
    return made;
  }();
  return *pod;
}

}  // namespace

WEFT_FUZZ_TARGET("authority") {
  const std::string_view text = weft::fuzz::AsText(input);
  (void)weft::TraceIdOf(text);
  const auto target = weft::ResolveAuthority(text, Pod(), *weft::IpAddress::Parse("10.0.0.2"));
  if (target.outcome != weft::ConnectTarget::Outcome::kOk) return;
  FUZZ_CHECK(target.port != 0 && !weft::IsReservedPort(target.port));
  if (text == "echo.default:80") return;
  const auto address = weft::SocketAddress::Parse(text);
  FUZZ_CHECK(address && Pod().IsOwnAddress(address->ip) && address->port == target.port);
}
