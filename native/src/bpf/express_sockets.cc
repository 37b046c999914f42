#include "bpf/express_sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

namespace weft {
namespace {

constexpr size_t kChunkBytes = 64 * 1024;

sockaddr_in Loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

Result<UniqueFd> Listen(int protocol) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol));
  if (!fd) return Error{errno, "socket"};
  const sockaddr_in address = Loopback();
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return Error{errno, "bind"};
  if (listen(fd.get(), 8) != 0) return Error{errno, "listen"};
  return fd;
}

Result<UniqueFd> ConnectTo(int listener, int protocol) {
  sockaddr_in address{};
  socklen_t length = sizeof(address);
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) return Error{errno, "getsockname"};
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol));
  if (!fd) return Error{errno, "socket"};
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) return Error{errno, "connect"};
  return fd;
}

Result<SocketPair> SocketPair::Open() {
  const Result<UniqueFd> listener = Listen(0);
  if (!listener) return listener.error();
  SocketPair pair;
  Result<UniqueFd> initiator = ConnectTo(listener->get(), 0);
  if (!initiator) return initiator.error();
  pair.initiator = std::move(*initiator);
  pair.acceptor = UniqueFd(accept4(listener->get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!pair.acceptor) return Error{errno, "accept"};
  if (const Status set = SetBlocking(pair.initiator.get(), false); !set) return set.error();
  return pair;
}

Status SetBlocking(int fd, bool blocking) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) != 0) {
    return Error{errno, "fcntl"};
  }
  return Ok{};
}

uint64_t SocketCookie(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length);
  return cookie;
}

bool Ready(int fd, short events, std::chrono::milliseconds patience) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  return poll(&entry, 1, static_cast<int>(patience.count())) == 1 && (entry.revents & events) != 0;
}

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    poll(nullptr, 0, 1);
  }
  return true;
}

uint8_t StreamByte(uint64_t index) {
  // Neighbours and pages differ.
  return static_cast<uint8_t>((index * 0x9e3779b97f4a7c15ULL) >> 56);
}

Result<uint64_t> SendStream(int fd, uint64_t from, uint64_t n_bytes) {
  std::vector<uint8_t> chunk(std::min<uint64_t>(n_bytes, kChunkBytes));
  uint64_t sent = 0;
  while (sent < n_bytes) {
    const size_t wanted = std::min<uint64_t>(n_bytes - sent, chunk.size());
    for (size_t i = 0; i < wanted; ++i) chunk[i] = StreamByte(from + sent + i);
    const ssize_t n = send(fd, chunk.data(), wanted, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return Error{errno, "send"};
    sent += static_cast<uint64_t>(n);
  }
  return sent;
}

Status ExpectStream(int fd, uint64_t from, uint64_t n_bytes) {
  std::vector<uint8_t> chunk(std::min<uint64_t>(n_bytes, kChunkBytes));
  for (uint64_t got = 0; got < n_bytes;) {
    if (!Ready(fd, POLLIN, kPatience)) return Error{ETIMEDOUT, "bytes are missing"};
    const ssize_t n = recv(fd, chunk.data(), std::min<uint64_t>(n_bytes - got, chunk.size()), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) continue;
    if (n < 0) return Error{errno, "recv"};
    if (n == 0) return Error{EPIPE, "the stream ends early"};
    for (ssize_t i = 0; i < n; ++i) {
      if (chunk[static_cast<size_t>(i)] != StreamByte(from + got + static_cast<uint64_t>(i))) {
        return Error{EILSEQ, "bytes are out of order"};
      }
    }
    got += static_cast<uint64_t>(n);
  }
  return Ok{};
}

Status ExpectEnd(int fd) {
  uint8_t byte = 0;
  if (!Ready(fd, POLLIN, kPatience)) return Error{ETIMEDOUT, "the end of the stream does not show"};
  const ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
  if (n < 0) return Error{errno, "recv"};
  return n == 0 ? Status(Ok{}) : Error{EILSEQ, "bytes follow the end of the stream"};
}

}  // namespace weft
