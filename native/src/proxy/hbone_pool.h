#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/intrusive_list.h"
#include "hbone/h2_connection.h"
#include "loop/timer_wheel.h"
#include "proxy/config.h"
#include "weft_reasons.h"

namespace weft {

class Worker;
struct PodState;

// The HBONE connections of one pod on one loop. Key: peer address and expected identities (source identity and address
// are the pod's). The first caller dials, others wait; a connection is offered while it has room for a stream.
class HbonePool {
 public:
  class Waiter {
   public:
    Waiter() : pool_link_(this) {}
    // Called once, possibly before Acquire returns. The tunnel has room for one stream at the time of the call.
    virtual void OnTunnel(H2Connection& tunnel) = 0;
    virtual void OnTunnelFailed(weft_reason reason, const std::string& detail) = 0;

   protected:
    ~Waiter() = default;

   private:
    friend class HbonePool;
    ListLink<Waiter> pool_link_;
  };

  HbonePool(Worker& worker, PodState& pod);
  ~HbonePool();

  // Gives `waiter` a tunnel to `endpoint`. Destroying the waiter cancels.
  void Acquire(const RouteEndpoint& endpoint, Waiter& waiter);
  // The pod's certificate is there or has changed: dial what waits, end tunnels to peers that its roots do not cover
  // any more, and let the others end with their streams.
  void OnIdentityChanged(const IdentityContext& context);
  // No more new streams; tunnels close when idle.
  void Drain();
  // Ends everything now.
  void Abort(weft_reason reason, const std::string& detail);
  size_t size() const;

 private:
  class Tunnel;
  struct Group;

  void Dispatch(Group& group);
  void DialMissing(Group& group);
  void FailWaiters(Group& group, weft_reason reason, const std::string& detail);
  void OnTunnelDown(Tunnel& tunnel);
  uint32_t StreamLimit(H2Connection& connection) const;

  Worker& worker_;
  PodState& pod_;
  std::unordered_map<std::string, std::unique_ptr<Group>> groups_;
};

}  // namespace weft
