#include "net/acceptor.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace weft {
namespace {

constexpr uint64_t kOutOfDescriptorsPauseMs = 50;
// Connections accepted per event, so that a burst does not starve open connections.
constexpr int kAcceptsPerEvent = 32;

}  // namespace

Acceptor::Acceptor(EpollLoop& loop, int fd, Owner& owner)
    : loop_(loop), owner_(owner), fd_(fd), retry_([this] { Resume(); }) {
  Resume();
}

void Acceptor::Resume() {
  // Level-triggered: what is left in the backlog comes back in the next turn.
  if (!loop_.Watch(fd_, EPOLLIN | EPOLLEXCLUSIVE, this)) fd_ = -1;
}

void Acceptor::Close() {
  if (fd_ < 0) return;
  const int fd = std::exchange(fd_, -1);
  if (retry_.armed()) return retry_.Disarm();
  loop_.Unwatch(fd);
}

void Acceptor::OnIo(uint32_t) {
  for (int i = 0; i < kAcceptsPerEvent && fd_ >= 0 && !retry_.armed(); ++i) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    UniqueFd fd(accept4(fd_, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      owner_.OnAccepted(std::move(fd), SocketAddress::FromSockaddr(storage));
      continue;
    }
    if (errno != EMFILE && errno != ENFILE) return;
    // Out of descriptors: the backlog keeps what cannot be taken, and asking again at once would only burn the core.
    owner_.OnOutOfDescriptors();
    loop_.Unwatch(fd_);
    loop_.Arm(retry_, kOutOfDescriptorsPauseMs);
  }
}

}  // namespace weft
