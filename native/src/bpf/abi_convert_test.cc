#include "bpf/abi_convert.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(AbiConvert, KeepsAddressesOfBothFamilies) {
  for (const char* text : {"10.1.2.3:80", "[fd00::1]:65535", "[::]:0"}) {
    const std::optional<SocketAddress> address = SocketAddress::Parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(FromAbi(ToAbi(*address)), *address) << text;
  }
}

TEST(AbiConvert, WritesIpv4AsBpfDoes) {
  const weft_ip ip = ToAbi(*IpAddress::Parse("1.2.3.4"));
  EXPECT_EQ(ip.word[0], 0u);
  EXPECT_EQ(ip.word[1], 0u);
  EXPECT_EQ(ip.word[2], htonl(0xffff));
  EXPECT_EQ(ip.word[3], htonl(0x01020304));
}

}  // namespace
}  // namespace weft
