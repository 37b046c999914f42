#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "net/socket.h"
#include "test_ca.h"
#include "test_net.h"
#include "test_node.h"

namespace weft::test {

inline constexpr char kClientId[] = "spiffe://cluster.local/ns/default/sa/client";
inline constexpr char kServerId[] = "spiffe://cluster.local/ns/default/sa/server";

// `n` bytes that are the same for the same seed.
inline std::string Noise(size_t n, uint32_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(n, '\0');
  for (size_t i = 0; i + 8 <= n; i += 8) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  return bytes;
}

// A client node and a server node with an application behind a service address.
class MeshTest : public testing::Test {
 protected:
  TestCa ca;
  TestNode client{ca, kClientId, "127.0.0.1"};
  TestNode server{ca, kServerId, "127.0.0.2"};
  UniqueFd app = Listen(At("127.0.0.2", 0));
  const SocketAddress service = At("10.96.0.1", 80);

  void SetUp() override { client.RouteTo(service, server, PortOf(app)); }
};

}  // namespace weft::test
