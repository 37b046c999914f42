#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace weft {

// The scratch connections of the self-test, over loopback of the thread's network namespace. What does not happen
// within kPatience does not happen: everything here is done by the kernel at once.
constexpr std::chrono::milliseconds kPatience(1000);
// For what must not happen.
constexpr std::chrono::milliseconds kMoment(15);

struct SocketPair {
  // Connected, and accepted. Both non-blocking.
  static Result<SocketPair> Open();

  UniqueFd initiator;
  UniqueFd acceptor;
};

// A listener on a free port of 127.0.0.1. `protocol`: 0 or IPPROTO_MPTCP.
Result<UniqueFd> Listen(int protocol);
// Connects to the listener; blocking.
Result<UniqueFd> ConnectTo(int listener, int protocol);

Status SetBlocking(int fd, bool blocking);
uint64_t SocketCookie(int fd);
// Until then, or not: poll() for `events`.
bool Ready(int fd, short events, std::chrono::milliseconds patience);
// Waits for something to come true.
bool Eventually(const std::function<bool()>& condition);

// Byte `index` of the stream that Send and Expect agree on.
uint8_t StreamByte(uint64_t index);
// Sends the bytes from `from` on; how many were taken before the socket would block. Errors are errno.
Result<uint64_t> SendStream(int fd, uint64_t from, uint64_t n_bytes);
// Reads exactly these bytes of the stream, waiting for each; the error says what is wrong.
Status ExpectStream(int fd, uint64_t from, uint64_t n_bytes);
// Waits for the end of the stream.
Status ExpectEnd(int fd);

}  // namespace weft
