#include "test_net.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "net/socket.h"

namespace weft::test {
namespace {

void SetPatience(int fd) {
  const timeval limit{.tv_sec = kPatience.count(), .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

}  // namespace

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

SocketAddress At(const std::string& ip, uint16_t port) { return {*IpAddress::Parse(ip), port}; }

UniqueFd Listen(const SocketAddress& address) {
  sockaddr_storage storage{};
  const socklen_t length = address.ToSockaddr(&storage);
  UniqueFd fd(socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 || listen(fd.get(), 1024) != 0) fd.Reset();
  SetPatience(fd.get());
  return fd;
}

uint16_t PortOf(const UniqueFd& fd) { return LocalAddress(fd.get()).value_or(SocketAddress{}).port; }

UniqueFd Accept(const UniqueFd& listener) {
  UniqueFd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (fd) SetPatience(fd.get());
  return fd;
}

UniqueFd Connect(const SocketAddress& address, const std::function<void(const SocketAddress&)>& before) {
  sockaddr_storage storage{};
  const socklen_t length = address.ToSockaddr(&storage);
  UniqueFd fd(socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SetPatience(fd.get());
  if (before) {
    sockaddr_storage own{};
    const socklen_t own_length = SocketAddress{address.ip, 0}.ToSockaddr(&own);
    bind(fd.get(), reinterpret_cast<sockaddr*>(&own), own_length);
    before(*LocalAddress(fd.get()));
  }
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) fd.Reset();
  return fd;
}

bool SendAll(const UniqueFd& fd, const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = send(fd.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

std::string ReadN(const UniqueFd& fd, size_t n) {
  std::string bytes;
  char block[65536];
  while (bytes.size() < n) {
    const ssize_t got = recv(fd.get(), block, std::min(sizeof block, n - bytes.size()), 0);
    if (got <= 0) break;
    bytes.append(block, static_cast<size_t>(got));
  }
  return bytes;
}

std::string ReadToEnd(const UniqueFd& fd) { return ReadN(fd, SIZE_MAX); }

ssize_t ReadOnce(const UniqueFd& fd) {
  char block[4096];
  const ssize_t n = recv(fd.get(), block, sizeof block, 0);
  return n < 0 ? -errno : n;
}

}  // namespace weft::test
