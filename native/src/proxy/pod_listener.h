#pragma once

#include <utility>

#include "net/acceptor.h"
#include "proxy/worker.h"

namespace weft {

// One loop's watch on one of a pod's listeners.
class PodListener final : private Acceptor::Owner {
 public:
  PodListener(Worker& worker, PodState& pod, ListenerKind kind)
      : worker_(worker), pod_(pod), kind_(kind), acceptor_(worker.context().loop, FdOf(*pod.shared, kind), *this) {}
  void Close() { acceptor_.Close(); }

 private:
  static int FdOf(const PodShared& pod, ListenerKind kind) {
    switch (kind) {
      case ListenerKind::kOutbound:
        return pod.outbound.get();
      case ListenerKind::kInboundPlaintext:
        return pod.inbound_plaintext.get();
      default:
        return pod.inbound_hbone.get();
    }
  }
  void OnAccepted(UniqueFd fd, const SocketAddress& peer) override { worker_.Place(kind_, pod_, std::move(fd), peer); }
  void OnOutOfDescriptors() override { worker_.Count(WEFT_R_LIMIT_EXCEEDED); }

  Worker& worker_;
  PodState& pod_;
  ListenerKind kind_;
  Acceptor acceptor_;
};

}  // namespace weft
