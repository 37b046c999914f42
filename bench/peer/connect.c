#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

int Connect(const char* host, int port) {
  char service[8];
  snprintf(service, sizeof service, "%d", port);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
  const int resolved = getaddrinfo(host, service, &hints, &found);
  if (resolved != 0) {
    fprintf(stderr, "cannot resolve %s: %s\n", host, gai_strerror(resolved));
    return -1;
  }
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
    fprintf(stderr, "cannot connect to %s:%d: %s\n", host, port, strerror(errno));
    if (fd >= 0) close(fd);
    freeaddrinfo(found);
    return -1;
  }
  freeaddrinfo(found);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

int WriteAll(int fd, const char* data, size_t n) {
  while (n > 0) {
    const ssize_t done = send(fd, data, n, MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return -1;
    data += done;
    n -= (size_t)done;
  }
  return 0;
}

int ReadAll(int fd, char* into, size_t n) {
  while (n > 0) {
    const ssize_t done = recv(fd, into, n, 0);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return -1;
    into += done;
    n -= (size_t)done;
  }
  return 0;
}
