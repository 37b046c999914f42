#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"

enum { kMaxSamples = 4 * 1024 * 1024, kPushBytes = 64 * 1024, kStuckMs = 1000 };

static uint64_t NowNs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int ByValue(const void* a, const void* b) {
  const uint32_t x = *(const uint32_t*)a, y = *(const uint32_t*)b;
  return (x > y) - (x < y);
}

int PingPong(const char* host, int port, int seconds) {
  const int fd = Connect(host, port);
  if (fd < 0) return 1;
  uint32_t* samples = malloc(kMaxSamples * sizeof *samples);
  if (samples == NULL) return 1;
  char message[kPingBytes] = {0};
  size_t n = 0;
  const uint64_t start = NowNs(), end = start + (uint64_t)seconds * 1000000000u;
  for (uint64_t before = start; before < end && n < kMaxSamples;) {
    if (WriteAll(fd, message, sizeof message) != 0 || ReadAll(fd, message, sizeof message) != 0) {
      fprintf(stderr, "the connection to %s:%d ended after %zu round trips\n", host, port, n);
      return 1;
    }
    const uint64_t after = NowNs();
    samples[n++] = (uint32_t)(after - before);
    before = after;
  }
  qsort(samples, n, sizeof *samples, ByValue);
  printf("{\"rounds\":%zu,\"medianUs\":%.2f,\"p99Us\":%.2f}\n", n, samples[n / 2] / 1e3, samples[n * 99 / 100] / 1e3);
  free(samples);
  close(fd);
  return 0;
}

int HoldIdle(const char* host, int port, int count, int seconds) {
  const struct rlimit files = {.rlim_cur = (rlim_t)count + 64, .rlim_max = (rlim_t)count + 64};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
    perror("cannot raise the number of open files");
    return 1;
  }
  for (int i = 0; i < count; i++) {
    const int fd = Connect(host, port);
    char byte = 'x';
    if (fd < 0 || WriteAll(fd, &byte, 1) != 0 || ReadAll(fd, &byte, 1) != 0) {
      fprintf(stderr, "connection %d of %d was not served\n", i + 1, count);
      return 1;
    }
  }
  sleep((unsigned)seconds);
  return 0;
}

int Push(const char* host, int port, int seconds) {
  static const char bytes[kPushBytes];
  const int fd = Connect(host, port);
  if (fd < 0) return 1;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  uint64_t taken = 0;
  const uint64_t end = NowNs() + (uint64_t)seconds * 1000000000u;
  while (NowNs() < end) {
    const ssize_t n = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
    if (n > 0) taken += (uint64_t)n;
    if (n >= 0 || errno == EINTR) continue;
    if (errno != EAGAIN) {
      perror("cannot write");
      return 1;
    }
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    if (poll(&writable, 1, kStuckMs) == 0) break;
  }
  if (taken < kReadBeforeStop) {
    fprintf(stderr, "only %llu bytes were taken\n", (unsigned long long)taken);
    return 1;
  }
  printf("{\"heldBytes\":%llu}\n", (unsigned long long)(taken - kReadBeforeStop));
  close(fd);
  return 0;
}
