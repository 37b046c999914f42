#include "bpf/redirect_netlink.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <array>

namespace weft {
namespace {

// The kernel answers at once; the limit is against waiting for ever for what we misunderstood.
constexpr timeval kAnswerTimeout = {.tv_sec = 5, .tv_usec = 0};
// The kernel fills dumps in messages of at most 32 KiB.
constexpr size_t kReceiveBytes = 32 * 1024;

size_t Align(size_t length) { return NLMSG_ALIGN(length); }

// Calls `visit` with type and value of each attribute until it returns false.
template <typename Visit>
void Walk(Bytes attributes, Visit visit) {
  while (attributes.size() >= sizeof(nlattr)) {
    nlattr header{};
    std::memcpy(&header, attributes.data(), sizeof(header));
    if (header.nla_len < sizeof(header) || header.nla_len > attributes.size()) return;
    const uint16_t type = header.nla_type & NLA_TYPE_MASK;
    if (!visit(type, attributes.subspan(sizeof(header), header.nla_len - sizeof(header)))) return;
    attributes = attributes.subspan(std::min(Align(header.nla_len), attributes.size()));
  }
}

}  // namespace

std::optional<Bytes> FindAttribute(Bytes attributes, uint16_t type) {
  std::optional<Bytes> found;
  Walk(attributes, [&](uint16_t candidate, Bytes value) {
    if (candidate == type) found = value;
    return !found;
  });
  return found;
}

void EachAttribute(Bytes attributes, uint16_t type, const std::function<void(Bytes)>& visit) {
  Walk(attributes, [&](uint16_t candidate, Bytes value) {
    if (candidate == type) visit(value);
    return true;
  });
}

std::string StringAttribute(Bytes attributes, uint16_t type) {
  const std::optional<Bytes> value = FindAttribute(attributes, type);
  if (!value) return {};
  const char* text = reinterpret_cast<const char*>(value->data());
  return {text, strnlen(text, value->size())};
}

std::optional<uint32_t> NumberAttribute(Bytes attributes, uint16_t type) {
  const std::optional<Bytes> value = FindAttribute(attributes, type);
  uint32_t number = 0;
  if (!value || value->size() < sizeof(number)) return std::nullopt;
  std::memcpy(&number, value->data(), sizeof(number));
  return number;
}

void NetlinkRequest::Begin(uint16_t type, uint16_t flags, Bytes header) {
  nlmsghdr message{};
  message.nlmsg_type = type;
  message.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  bytes_.resize(Align(sizeof(message)) + Align(header.size()));
  std::memcpy(bytes_.data(), &message, sizeof(message));
  std::memcpy(bytes_.data() + Align(sizeof(message)), header.data(), header.size());
}

void NetlinkRequest::AddString(uint16_t type, const std::string& text) {
  AddBytes(type, {reinterpret_cast<const uint8_t*>(text.c_str()), text.size() + 1});
}

void NetlinkRequest::AddBytes(uint16_t type, Bytes value) {
  const nlattr header{.nla_len = static_cast<uint16_t>(sizeof(nlattr) + value.size()), .nla_type = type};
  const size_t at = bytes_.size();
  bytes_.resize(at + Align(header.nla_len));
  std::memcpy(bytes_.data() + at, &header, sizeof(header));
  if (!value.empty()) std::memcpy(bytes_.data() + at + sizeof(header), value.data(), value.size());
}

void NetlinkRequest::AddNested(uint16_t type, const std::function<void()>& fill) {
  const size_t at = bytes_.size();
  AddBytes(type | NLA_F_NESTED, {});
  fill();
  const auto length = static_cast<uint16_t>(bytes_.size() - at);
  std::memcpy(bytes_.data() + at + offsetof(nlattr, nla_len), &length, sizeof(length));
}

bool NetlinkRequest::is_dump() const {
  nlmsghdr message{};
  std::memcpy(&message, bytes_.data(), sizeof(message));
  return (message.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
}

Bytes NetlinkRequest::Finish(uint32_t sequence) {
  const auto length = static_cast<uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof(length));
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof(sequence));
  return bytes_;
}

Result<NetlinkSocket> NetlinkSocket::Open(int protocol) {
  NetlinkSocket netlink;
  netlink.fd_ = UniqueFd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!netlink.fd_) return Error{errno, "open a netlink socket"};
  setsockopt(netlink.fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof(kAnswerTimeout));
  return netlink;
}

Status NetlinkSocket::Ask(NetlinkRequest request, const std::function<void(Bytes)>& answer) {
  const Bytes bytes = request.Finish(++sequence_);
  if (send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return Error{errno, "ask the kernel by netlink"};
  std::array<uint8_t, kReceiveBytes> buffer;
  while (true) {
    const ssize_t n = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (n < 0) return Error{errno, "netlink answer"};
    size_t left = static_cast<size_t>(n);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      // What is left of an earlier question that failed half way.
      if (message->nlmsg_seq != sequence_) continue;
      if (message->nlmsg_type == NLMSG_DONE) return Ok{};
      if (message->nlmsg_type == NLMSG_ERROR) {
        const int code = -static_cast<const nlmsgerr*>(NLMSG_DATA(message))->error;
        return code == 0 ? Status(Ok{}) : Error{code, "netlink request"};
      }
      answer({static_cast<const uint8_t*>(NLMSG_DATA(message)), NLMSG_PAYLOAD(message, 0)});
      if (!request.is_dump()) return Ok{};
    }
  }
}

}  // namespace weft
