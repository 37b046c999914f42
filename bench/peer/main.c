#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

int main(int argc, char** argv) {
  if (argc == 4 && strcmp(argv[1], "serve") == 0) return Serve(atoi(argv[2]), atoi(argv[3]));
  if (argc == 5 && strcmp(argv[1], "ping-pong") == 0) return PingPong(argv[2], atoi(argv[3]), atoi(argv[4]));
  if (argc == 5 && strcmp(argv[1], "hold-idle") == 0) return HoldIdle(argv[2], atoi(argv[3]), atoi(argv[4]));
  fprintf(
      stderr,
      "usage: weft-bench-peer serve HTTP_PORT ECHO_PORT | ping-pong HOST PORT SECONDS | hold-idle HOST PORT COUNT\n");
  return 2;
}
