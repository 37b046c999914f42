#include "proxy/acceptor.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace weft {
namespace {

constexpr uint64_t kOutOfDescriptorsPauseMs = 50;

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
    : worker_(worker), pod_(pod), kind_(kind), fd_(ListenerOf(*pod.shared, kind)), retry_([this] { Resume(); }) {
  Resume();
}

void Acceptor::Resume() {
  // Level-triggered: what is left in the backlog comes back in the next turn.
  if (!worker_.context().loop.Watch(fd_, EPOLLIN | EPOLLEXCLUSIVE, this)) fd_ = -1;
}

void Acceptor::Close() {
  if (fd_ < 0) return;
  const int fd = std::exchange(fd_, -1);
  if (retry_.armed()) return retry_.Disarm();
  worker_.context().loop.Unwatch(fd);
}

void Acceptor::OnIo(uint32_t) {
  for (int i = 0; i < kAcceptsPerEvent && fd_ >= 0 && !retry_.armed(); ++i) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    UniqueFd fd(accept4(fd_, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      worker_.Place(kind_, pod_, std::move(fd), SocketAddress::FromSockaddr(storage));
      continue;
    }
    if (errno != EMFILE && errno != ENFILE) return;
    // Out of descriptors: the backlog keeps what cannot be taken, and asking again at once would only burn the core.
    worker_.Count(WEFT_R_LIMIT_EXCEEDED);
    worker_.context().loop.Unwatch(fd_);
    worker_.context().loop.Arm(retry_, kOutOfDescriptorsPauseMs);
  }
}

}  // namespace weft
