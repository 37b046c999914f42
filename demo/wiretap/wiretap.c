/* Looks at every packet of one interface, as somebody on the wire would, and says what there was to see: whether a
 * marker text appeared in the clear, and how much TLS went over the tunnel port. No tcpdump, no libpcap.
 *
 *   weft-wiretap INTERFACE MARKER     prints "ready", listens until stdin ends, then prints one JSON line
 *
 * A marker that falls across two packets is not found: whoever uses it sends it several times, in small requests.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kTunnelPort = 15008, kTlsHandshake = 22, kTlsApplicationData = 23, kIpv4Min = 20, kIpv6Head = 40, kTcpMin = 20 };

struct Seen {
  unsigned long packets, tcp_bytes, tunnel_bytes, client_hellos, tls_records, marker_packets;
};

static int Open(const char* interface) {
  const unsigned index = if_nametoindex(interface);
  const struct sockaddr_ll where = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)index};
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
  const int room = 32 * 1024 * 1024;
  if (index == 0 || fd < 0 || bind(fd, (const struct sockaddr*)&where, sizeof where) != 0) {
    fprintf(stderr, "cannot listen on interface %s: %s\n", interface, strerror(errno));
    return -1;
  }
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  return fd;
}

/* The TCP header within an Ethernet frame, NULL when it is not TCP over IPv4 or IPv6 (without extension headers). */
static const uint8_t* TcpHeader(const uint8_t* frame, size_t n) {
  const uint8_t* ip = frame + ETH_HLEN;
  if (n < ETH_HLEN + kIpv4Min) return NULL;
  const uint16_t type = (uint16_t)(frame[12] << 8 | frame[13]);
  size_t head;
  if (type == ETH_P_IP && ip[9] == IPPROTO_TCP) {
    head = (size_t)(ip[0] & 15) * 4;
  } else if (type == ETH_P_IPV6 && n >= ETH_HLEN + kIpv6Head && ip[6] == IPPROTO_TCP) {
    head = kIpv6Head;
  } else {
    return NULL;
  }
  return n >= ETH_HLEN + head + kTcpMin ? ip + head : NULL;
}

static void Look(struct Seen* seen, const uint8_t* frame, size_t n, const char* marker) {
  seen->packets++;
  if (memmem(frame, n, marker, strlen(marker)) != NULL) seen->marker_packets++;
  const uint8_t* tcp = TcpHeader(frame, n);
  if (tcp == NULL) return;
  const uint8_t* payload = tcp + (size_t)(tcp[12] >> 4) * 4;
  if (payload >= frame + n) return;
  const size_t length = (size_t)(frame + n - payload);
  const unsigned source = (unsigned)(tcp[0] << 8 | tcp[1]), destination = (unsigned)(tcp[2] << 8 | tcp[3]);
  seen->tcp_bytes += length;
  if (source != kTunnelPort && destination != kTunnelPort) return;
  seen->tunnel_bytes += length;
  /* Only records that begin with a packet are counted: enough to tell TLS from anything else. */
  if (length < 6 || payload[1] != 3) return;
  if (payload[0] == kTlsHandshake && payload[5] == 1) seen->client_hellos++;
  if (payload[0] == kTlsApplicationData) seen->tls_records++;
}

int main(int argc, char** argv) {
  if (argc != 3 || argv[2][0] == 0) {
    fprintf(stderr, "usage: weft-wiretap INTERFACE MARKER\n");
    return 2;
  }
  const int fd = Open(argv[1]);
  if (fd < 0) return 1;
  printf("ready\n");
  fflush(stdout);
  struct Seen seen = {0};
  struct pollfd watched[] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
  static uint8_t frame[1 << 17];
  for (;;) {
    if (poll(watched, 2, -1) < 0 && errno != EINTR) return 1;
    if ((watched[0].revents & POLLIN) != 0) {
      const ssize_t n = recv(fd, frame, sizeof frame, MSG_DONTWAIT);
      if (n > 0) Look(&seen, frame, (size_t)n, argv[2]);
      continue; /* What was sent before stdin ended is looked at first. */
    }
    if (watched[1].revents != 0) break;
  }
  struct tpacket_stats stats = {0};
  socklen_t size = sizeof stats;
  getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size);
  printf(
      "{\"packets\":%lu,\"lost\":%u,\"tcpBytes\":%lu,\"tunnelBytes\":%lu,\"clientHellos\":%lu,\"tlsRecords\":%lu,"
      "\"markerPackets\":%lu}\n",
      seen.packets, stats.tp_drops, seen.tcp_bytes, seen.tunnel_bytes, seen.client_hellos, seen.tls_records,
      seen.marker_packets);
  return 0;
}
