#include "proxy/acceptor.h"

#include <sys/socket.h>

#include <utility>

namespace weft {
namespace {

int ListenerOf(const PodShared& pod, ListenerKind kind) {
  switch (kind) {
    case ListenerKind::kOutbound:
      return pod.outbound.get();
    case ListenerKind::kInboundPlaintext:
      return pod.inbound_plaintext.get();
    default:
      return pod.inbound_hbone.get();
  }
}

}  // namespace

Acceptor::Acceptor(Worker& worker, PodState& pod, ListenerKind kind)
    : worker_(worker), pod_(pod), kind_(kind), fd_(ListenerOf(*pod.shared, kind)) {
  // Level-triggered: what is left in the backlog comes back in the next turn.
  if (!worker_.context().loop.Watch(fd_, EPOLLIN | EPOLLEXCLUSIVE, this)) fd_ = -1;
}

void Acceptor::Close() {
  if (fd_ >= 0) worker_.context().loop.Unwatch(std::exchange(fd_, -1));
}

void Acceptor::OnIo(uint32_t) {
  for (int i = 0; i < kAcceptsPerEvent && fd_ >= 0; ++i) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    UniqueFd fd(accept4(fd_, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      // Out of descriptors: the backlog keeps what cannot be taken now.
      if (errno == EMFILE || errno == ENFILE) worker_.Count(WEFT_R_LIMIT_EXCEEDED);
      return;
    }
    worker_.Place(kind_, pod_, std::move(fd), SocketAddress::FromSockaddr(storage));
  }
}

}  // namespace weft
