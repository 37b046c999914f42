/* The load peer of the benchmarks: a server that costs next to nothing and clients that wrk and iperf3 are not. */
#pragma once

#include <netinet/in.h>
#include <stddef.h>

/* Size of the big answer: several TLS records and HTTP/2 frames. */
enum { kBigBody = 64 * 1024, kSmallBody = 64, kPingBytes = 64 };

/* What the reader that stops has read before: enough for both ends to be set up, too little for TCP to widen the
 * receiver's buffer to what a fast reader gets (many megabytes on any path). */
enum { kReadBeforeStop = 64 * 1024 };

/* Serves HTTP on `http_port` (`/` small, `/64k` big, keep-alive unless asked to close), an echo on `echo_port` and a
 * reader that stops after kReadBeforeStop bytes on `stop_port`. Returns only on failure. */
int Serve(int http_port, int echo_port, int stop_port);

/* Round trips of 64 bytes over one connection for `seconds`; prints one JSON line. */
int PingPong(const char* host, int port, int seconds);

/* Opens `count` connections, proves each by an echoed byte and holds them for `seconds`. */
int HoldIdle(const char* host, int port, int count, int seconds);

/* Writes to a reader that stops, until nothing is taken for a second or `seconds` are over; prints as JSON how many
 * bytes were taken that the reader has not read. */
int Push(const char* host, int port, int seconds);

/* A blocking TCP connection with TCP_NODELAY, -1 after a message on stderr. */
int Connect(const char* host, int port);

/* All `n` bytes or -1; an end of stream is an error. */
int WriteAll(int fd, const char* data, size_t n);
int ReadAll(int fd, char* into, size_t n);
