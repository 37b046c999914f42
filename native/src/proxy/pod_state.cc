#include "proxy/pod_state.h"

#include <algorithm>
#include <utility>

#include "proxy/inbound_hbone.h"
#include "proxy/outbound.h"
#include "proxy/pod_listener.h"
#include "proxy/worker.h"

namespace weft {

PodState::PodState(Worker& worker, std::shared_ptr<PodShared> pod)
    : shared(std::move(pod)), baggage(shared->config.baggage), pool(worker, *this), pending(worker.pending()) {}

PodState::~PodState() = default;

bool PodState::IsOwnAddress(const IpAddress& ip) const {
  return std::find(config().addresses.begin(), config().addresses.end(), ip) != config().addresses.end();
}

void PodState::OnIdentityChanged(const std::shared_ptr<const IdentityContext>& context) {
  pool.OnIdentityChanged(*context);
  tunnels.ForEach([&](InboundTunnel& tunnel) { tunnel.OnIdentityChanged(context); });
}

void PodState::OnIdentityRemoved() {
  pool.Abort(WEFT_R_IDENTITY_ERROR, "identity removed");
  tunnels.ForEach([](InboundTunnel& tunnel) { tunnel.Abort(WEFT_R_IDENTITY_ERROR, "identity removed"); });
}

void PodState::Drain() {
  pool.Drain();
  tunnels.ForEach([](InboundTunnel& tunnel) { tunnel.Drain(); });
}

void PodState::EndAll(weft_reason reason, const std::string& detail) {
  // Taking one down takes others with it (streams with their tunnel), so begin again at the front each time.
  while (Connection* connection = connections.front()) connection->Terminate(reason, detail);
  pool.Abort(reason, detail);
  while (InboundTunnel* tunnel = tunnels.front()) tunnel->Abort(reason, detail);
}

}  // namespace weft
