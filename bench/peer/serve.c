/* One thread, epoll, no allocation per request. Answers are ready-made; a connection keeps what it could not send. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

enum { kReadBytes = 16 * 1024, kBacklog = 4096, kEvents = 256, kMaxFiles = 65536 };

enum Kind { kHttpListener, kEchoListener, kStopListener, kHttp, kEcho, kStop };

struct Conn {
  int fd;
  enum Kind kind;
  bool close_after;
  /* What is still to be sent: ready-made answers, or echoed bytes kept in `held`. */
  const char* out;
  size_t out_left;
  char held[kPingBytes * 16];
  /* Bytes of the request's end seen so far: requests may arrive in pieces. */
  size_t matched;
  /* kStop: bytes that are still to be read. */
  size_t left_to_read;
};

struct Answer {
  char bytes[kBigBody + 256];
  size_t length;
};

static struct Answer small_answer, big_answer, last_answer;

static void MakeAnswer(struct Answer* answer, const char* connection, int body) {
  const int head =
      snprintf(answer->bytes, sizeof answer->bytes,
               "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n%sContent-Length: %d\r\n\r\n", connection, body);
  memset(answer->bytes + head, 'w', (size_t)body);
  answer->length = (size_t)(head + body);
}

static int Listen(int port) {
  const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1, off = 0;
  struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (fd < 0 || bind(fd, (struct sockaddr*)&any, sizeof any) != 0 || listen(fd, kBacklog) != 0) {
    fprintf(stderr, "cannot listen on port %d: %s\n", port, strerror(errno));
    return -1;
  }
  return fd;
}

static void Watch(int epoll, int op, struct Conn* conn, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = conn};
  epoll_ctl(epoll, op, conn->fd, &event);
}

static void Drop(struct Conn* conn) {
  close(conn->fd);
  free(conn);
}

/* False: the connection is gone. */
static bool Flush(int epoll, struct Conn* conn) {
  while (conn->out_left > 0) {
    const ssize_t n = send(conn->fd, conn->out, conn->out_left, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) {
      Watch(epoll, EPOLL_CTL_MOD, conn, EPOLLOUT);
      return true;
    }
    if (n <= 0) return Drop(conn), false;
    conn->out += n;
    conn->out_left -= (size_t)n;
  }
  if (conn->close_after) return Drop(conn), false;
  return true;
}

static void AcceptAll(int epoll, const struct Conn* listener) {
  for (;;) {
    const int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct Conn* conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
      close(fd);
      return;
    }
    conn->fd = fd;
    conn->kind = listener->kind == kHttpListener ? kHttp : listener->kind == kEchoListener ? kEcho : kStop;
    conn->left_to_read = kReadBeforeStop;
    Watch(epoll, EPOLL_CTL_ADD, conn, EPOLLIN);
  }
}

/* wrk sends a request only after the answer to the one before: a read ends with at most one complete request. */
static void OnRequest(struct Conn* conn, const char* request, size_t n) {
  static const char end[] = "\r\n\r\n";
  for (size_t i = 0; i < n && conn->matched < 4; i++) {
    conn->matched = request[i] == end[conn->matched] ? conn->matched + 1 : (request[i] == '\r' ? 1 : 0);
  }
  if (conn->matched < 4) return;
  conn->matched = 0;
  /* "Connection: close", in any case of the first letters. */
  conn->close_after = memmem(request, n, "lose\r\n", 6) != NULL;
  const bool big = n > 8 && memcmp(request, "GET /64k", 8) == 0;
  const struct Answer* answer = conn->close_after ? &last_answer : big ? &big_answer : &small_answer;
  conn->out = answer->bytes;
  conn->out_left = answer->length;
}

/* Reads what is left to be read, then only waits for the peer's end. */
static void ReadAndStop(int epoll, struct Conn* conn) {
  char buffer[kReadBytes];
  while (conn->left_to_read > 0) {
    const size_t room = conn->left_to_read < sizeof buffer ? conn->left_to_read : sizeof buffer;
    const ssize_t n = recv(conn->fd, buffer, room, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      Drop(conn);
      return;
    }
    conn->left_to_read -= (size_t)n;
  }
  Watch(epoll, EPOLL_CTL_MOD, conn, EPOLLRDHUP);
}

static void OnReadable(int epoll, struct Conn* conn) {
  char buffer[kReadBytes];
  const size_t room = conn->kind == kEcho ? sizeof conn->held : sizeof buffer;
  const ssize_t n = recv(conn->fd, buffer, room, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    Drop(conn);
    return;
  }
  if (conn->kind == kEcho) {
    memcpy(conn->held, buffer, (size_t)n);
    conn->out = conn->held;
    conn->out_left = (size_t)n;
  } else {
    OnRequest(conn, buffer, (size_t)n);
  }
  Flush(epoll, conn);
}

int Serve(int http_port, int echo_port, int stop_port) {
  const struct rlimit files = {.rlim_cur = kMaxFiles, .rlim_max = kMaxFiles};
  setrlimit(RLIMIT_NOFILE, &files);
  MakeAnswer(&small_answer, "", kSmallBody);
  MakeAnswer(&big_answer, "", kBigBody);
  MakeAnswer(&last_answer, "Connection: close\r\n", kSmallBody);
  struct Conn http = {.fd = Listen(http_port), .kind = kHttpListener};
  struct Conn echo = {.fd = Listen(echo_port), .kind = kEchoListener};
  struct Conn stop = {.fd = Listen(stop_port), .kind = kStopListener};
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (http.fd < 0 || echo.fd < 0 || stop.fd < 0 || epoll < 0) return 1;
  Watch(epoll, EPOLL_CTL_ADD, &http, EPOLLIN);
  Watch(epoll, EPOLL_CTL_ADD, &echo, EPOLLIN);
  Watch(epoll, EPOLL_CTL_ADD, &stop, EPOLLIN);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[kEvents];
    const int n = epoll_wait(epoll, events, kEvents, -1);
    if (n < 0 && errno != EINTR) return 1;
    for (int i = 0; i < n; i++) {
      struct Conn* conn = events[i].data.ptr;
      if (conn->kind <= kStopListener) {
        AcceptAll(epoll, conn);
      } else if (conn->kind == kStop) {
        (events[i].events & EPOLLIN) != 0 ? ReadAndStop(epoll, conn) : Drop(conn);
      } else if ((events[i].events & EPOLLOUT) != 0) {
        if (Flush(epoll, conn) && conn->out_left == 0) Watch(epoll, EPOLL_CTL_MOD, conn, EPOLLIN);
      } else {
        OnReadable(epoll, conn);
      }
    }
  }
}
