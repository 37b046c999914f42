// One end of a connection that sends a stream of its own and checks the other's, each in one of the ways in which
// programs use sockets. Ends with status 0 and `ok SENT RECEIVED SECONDS`, or says what was wrong.
//
// peer listen|connect ADDRESS PORT [KEY=VALUE...]
//   bytes=N expect=N   to send, to receive; expect=any: to the end, or to a reset
//   seed=N             of sizes and pauses; out=N in=N: of the streams
//   send=write|writev|sendmsg|sendfile|uring   recv=read|readv|recvmsg|peek|uring
//   wait=level|edge|short|block   short: edge-triggered, takes a read that is not full for the end of what there is
//   pauses=N           of a thousand operations are followed by a pause of up to 5 ms
//   slice=N            largest operation; random sizes below, or all of this size with fixed=1
//   reset=1            end with a reset once everything is sent
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "stream.h"
#include "uring.h"

namespace {

// Longer than anything takes that does not hang.
constexpr int kPatienceMs = 20'000;

[[noreturn]] void Fail(const std::string& what) {
  std::printf("failed: %s\n", what.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}
[[noreturn]] void FailErrno(const std::string& what) { Fail(what + ": " + std::strerror(errno)); }

class Options {
 public:
  Options(int argc, char** argv) {
    for (int i = 4; i < argc; ++i) {
      const std::string word = argv[i];
      const size_t equals = word.find('=');
      if (equals == std::string::npos) Fail("not KEY=VALUE: " + word);
      values_[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  std::string Text(const char* key, const char* otherwise) const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : found->second;
  }
  uint64_t Number(const char* key, uint64_t otherwise) const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : std::stoull(found->second);
  }

 private:
  std::map<std::string, std::string> values_;
};

class Sizes {
 public:
  explicit Sizes(const Options& options, uint64_t salt)
      : random_(options.Number("seed", 1) * 2654435761 + salt),
        largest_(std::min<uint64_t>(options.Number("slice", Stream::kMaxSlice), Stream::kMaxSlice)),
        fixed_(options.Number("fixed", 0) != 0),
        pauses_(options.Number("pauses", 0)) {}

  size_t Next() {
    if (fixed_) return largest_;
    constexpr std::array<uint64_t, 9> kUsual = {1, 7, 100, 1448, 4096, 16384, 65536, 300'000, 1'000'000};
    return std::min<uint64_t>(largest_, 1 + random_.Below(kUsual[random_.Below(kUsual.size())]));
  }
  void MayPause() {
    if (pauses_ == 0 || random_.Below(1000) >= pauses_) return;
    poll(nullptr, 0, static_cast<int>(random_.Below(6)));
  }
  size_t Cut(size_t n) { return n < 2 ? n : 1 + random_.Below(n - 1); }

 private:
  Random random_;
  uint64_t largest_;
  bool fixed_;
  uint64_t pauses_;
};

class Sender {
 public:
  Sender(int fd, const Options& options)
      : fd_(fd), how_(options.Text("send", "write")), stream_(options.Number("out", 1)), sizes_(options, 1),
        left_(options.Number("bytes", 0)), reset_(options.Number("reset", 0) != 0) {
    if (how_ == "sendfile") MakeFile();
    if (how_ == "uring") uring_ = std::make_unique<Uring>();
  }

  bool done() const { return ended_; }
  uint64_t sent() const { return sent_; }
  bool reset() const { return reset_; }

  // One operation. False: it would block.
  bool Step() {
    if (left_ == 0) {
      ended_ = true;
      if (!reset_ && shutdown(fd_, SHUT_WR) != 0 && errno != ENOTCONN) FailErrno("shutdown");
      return true;
    }
    const size_t wanted = std::min<uint64_t>(left_, sizes_.Next());
    const ssize_t n = Send(stream_.At(sent_), wanted);
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
      ended_ = true;
      return true;
    }
    if (n < 0) FailErrno("send");
    sent_ += static_cast<uint64_t>(n);
    left_ -= static_cast<uint64_t>(n);
    sizes_.MayPause();
    return true;
  }

 private:
  void MakeFile() {
    file_ = memfd_create("stream", MFD_CLOEXEC);
    if (write(file_, stream_.At(0), Stream::kMaxSlice) != static_cast<ssize_t>(Stream::kMaxSlice)) FailErrno("memfd");
  }

  ssize_t Send(const uint8_t* bytes, size_t n) {
    const size_t cut = sizes_.Cut(n);
    iovec parts[] = {{const_cast<uint8_t*>(bytes), cut}, {const_cast<uint8_t*>(bytes) + cut, n - cut}};
    if (how_ == "writev") return writev(fd_, parts, 2);
    if (how_ == "sendmsg") {
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = 2;
      return sendmsg(fd_, &message, MSG_NOSIGNAL);
    }
    if (how_ == "uring") return uring_->Send(fd_, bytes, n);
    if (how_ == "sendfile") return SendFile(n);
    return send(fd_, bytes, n, MSG_NOSIGNAL);
  }

  // The file has the stream's first slice: what lies beyond is written.
  ssize_t SendFile(size_t n) {
    const uint64_t at = static_cast<uint64_t>(stream_.At(sent_) - stream_.At(0));
    if (at >= Stream::kMaxSlice) return send(fd_, stream_.At(sent_), n, MSG_NOSIGNAL);
    off_t offset = static_cast<off_t>(at);
    return sendfile(fd_, file_, &offset, std::min<uint64_t>(n, Stream::kMaxSlice - at));
  }

  int fd_;
  std::string how_;
  Stream stream_;
  Sizes sizes_;
  uint64_t left_;
  bool reset_;
  uint64_t sent_ = 0;
  bool ended_ = false;
  int file_ = -1;
  std::unique_ptr<Uring> uring_;
};

class Receiver {
 public:
  Receiver(int fd, const Options& options)
      : fd_(fd), how_(options.Text("recv", "read")), stream_(options.Number("in", 2)), sizes_(options, 2),
        buffer_(Stream::kMaxSlice) {
    if (options.Text("expect", "any") != "any") expected_ = static_cast<int64_t>(options.Number("expect", 0));
    if (how_ == "uring") uring_ = std::make_unique<Uring>();
  }

  bool done() const { return ended_; }
  uint64_t received() const { return received_; }

  // One operation. False: it would block, or `short_is_empty` and there was less than asked for.
  bool Step(bool short_is_empty) {
    const size_t wanted = sizes_.Next();
    const ssize_t n = Receive(wanted);
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0 && errno == ECONNRESET && expected_ < 0) {
      ended_ = true;
      return true;
    }
    if (n < 0) FailErrno("receive after " + std::to_string(received_) + " bytes");
    if (n == 0) {
      if (expected_ >= 0 && received_ != static_cast<uint64_t>(expected_)) {
        Fail("the stream ended after " + std::to_string(received_) + " bytes of " + std::to_string(expected_));
      }
      ended_ = true;
      return true;
    }
    if (!stream_.Matches(received_, buffer_.data(), static_cast<size_t>(n))) {
      Fail("wrong bytes between " + std::to_string(received_) + " and " +
           std::to_string(received_ + static_cast<uint64_t>(n)));
    }
    received_ += static_cast<uint64_t>(n);
    sizes_.MayPause();
    return !short_is_empty || static_cast<size_t>(n) == wanted;
  }

 private:
  ssize_t Receive(size_t n) {
    const size_t cut = sizes_.Cut(n);
    iovec parts[] = {{buffer_.data(), cut}, {buffer_.data() + cut, n - cut}};
    if (how_ == "readv") return readv(fd_, parts, 2);
    if (how_ == "recvmsg") {
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = 2;
      return recvmsg(fd_, &message, 0);
    }
    if (how_ == "uring") return uring_->Receive(fd_, buffer_.data(), n);
    if (how_ == "peek") {
      const ssize_t seen = recv(fd_, buffer_.data(), n, MSG_PEEK);
      if (seen <= 0) return seen;
      if (!stream_.Matches(received_, buffer_.data(), static_cast<size_t>(seen))) Fail("a peek shows other bytes");
      return recv(fd_, buffer_.data(), static_cast<size_t>(seen), 0);
    }
    return recv(fd_, buffer_.data(), n, 0);
  }

  int fd_;
  std::string how_;
  Stream stream_;
  Sizes sizes_;
  std::vector<uint8_t> buffer_;
  int64_t expected_ = -1;
  uint64_t received_ = 0;
  bool ended_ = false;
  std::unique_ptr<Uring> uring_;
};

void SetNonblocking(int fd) {
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) FailErrno("fcntl");
}

void WaitLevel(int fd, Sender& sender, Receiver& receiver) {
  while (!sender.done() || !receiver.done()) {
    pollfd entry{.fd = fd, .events = 0, .revents = 0};
    if (!sender.done()) entry.events |= POLLOUT;
    if (!receiver.done()) entry.events |= POLLIN;
    if (poll(&entry, 1, kPatienceMs) != 1) Fail("nothing happens after " + std::to_string(receiver.received()));
    if (!receiver.done() && (entry.revents & (POLLIN | POLLHUP | POLLERR))) receiver.Step(false);
    if (!sender.done() && (entry.revents & (POLLOUT | POLLHUP | POLLERR))) sender.Step();
  }
}

void WaitEdge(int fd, Sender& sender, Receiver& receiver, bool short_is_empty) {
  const int queue = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {}};
  if (epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event) != 0) FailErrno("epoll_ctl");
  bool readable = false, writable = false, ending = false;
  while (!sender.done() || !receiver.done()) {
    const bool busy = (readable && !receiver.done()) || (writable && !sender.done());
    const int n = epoll_wait(queue, &event, 1, busy ? 0 : kPatienceMs);
    if (n == 0 && !busy) Fail("no edge comes after " + std::to_string(receiver.received()) + " bytes");
    if (n == 1) {
      readable |= (event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
      writable |= (event.events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
      ending |= (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    }
    // Once the end has shown, the reader knows of it without an event.
    if (readable && !receiver.done()) readable = receiver.Step(short_is_empty && !ending);
    if (writable && !sender.done()) writable = sender.Step();
  }
  close(queue);
}

// First all that is to be sent, then what comes, as blocking programs do.
void WaitBlocking(Sender& sender, Receiver& receiver) {
  while (!sender.done()) sender.Step();
  while (!receiver.done()) {
    if (!receiver.Step(false)) Fail("a blocking read gave EAGAIN");
  }
}

void WaitRing(Sender& sender, Receiver& receiver) {
  std::thread sending([&] {
    while (!sender.done()) sender.Step();
  });
  while (!receiver.done()) receiver.Step(false);
  sending.join();
}

int Connected(const std::string& role, const char* ip, uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  const std::string text = std::strchr(ip, ':') != nullptr ? ip : std::string("::ffff:") + ip;
  if (inet_pton(AF_INET6, text.c_str(), &address.sin6_addr) != 1) Fail("not an address: " + text);
  const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (role == "connect") {
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) FailErrno("connect");
    return fd;
  }
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) FailErrno("bind");
  if (listen(fd, 16) != 0) FailErrno("listen");
  const int accepted = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
  close(fd);
  return accepted;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 64;
  const Options options(argc, argv);
  const int fd = Connected(argv[1], argv[2], static_cast<uint16_t>(std::stoi(argv[3])));
  if (fd < 0) FailErrno("accept");
  const std::string wait = options.Text("wait", "level");
  if (wait != "block") SetNonblocking(fd);
  Sender sender(fd, options);
  Receiver receiver(fd, options);
  const auto begin = std::chrono::steady_clock::now();
  if (options.Text("send", "") == "uring" || options.Text("recv", "") == "uring") {
    WaitRing(sender, receiver);
  } else if (wait == "block") {
    WaitBlocking(sender, receiver);
  } else if (wait == "level") {
    WaitLevel(fd, sender, receiver);
  } else {
    WaitEdge(fd, sender, receiver, wait == "short");
  }
  if (sender.reset()) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  close(fd);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("ok %llu %llu %.3f\n", static_cast<unsigned long long>(sender.sent()),
              static_cast<unsigned long long>(receiver.received()), took.count());
}
