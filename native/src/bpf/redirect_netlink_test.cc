#include "bpf/redirect_netlink.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include <string>
#include <vector>

namespace weft {
namespace {

constexpr uint16_t kNumber = 1;
constexpr uint16_t kText = 2;
constexpr uint16_t kNest = 3;

NetlinkRequest SomeRequest() {
  NetlinkRequest request(RTM_GETLINK, 0, ifinfomsg{});
  request.Add(kNumber, uint32_t{7});
  request.AddNested(kNest, [&] { request.AddString(kText, "inner"); });
  request.AddString(kText, "outer");
  return request;
}

// What the receiver of a request sees after the message's header.
Bytes PayloadOf(NetlinkRequest& request) { return request.Finish(1).subspan(NLMSG_HDRLEN); }

TEST(Netlink, AttributesAreFoundWhereTheyWereAdded) {
  NetlinkRequest request = SomeRequest();
  const Bytes attributes = AttributesOf<ifinfomsg>(PayloadOf(request));
  EXPECT_EQ(NumberAttribute(attributes, kNumber), 7U);
  EXPECT_EQ(StringAttribute(attributes, kText), "outer");
  const std::optional<Bytes> nest = FindAttribute(attributes, kNest);
  ASSERT_TRUE(nest);
  EXPECT_EQ(StringAttribute(*nest, kText), "inner");
  EXPECT_FALSE(FindAttribute(attributes, 9));
  EXPECT_EQ(StringAttribute(attributes, 9), "");
  EXPECT_FALSE(NumberAttribute(*nest, kNumber));
}

TEST(Netlink, EveryAttributeOfATypeIsVisited) {
  NetlinkRequest request(RTM_GETLINK, 0, ifinfomsg{});
  for (const char* text : {"one", "two"}) request.AddString(kText, text);
  std::vector<std::string> seen;
  EachAttribute(AttributesOf<ifinfomsg>(PayloadOf(request)), kText,
                [&](Bytes value) { seen.emplace_back(reinterpret_cast<const char*>(value.data())); });
  EXPECT_EQ(seen, (std::vector<std::string>{"one", "two"}));
}

// The kernel does not send such; reading past the end would be the worst answer to what it does not send.
TEST(Netlink, AttributesThatAreCutOffOrLieAboutTheirLengthAreNotRead) {
  NetlinkRequest request = SomeRequest();
  const Bytes whole = PayloadOf(request);
  for (size_t size = 0; size <= whole.size(); ++size) {
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    const Bytes attributes = AttributesOf<ifinfomsg>(cut);
    static_cast<void>(HeaderOf<ifinfomsg>(cut));
    static_cast<void>(StringAttribute(attributes, kText));
    static_cast<void>(NumberAttribute(attributes, kNumber));
  }
  for (const uint16_t length : {0, 1, 3, 5, 200, 65535}) {
    std::vector<uint8_t> lying(8);
    const nlattr header{.nla_len = length, .nla_type = kNumber};
    std::memcpy(lying.data(), &header, sizeof(header));
    EXPECT_FALSE(NumberAttribute(lying, kNumber)) << length;
  }
}

TEST(Netlink, TheKernelAnswersAndItsRefusalIsAnError) {
  Result<NetlinkSocket> netlink = NetlinkSocket::Open(NETLINK_ROUTE);
  ASSERT_TRUE(netlink);
  std::vector<std::string> names;
  ASSERT_TRUE(netlink->Ask({RTM_GETLINK, NLM_F_DUMP, ifinfomsg{}}, [&](Bytes message) {
    names.push_back(StringAttribute(AttributesOf<ifinfomsg>(message), IFLA_IFNAME));
  }));
  EXPECT_NE(std::find(names.begin(), names.end(), "lo"), names.end());
  ifinfomsg nobody{};
  nobody.ifi_index = 0x7ffffff0;
  const Status refused = netlink->Ask({RTM_GETLINK, 0, nobody}, [](Bytes) {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ENODEV);
}

}  // namespace
}  // namespace weft
