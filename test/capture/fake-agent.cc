// An agent that captures and answers, without an engine: the real BpfPlane, and
// behind it sockets that tell the test what they saw. One command per line on
// stdin, one answer per line on stdout ("ok ..." or "error ...").
//
//   capture NETNS DNS(0|1) ADDRESS[,ADDRESS]   opens the pod's listeners and starts steering; ok COOKIE
//   steer NETNS DNS ADDRESS[,ADDRESS]          starts steering without any listener; ok COOKIE
//   release COOKIE | captured | counters
//   route COOKIE IP PORT [KEY,WEIGHT,IP,PORT,KIND,COOKIE ...]   what BPF may choose from; KIND: WEFT_ENDPOINT_*
//   unroute COOKIE IP PORT
//   verdict SOURCE DESTINATION PORT FAMILY(4|6) ALLOW(0|1) | expire COOKIE | open COOKIE 0|1 | permit MILLISECONDS
//   events | connections                       ok and, in hex, each weft_event of the ring, or of what is open now
//   end                                        ends what is open now; ok COUNT
//   measure 0|1                                whether the kernel takes the time of programs
//   costs                                      ok and, per attached program that has run, NAME=NANOSECONDS/RUNS
//   chosen                                     ok and the keys that came with original destinations: KEY=COUNT
//
// 15001: original destination port 7 gets "orig=A peer=B\n" and an echo ("eof\n" at its end; a reset when it reads
// "reset"); other ports are dialled from inside the pod. No original destination: reset. 15006: dials the application,
// announced as the client. 15008: "hbone\n". 15053: "dns:" and the query.

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "bpf/abi_convert.h"
#include "bpf/bpf_plane.h"
#include "bpf/bpffs.h"
#include "net/netns.h"

namespace {

using weft::SocketAddress;
using weft::Status;
using weft::UniqueFd;

constexpr uint16_t kEchoPort = 7;
constexpr int kDialTimeoutSec = 2;

SocketAddress PeerOf(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  return SocketAddress::FromSockaddr(storage);
}

SocketAddress LocalOf(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  return SocketAddress::FromSockaddr(storage);
}

void CloseWithReset(int fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close(fd);
}

void Send(int fd, const std::string& text) { send(fd, text.data(), text.size(), MSG_NOSIGNAL); }

// Copies both ways with half-close until both ends have finished or one failed;
// closes both.
void Relay(int a, int b) {
  std::array<pollfd, 2> fds = {{{a, POLLIN, 0}, {b, POLLIN, 0}}};
  for (int open = 2; open > 0;) {
    if (poll(fds.data(), fds.size(), -1) <= 0) break;
    for (size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      const int to = i == 0 ? b : a;
      std::array<char, 16384> buffer{};
      const ssize_t n = recv(fds[i].fd, buffer.data(), buffer.size(), 0);
      if (n > 0) {
        Send(to, std::string(buffer.data(), static_cast<size_t>(n)));
        continue;
      }
      if (n < 0) {
        CloseWithReset(a);
        CloseWithReset(b);
        return;
      }
      shutdown(to, SHUT_WR);
      fds[i].fd = -1;
      --open;
    }
  }
  close(a);
  close(b);
}

class FakeAgent {
 public:
  FakeAgent(std::shared_ptr<weft::BpfPlane> plane, std::string pin_dir)
      : plane_(std::move(plane)), pin_dir_(std::move(pin_dir)), epoll_(epoll_create1(0)) {}

  void Run() {
    Watch(STDIN_FILENO, [this] { return ReadCommands(); });
    std::cout << "ready" << std::endl;
    std::array<epoll_event, 64> events{};
    while (running_) {
      const int n = epoll_wait(epoll_, events.data(), events.size(), -1);
      for (int i = 0; i < n; ++i) {
        const int fd = events[static_cast<size_t>(i)].data.fd;
        // A copy: the handler may close its descriptor, and another may take
        // its number.
        const auto handler = handlers_[fd];
        if (handler && !handler()) handlers_.erase(fd);
      }
    }
  }

 private:
  // `handler` returns false when it has closed the descriptor.
  void Watch(int fd, std::function<bool()> handler) {
    handlers_[fd] = std::move(handler);
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  bool ReadCommands() {
    std::array<char, 4096> buffer{};
    const ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n <= 0) {
      running_ = false;
      return false;
    }
    input_.append(buffer.data(), static_cast<size_t>(n));
    for (size_t end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
      std::cout << Execute(input_.substr(0, end)) << std::endl;
      input_.erase(0, end + 1);
    }
    return true;
  }

  std::string Execute(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "capture" || verb == "steer") return Capture(words, verb == "capture");
    if (verb == "release") return Release(words);
    if (const std::optional<Status> done = Decide(verb, words)) {
      return *done ? "ok" : "error " + done->error().what + ": " + std::strerror(done->error().code);
    }
    std::ostringstream answer;
    answer << "ok";
    if (verb == "events") {
      ReadEvents(answer);
    } else if (verb == "connections") {
      const auto open = plane_->DirectConnections();
      if (!open) return "error " + open.error().what;
      for (const weft_event& event : *open) PrintHex(answer, &event, sizeof(event));
    } else if (verb == "end") {
      answer << ' ' << EndAll();
    } else if (verb == "measure") {
      bool on = false;
      words >> on;
      // Ends by itself when this process does.
      measuring_ = UniqueFd(on ? bpf_enable_stats(BPF_STATS_RUN_TIME) : -1);
    } else if (verb == "costs") {
      PrintCosts(answer);
    } else if (verb == "chosen") {
      for (const auto& [key, count] : chosen_) answer << ' ' << key << '=' << count;
      chosen_.clear();
    } else if (verb == "captured") {
      for (const uint64_t cookie : plane_->CapturedPods()) answer << ' ' << cookie;
    } else if (verb == "counters") {
      for (const uint64_t count : plane_->Counters()) answer << ' ' << count;
    } else {
      return "error unknown command " + verb;
    }
    return answer.str();
  }

  std::string Capture(std::istringstream& words, bool listen) {
    weft::CapturedPod pod;
    std::string addresses;
    words >> pod.netns_path >> pod.dns >> addresses;
    std::istringstream list(addresses);
    for (std::string text; std::getline(list, text, ',');) pod.addresses.push_back(*weft::IpAddress::Parse(text));
    auto netns = weft::NetNs::Open(pod.netns_path.c_str());
    if (!netns) return "error " + netns.error().what;
    auto cookie = netns->Cookie();
    if (!cookie) return "error " + cookie.error().what;
    pods_[*cookie] = std::make_shared<weft::NetNs>(std::move(*netns));
    if (listen) {
      if (const Status opened = OpenListeners(*cookie); !opened) return "error " + opened.error().what;
    }
    const auto captured = plane_->CapturePod(pod);
    if (!captured) return "error " + captured.error().what + ": " + std::strerror(captured.error().code);
    return "ok " + std::to_string(*captured);
  }

  // What BPF decides by itself. nullopt: not such a command.
  std::optional<Status> Decide(const std::string& verb, std::istringstream& words) {
    if (verb == "route" || verb == "unroute") return Route(verb == "route", words);
    if (verb != "verdict" && verb != "expire" && verb != "permit" && verb != "open") return std::nullopt;
    uint64_t pod = 0;
    words >> pod;
    if (verb == "verdict") {
      weft_verdict_key key{.src_netns = pod, .dst_netns = 0, .port = 0, .family = 0};
      bool allow = false;
      words >> key.dst_netns >> key.port >> key.family >> allow;
      key.family = key.family == 4 ? AF_INET : AF_INET6;
      return plane_->SetVerdict(key, allow);
    }
    if (verb == "expire") return plane_->ExpireVerdicts(pod);
    if (verb == "permit") return plane_->PermitPlain(std::chrono::milliseconds(pod));
    bool open = false;
    words >> open;
    return plane_->SetOpen(pod, open);
  }

  Status Route(bool set, std::istringstream& words) {
    uint64_t pod = 0;
    std::string ip;
    uint16_t port = 0;
    words >> pod >> ip >> port;
    const SocketAddress destination{*weft::IpAddress::Parse(ip), port};
    if (!set) {
      plane_->RemoveRoute(pod, destination);
      return weft::Ok{};
    }
    std::vector<weft::DirectEndpoint> endpoints;
    for (std::string word; words >> word;) {
      std::replace(word.begin(), word.end(), ',', ' ');
      std::istringstream fields(word);
      weft::DirectEndpoint endpoint;
      fields >> endpoint.key >> endpoint.weight >> ip >> endpoint.address.port >> endpoint.kind >> endpoint.netns;
      endpoint.address.ip = *weft::IpAddress::Parse(ip);
      endpoints.push_back(endpoint);
    }
    return plane_->SetRoute(pod, destination, endpoints);
  }

  static void PrintHex(std::ostringstream& out, const void* data, size_t size) {
    out << ' ' << std::hex << std::setfill('0');
    for (size_t i = 0; i < size; ++i) out << std::setw(2) << unsigned{static_cast<const uint8_t*>(data)[i]};
  }

  void ReadEvents(std::ostringstream& answer) {
    const auto print = [](void* out, void* data, size_t size) {
      PrintHex(*static_cast<std::ostringstream*>(out), data, size);
      return 0;
    };
    if (!events_) {
      events_ = UniqueFd(bpf_obj_get((pin_dir_ + "/v" + std::to_string(WEFT_ABI) + "/maps/weft_events").c_str()));
    }
    ring_buffer* ring = ring_buffer__new(events_.get(), print, &answer, nullptr);
    ring_buffer__consume(ring);
    ring_buffer__free(ring);
  }

  void PrintCosts(std::ostringstream& answer) const {
    const std::string folder = pin_dir_ + "/v" + std::to_string(WEFT_ABI) + "/links/";
    for (const std::string& name : weft::ListDir(folder)) {
      const UniqueFd link(bpf_obj_get((folder + name).c_str()));
      bpf_link_info attached{};
      uint32_t size = sizeof(attached);
      if (!link || bpf_obj_get_info_by_fd(link.get(), &attached, &size) != 0) continue;
      const UniqueFd program(bpf_prog_get_fd_by_id(attached.prog_id));
      bpf_prog_info info{};
      size = sizeof(info);
      if (!program || bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0 || info.run_cnt == 0) continue;
      answer << ' ' << name << '=' << info.run_time_ns << '/' << info.run_cnt;
    }
  }

  size_t EndAll() {
    std::vector<weft::DirectConnection> connections;
    const auto open = plane_->DirectConnections();
    if (!open) return 0;
    for (const weft_event& event : *open) {
      connections.push_back({.source_pod = event.src_netns,
                             .destination_pod = event.dst_netns,
                             .source = weft::FromAbi(event.source),
                             .destination = weft::FromAbi(event.destination)});
    }
    return plane_->EndDirect(connections);
  }

  std::string Release(std::istringstream& words) {
    uint64_t cookie = 0;
    words >> cookie;
    const Status released = plane_->ReleasePod(cookie);
    return released ? "ok" : "error " + released.error().what;
  }

  Status OpenListeners(uint64_t cookie) {
    return weft::RunInNetNs(*pods_[cookie], [&]() -> Status {
      for (const int family : {AF_INET, AF_INET6}) {
        const char* any = family == AF_INET ? "0.0.0.0" : "::";
        const char* loopback = family == AF_INET ? "127.0.0.1" : "::1";
        const int outbound = Open(family, SOCK_STREAM, any, WEFT_PORT_OUTBOUND);
        const int inbound = Open(family, SOCK_STREAM, any, WEFT_PORT_INBOUND_PLAINTEXT);
        const int hbone = Open(family, SOCK_STREAM, any, WEFT_PORT_INBOUND_HBONE);
        const int dns_tcp = Open(family, SOCK_STREAM, loopback, WEFT_PORT_DNS);
        const int dns_udp = Open(family, SOCK_DGRAM, loopback, WEFT_PORT_DNS);
        if (outbound < 0 || inbound < 0 || hbone < 0 || dns_tcp < 0 || dns_udp < 0) {
          return weft::Error{errno, "open listeners"};
        }
        Accept(outbound, [=, this](int fd) { OnOutbound(cookie, fd); });
        Accept(inbound, [=, this](int fd) { OnInbound(cookie, fd); });
        Accept(hbone, [](int fd) {
          Send(fd, "hbone\n");
          close(fd);
        });
        Accept(dns_tcp, [](int fd) {
          Send(fd, "dns-tcp\n");
          close(fd);
        });
        Watch(dns_udp, [dns_udp] {
          AnswerQuery(dns_udp);
          return true;
        });
        if (const Status set = plane_->SetInboundListener(cookie, family, inbound); !set) return set;
      }
      return weft::Ok{};
    });
  }

  static int Open(int family, int type, const char* ip, uint16_t port) {
    const int fd = socket(family, type | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, 23 /* TCP_FASTOPEN */, &on, sizeof(on));
    if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, 26 /* IPV6_V6ONLY */, &on, sizeof(on));
    sockaddr_storage address{};
    SocketAddress wanted{*weft::IpAddress::Parse(ip), port};
    const socklen_t length = wanted.ToSockaddr(&address);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0) return -1;
    if (type == SOCK_STREAM && ::listen(fd, 8192) != 0) return -1;
    return fd;
  }

  void Accept(int listener, std::function<void(int)> accepted) {
    Watch(listener, [=] {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0) accepted(fd);
      return true;
    });
  }

  static void AnswerQuery(int fd) {
    std::array<char, 512> query{};
    sockaddr_storage from{};
    socklen_t length = sizeof(from);
    const ssize_t n = recvfrom(fd, query.data(), query.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (n < 0) return;
    const std::string answer = "dns:" + std::string(query.data(), static_cast<size_t>(n));
    sendto(fd, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), length);
  }

  void OnOutbound(uint64_t cookie, int fd) {
    const auto original =
        plane_->OriginalDestination(cookie, PeerOf(fd), LocalOf(fd));
    if (!original) return CloseWithReset(fd);
    ++chosen_[original->endpoint_key];
    const SocketAddress asked = original->destination;
    if (asked.port != kEchoPort) return Dial(cookie, fd, asked, std::nullopt);
    Send(fd, "orig=" + asked.ToString() + " peer=" + PeerOf(fd).ToString() + "\n");
    Watch(fd, [fd] {
      std::array<char, 4096> buffer{};
      const ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
      const std::string text(buffer.data(), n > 0 ? static_cast<size_t>(n) : 0);
      if (n > 0 && text != "reset") {
        Send(fd, text);
        return true;
      }
      if (n > 0) {
        CloseWithReset(fd);
        return false;
      }
      if (n == 0) Send(fd, "eof\n");
      close(fd);
      return false;
    });
  }

  void OnInbound(uint64_t cookie, int fd) {
    const SocketAddress application = LocalOf(fd);
    // Dialling our own ports would never end.
    const bool ours = application.port == WEFT_PORT_OUTBOUND || application.port == WEFT_PORT_INBOUND_PLAINTEXT;
    if (ours) return CloseWithReset(fd);
    Dial(cookie, fd, application, PeerOf(fd));
  }

  // On a thread of its own: dialling blocks.
  void Dial(uint64_t cookie, int fd, SocketAddress to, std::optional<SocketAddress> client) {
    std::thread([=, this, netns = pods_[cookie]] {
      int dialled = -1;
      const Status status = weft::RunInNetNs(*netns, [&]() -> Status {
        sockaddr_storage address{};
        const socklen_t length = to.ToSockaddr(&address);
        dialled = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const timeval timeout{.tv_sec = kDialTimeoutSec, .tv_usec = 0};
        setsockopt(dialled, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        if (client) {
          if (const Status announced = plane_->AnnounceClient(dialled, *client); !announced) return announced;
        }
        if (connect(dialled, reinterpret_cast<sockaddr*>(&address), length) != 0) return weft::Error{errno, "dial"};
        return weft::Ok{};
      });
      if (status) return Relay(fd, dialled);
      CloseWithReset(fd);
      close(dialled);
    }).detach();
  }

  std::shared_ptr<weft::BpfPlane> plane_;
  std::string pin_dir_;
  UniqueFd events_;
  UniqueFd measuring_;
  std::map<uint32_t, uint64_t> chosen_;
  int epoll_;
  bool running_ = true;
  std::string input_;
  std::map<int, std::function<bool()>> handlers_;
  std::map<uint64_t, std::shared_ptr<weft::NetNs>> pods_;
};

}  // namespace

// Arguments: PIN_DIR PODS_CGROUP AGENT_CGROUP KUBELET_CGROUP|- MAX_FLOWS
int main(int argc, char** argv) {
  if (argc != 6) return 64;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  weft::BpfPlaneConfig config{.pin_dir = argv[1],
                              .pods_cgroup = argv[2],
                              .agent_cgroup = argv[3],
                              .kubelet_cgroup = std::nullopt,
                              .max_flows = static_cast<uint32_t>(std::strtoul(argv[5], nullptr, 10))};
  if (std::strcmp(argv[4], "-") != 0) config.kubelet_cgroup = argv[4];
  auto plane = weft::BpfPlane::Load(config);
  if (!plane) {
    std::cout << "error " << plane.error().what << ": " << std::strerror(plane.error().code) << std::endl;
    return 1;
  }
  FakeAgent(std::move(*plane), argv[1]).Run();
}
