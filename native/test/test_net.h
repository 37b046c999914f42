#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "base/unique_fd.h"
#include "net/ip_address.h"

namespace weft::test {

inline constexpr std::chrono::seconds kPatience{10};

// Waits until `condition` holds; false after kPatience.
bool Eventually(const std::function<bool()>& condition);

SocketAddress At(const std::string& ip, uint16_t port);

// Blocking sockets with time-outs of kPatience, so that a broken test fails instead of hanging.
UniqueFd Listen(const SocketAddress& address);
uint16_t PortOf(const UniqueFd& fd);
UniqueFd Accept(const UniqueFd& listener);
// `before` sees the bound socket's own address before connect(). Bad descriptor when the connect fails.
UniqueFd Connect(const SocketAddress& address, const std::function<void(const SocketAddress&)>& before = {});
bool SendAll(const UniqueFd& fd, const std::string& bytes);
// Reads until `n` bytes, the end or an error.
std::string ReadN(const UniqueFd& fd, size_t n);
std::string ReadToEnd(const UniqueFd& fd);
// What the next read says: 0 the end, else -errno or the bytes read.
ssize_t ReadOnce(const UniqueFd& fd);

}  // namespace weft::test
