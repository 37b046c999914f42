#include "bpf/express_checks.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <string>
#include <thread>
#include <vector>

#include "bpf/express_sockets.h"

namespace weft {
namespace {

// More than any buffer of TCP's takes, and than express connections may keep for a reader that has stopped.
constexpr uint64_t kEndlessBytes = 48 << 20;
constexpr uint64_t kSomeBytes = 100'000;
constexpr uint64_t kFewBytes = 4'000;

// Before the sender's TCP asks again, which would be an event too.
constexpr std::chrono::milliseconds kSoon(150);

Error Broken(std::string what) { return Error{EPROTO, std::move(what)}; }

uint64_t SentDirectly(const ExpressTrial& trial, const SocketPair& pair) {
  const auto known = trial.Pair(SocketCookie(pair.initiator.get()));
  return known ? known->end[WEFT_EXPRESS_INITIATOR].bytes : 0;
}

Status SendAll(int fd, uint64_t from, uint64_t n_bytes) {
  const Result<uint64_t> sent = SendStream(fd, from, n_bytes);
  if (!sent) return sent.error();
  return *sent == n_bytes ? Status(Ok{}) : Error{EAGAIN, "send"};
}

Status ResetOnClose(UniqueFd& fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  if (setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now)) != 0) return Error{errno, "SO_LINGER"};
  fd = UniqueFd();
  return Ok{};
}

Status BytesGoDirectly(const ExpressTrial& trial) {
  const Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const int initiator = pair->initiator.get(), acceptor = pair->acceptor.get();
  if (const Status sent = SendAll(initiator, 0, kSomeBytes); !sent) return sent;
  if (const Status got = ExpectStream(acceptor, 0, kSomeBytes); !got) return got;
  if (const Status sent = SendAll(acceptor, 7, kSomeBytes); !sent) return sent;
  if (const Status got = ExpectStream(initiator, 7, kSomeBytes); !got) return got;
  const auto known = trial.Pair(SocketCookie(initiator));
  if (!known) return Broken("the connection is not express");
  for (const weft_express_end& end : known->end) {
    if (end.bytes != kSomeBytes) return Broken(std::to_string(end.bytes) + " bytes went directly");
  }
  return Ok{};
}

Status StoppedReaderStopsSender(const ExpressTrial& trial) {
  const Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const Result<uint64_t> sent = SendStream(pair->initiator.get(), 0, kEndlessBytes);
  if (!sent) return sent.error();
  const uint64_t direct = SentDirectly(trial, *pair);
  if (direct > 2 * WEFT_EXPRESS_BACKLOG) return Broken(std::to_string(direct) + " bytes wait in the receiver");
  if (*sent == kEndlessBytes) return Broken("the sender is never told to wait");
  return Ok{};
}

// Fills the receiver until TCP has the rest, and has it read all of it.
Result<uint64_t> OverflowAndDrain(const SocketPair& pair) {
  const Result<uint64_t> sent = SendStream(pair.initiator.get(), 0, kEndlessBytes);
  if (!sent) return sent;
  if (const Status got = ExpectStream(pair.acceptor.get(), 0, *sent); !got) return got.error();
  return sent;
}

Status ComesBackWhenDrained(const ExpressTrial& trial) {
  const Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const Result<uint64_t> sent = OverflowAndDrain(*pair);
  if (!sent) return sent.error();
  const uint64_t before = SentDirectly(trial, *pair);
  if (before == *sent) return Broken("nothing went by TCP");
  // The kernel does not ask again about the message after one that had to wait.
  for (uint64_t from = *sent; from < *sent + 2; ++from) {
    if (const Status more = SendAll(pair->initiator.get(), from, 1); !more) return more;
    if (const Status got = ExpectStream(pair->acceptor.get(), from, 1); !got) return got;
  }
  return SentDirectly(trial, *pair) == before ? Status(Broken("it stays with TCP")) : Ok{};
}

Status KeepsOrder(const ExpressTrial& trial) {
  const Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const int sender = pair->initiator.get(), receiver = pair->acceptor.get();
  const Result<uint64_t> sent = SendStream(sender, 0, kEndlessBytes);
  if (!sent) return sent.error();
  // A little of TCP's is left, so that there would be room for direct bytes.
  const uint64_t read = *sent - kSomeBytes;
  if (SentDirectly(trial, *pair) > read) return Broken("nothing went by TCP");
  if (const Status got = ExpectStream(receiver, 0, read); !got) return got;
  if (!Ready(sender, POLLOUT, kPatience)) return Broken("the sender is not told to go on");
  uint64_t end = *sent;
  for (int messages = 0; messages < 3; ++messages, ++end) {
    if (const Status more = SendAll(sender, end, 1); !more) return more;
  }
  return ExpectStream(receiver, read, end - read);
}

// In two pieces, the second a moment after the first.
Status BlockingReadIsWhole(const ExpressTrial&) {
  const Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const int receiver = pair->acceptor.get();
  if (const Status set = SetBlocking(receiver, true); !set) return set;
  ssize_t n = 0;
  std::vector<uint8_t> buffer(2 * kSomeBytes);
  if (const Status sent = SendAll(pair->initiator.get(), 0, kSomeBytes); !sent) return sent;
  std::thread reader([&] { n = recv(receiver, buffer.data(), buffer.size(), MSG_WAITALL); });
  poll(nullptr, 0, static_cast<int>(kMoment.count()));
  const Status sent = SendAll(pair->initiator.get(), kSomeBytes, kSomeBytes);
  if (!sent) shutdown(pair->initiator.get(), SHUT_WR);
  reader.join();
  if (!sent) return sent;
  return n == static_cast<ssize_t>(buffer.size()) ? Status(Ok{}) : Broken("MSG_WAITALL gives " + std::to_string(n));
}

// Until somebody has accepted the connection, nobody knows how it will be read.
Status UnacceptedIsTcp(const ExpressTrial& trial) {
  const Result<UniqueFd> listener = Listen(0);
  if (!listener) return listener.error();
  SocketPair pair;
  Result<UniqueFd> initiator = ConnectTo(listener->get(), 0);
  if (!initiator) return initiator.error();
  pair.initiator = std::move(*initiator);
  if (const Status sent = SendAll(pair.initiator.get(), 0, kSomeBytes); !sent) return sent;
  if (SentDirectly(trial, pair) != 0) return Broken("bytes went to a socket that nobody has accepted");
  pair.acceptor = UniqueFd(accept4(listener->get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  return ExpectStream(pair.acceptor.get(), 0, kSomeBytes);
}

Status LowWaterMarkHolds(const ExpressTrial&) {
  const Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const int mark = 1000, receiver = pair->acceptor.get();
  if (setsockopt(receiver, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)) != 0) return Error{errno, "SO_RCVLOWAT"};
  if (const Status sent = SendAll(pair->initiator.get(), 0, mark - 1); !sent) return sent;
  if (Ready(receiver, POLLIN, kMoment)) return Broken("the reader is told of less than it asked for");
  if (const Status sent = SendAll(pair->initiator.get(), mark - 1, 1); !sent) return sent;
  return ExpectStream(receiver, 0, mark);
}

Status NoSendAfterShutdown(const ExpressTrial&) {
  const Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  if (const Status sent = SendAll(pair->initiator.get(), 0, kSomeBytes); !sent) return sent;
  if (shutdown(pair->initiator.get(), SHUT_WR) != 0) return Error{errno, "shutdown"};
  const Result<uint64_t> sent = SendStream(pair->initiator.get(), kSomeBytes, 1);
  if (sent || sent.error().code != EPIPE) return Broken("a socket that has shut down may still send");
  if (const Status got = ExpectStream(pair->acceptor.get(), 0, kSomeBytes); !got) return got;
  // The end did not overtake what went before it.
  return ExpectEnd(pair->acceptor.get());
}

Status ClosedPeerAnswersAsTcp(const ExpressTrial&) {
  Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const int sender = pair->initiator.get();
  if (const Status sent = SendAll(sender, 0, kSomeBytes); !sent) return sent;
  if (const Status got = ExpectStream(pair->acceptor.get(), 0, kSomeBytes); !got) return got;
  pair->acceptor = UniqueFd();
  if (const Status sent = SendAll(sender, kSomeBytes, 1); !sent) return sent;
  if (!Ready(sender, POLLERR | POLLHUP, kPatience)) return Broken("no reset comes back");
  const Result<uint64_t> sent = SendStream(sender, kSomeBytes + 1, 1);
  if (sent || (sent.error().code != EPIPE && sent.error().code != ECONNRESET)) {
    return Broken("a send to a closed peer is not answered as TCP does");
  }
  return Ok{};
}

Status ResetComesAfterBytes(const ExpressTrial&) {
  Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const int receiver = pair->acceptor.get();
  if (const Status sent = SendAll(pair->initiator.get(), 0, kSomeBytes); !sent) return sent;
  if (const Status reset = ResetOnClose(pair->initiator); !reset) return reset;
  if (!Ready(receiver, POLLERR, kPatience)) return Broken("no reset comes");
  if (const Status got = ExpectStream(receiver, 0, kSomeBytes); !got) return got;
  uint8_t byte = 0;
  if (recv(receiver, &byte, 1, MSG_DONTWAIT) >= 0 || errno != ECONNRESET) return Broken("the reset does not show");
  return Ok{};
}

// A connection over an MPTCP listener, as Go's are by default, by a client with or without MPTCP.
Status MptcpIsTcp(const ExpressTrial& trial, int client_protocol) {
  const Result<UniqueFd> listener = Listen(IPPROTO_MPTCP);
  // A kernel or a namespace without MPTCP.
  if (!listener) return Ok{};
  SocketPair pair;
  Result<UniqueFd> initiator = ConnectTo(listener->get(), client_protocol);
  if (!initiator) return initiator.error();
  pair.initiator = std::move(*initiator);
  pair.acceptor = UniqueFd(accept4(listener->get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!pair.acceptor) return Error{errno, "accept"};
  if (trial.Holds(SocketCookie(pair.acceptor.get()))) return Broken("a socket of an MPTCP listener was taken");
  if (const Status sent = SendAll(pair.initiator.get(), 0, kSomeBytes); !sent) return sent;
  return ExpectStream(pair.acceptor.get(), 0, kSomeBytes);
}

Status MptcpStaysAway(const ExpressTrial& trial) {
  if (const Status plain = MptcpIsTcp(trial, 0); !plain) return plain;
  return MptcpIsTcp(trial, IPPROTO_MPTCP);
}

// A read that waits ends with what ends it, not with EAGAIN.
Status BlockingReaderLeaves(const ExpressTrial&) {
  Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const int receiver = pair->acceptor.get();
  if (const Status set = SetBlocking(receiver, true); !set) return set;
  if (const Status sent = SendAll(pair->initiator.get(), 0, kSomeBytes); !sent) return sent;
  if (const Status got = ExpectStream(receiver, 0, kSomeBytes); !got) return got;
  int error = 0;
  std::thread reader([&] {
    uint8_t byte = 0;
    error = recv(receiver, &byte, 1, 0) < 0 ? errno : 0;
  });
  poll(nullptr, 0, static_cast<int>(kMoment.count()));
  const Status reset = ResetOnClose(pair->initiator);
  if (!reset) shutdown(receiver, SHUT_RD);
  reader.join();
  if (!reset) return reset;
  return error == ECONNRESET ? Status(Ok{}) : Broken("a blocking read ends with errno " + std::to_string(error));
}

Status WaitingBytesAreCounted(const ExpressTrial&) {
  const Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  if (const Status sent = SendAll(pair->initiator.get(), 0, kSomeBytes); !sent) return sent;
  int waiting = 0;
  if (ioctl(pair->acceptor.get(), FIONREAD, &waiting) != 0) return Error{errno, "FIONREAD"};
  if (waiting != static_cast<int>(kSomeBytes)) return Broken("FIONREAD says " + std::to_string(waiting));
  return ExpectStream(pair->acceptor.get(), 0, kSomeBytes);
}

Status EveryMessageIsAnEvent(const ExpressTrial&) {
  const Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const UniqueFd queue(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
  if (epoll_ctl(queue.get(), EPOLL_CTL_ADD, pair->acceptor.get(), &event) != 0) return Error{errno, "epoll_ctl"};
  for (uint64_t from = 0; from < 8; ++from) {
    if (const Status sent = SendAll(pair->initiator.get(), from, 1); !sent) return sent;
    if (epoll_wait(queue.get(), &event, 1, static_cast<int>(kPatience.count())) != 1) return Broken("no event comes");
  }
  return ExpectStream(pair->acceptor.get(), 0, 8);
}

// As nginx does: a read that comes short means that there is nothing more, until the next event.
Status ShortReadsFindTheRest(const ExpressTrial& trial) {
  const Result<SocketPair> pair = SocketPair::Open();
  if (!pair) return pair.error();
  const UniqueFd queue(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
  if (epoll_ctl(queue.get(), EPOLL_CTL_ADD, pair->acceptor.get(), &event) != 0) return Error{errno, "epoll_ctl"};
  // Direct bytes, then a few of TCP's, and no more that would come later.
  uint64_t sent = 0;
  while (SentDirectly(trial, *pair) == sent) {
    if (sent > kEndlessBytes) return Broken("nothing goes by TCP");
    if (const Status more = SendAll(pair->initiator.get(), sent, kFewBytes); !more) return more;
    sent += kFewBytes;
  }
  std::vector<uint8_t> buffer(50'000);
  for (uint64_t got = 0; got < sent;) {
    if (epoll_wait(queue.get(), &event, 1, static_cast<int>(kSoon.count())) != 1) return Broken("no event comes");
    for (size_t n = buffer.size(); n == buffer.size();) {
      const ssize_t read = recv(pair->acceptor.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (read < 0 && errno != EAGAIN) return Error{errno, "recv"};
      n = read < 0 ? 0 : static_cast<size_t>(read);
      got += n;
    }
  }
  return Ok{};
}

constexpr std::array kChecks = {
    ExpressCheck{"bytes do not go directly on this kernel", 0, &BytesGoDirectly},
    ExpressCheck{"a reader that has stopped does not stop its sender", WEFT_GUARD_BACKLOG, &StoppedReaderStopsSender},
    ExpressCheck{"a connection that has lagged behind stays slow", WEFT_GUARD_RETURN, &ComesBackWhenDrained},
    ExpressCheck{"bytes change their order", WEFT_GUARD_DRAINED, &KeepsOrder},
    ExpressCheck{"blocking reads come short", WEFT_GUARD_NONBLOCK, &BlockingReadIsWhole},
    ExpressCheck{"bytes go to connections that are not accepted", WEFT_GUARD_NONBLOCK, &UnacceptedIsTcp},
    ExpressCheck{"SO_RCVLOWAT does not hold", WEFT_GUARD_LOWAT, &LowWaterMarkHolds},
    ExpressCheck{"sockets send after their end", WEFT_GUARD_SENDING, &NoSendAfterShutdown},
    ExpressCheck{"closed peers are not answered for by TCP", WEFT_GUARD_PASS, &ClosedPeerAnswersAsTcp},
    ExpressCheck{"MPTCP sockets do not stay away", WEFT_GUARD_KERNEL_SOCKET, &MptcpStaysAway},
    ExpressCheck{"blocking reads end with EAGAIN", WEFT_GUARD_LEAVE, &BlockingReaderLeaves},
    ExpressCheck{"a reset takes away bytes that came before it", 0, &ResetComesAfterBytes},
    ExpressCheck{"FIONREAD does not count what waits", 0, &WaitingBytesAreCounted},
    ExpressCheck{"edge-triggered readers miss messages", 0, &EveryMessageIsAnEvent},
    ExpressCheck{"readers that read short miss the rest", WEFT_GUARD_WAKE, &ShortReadsFindTheRest},
};

}  // namespace

std::span<const ExpressCheck> ExpressChecks() { return kChecks; }

}  // namespace weft
