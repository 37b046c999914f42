#pragma once

#include <linux/netlink.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace weft {

using Bytes = std::span<const uint8_t>;

// An answer begins with a header of the family's own; attributes follow.
template <typename Header>
Header HeaderOf(Bytes message) {
  Header header{};
  if (message.size() >= sizeof(header)) std::memcpy(&header, message.data(), sizeof(header));
  return header;
}
template <typename Header>
Bytes AttributesOf(Bytes message) {
  return message.subspan(std::min<size_t>(NLMSG_ALIGN(sizeof(Header)), message.size()));
}

// The value of the first attribute of this type among `attributes` (rtnetlink(7)), flags of the type ignored.
std::optional<Bytes> FindAttribute(Bytes attributes, uint16_t type);
// `visit` gets the value of each attribute of this type.
void EachAttribute(Bytes attributes, uint16_t type, const std::function<void(Bytes)>& visit);
// A NUL-terminated string of an attribute; empty without the attribute.
std::string StringAttribute(Bytes attributes, uint16_t type);
std::optional<uint32_t> NumberAttribute(Bytes attributes, uint16_t type);

// One netlink request: a header of the family's own and attributes.
class NetlinkRequest {
 public:
  // `header`: the fixed structure that follows nlmsghdr, for example an ifinfomsg.
  template <typename Header>
  NetlinkRequest(uint16_t type, uint16_t flags, const Header& header) {
    Begin(type, flags, {reinterpret_cast<const uint8_t*>(&header), sizeof(header)});
  }

  template <typename Value>
  void Add(uint16_t type, const Value& value) {
    AddBytes(type, {reinterpret_cast<const uint8_t*>(&value), sizeof(value)});
  }
  void AddString(uint16_t type, const std::string& text);
  void AddBytes(uint16_t type, Bytes value);
  // What `fill` adds becomes the value of one attribute.
  void AddNested(uint16_t type, const std::function<void()>& fill);

  bool is_dump() const;
  // With total length and number filled in.
  Bytes Finish(uint32_t sequence);

 private:
  void Begin(uint16_t type, uint16_t flags, Bytes header);

  std::vector<uint8_t> bytes_;
};

// A netlink socket of one network namespace: the one that the thread was in when it was opened, wherever the thread is
// when it asks. Keeps the namespace alive. One thread at a time.
class NetlinkSocket {
 public:
  // `protocol`: NETLINK_ROUTE, NETLINK_NETFILTER.
  static Result<NetlinkSocket> Open(int protocol);

  // Sends the request and calls `answer` with the payload of each message that the kernel answers, until the last one.
  // Errors are the kernel's.
  Status Ask(NetlinkRequest request, const std::function<void(Bytes)>& answer);

 private:
  UniqueFd fd_;
  uint32_t sequence_ = 0;
};

}  // namespace weft
