#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

int main(int argc, char** argv) {
  const char* command = argc > 1 ? argv[1] : "";
  if (argc == 5 && strcmp(command, "serve") == 0) return Serve(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
  if (argc == 5 && strcmp(command, "ping-pong") == 0) return PingPong(argv[2], atoi(argv[3]), atoi(argv[4]));
  if (argc == 5 && strcmp(command, "push") == 0) return Push(argv[2], atoi(argv[3]), atoi(argv[4]));
  if (argc == 6 && strcmp(command, "hold-idle") == 0) {
    return HoldIdle(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
  }
  fputs(
      "usage: weft-bench-peer serve HTTP_PORT ECHO_PORT STOP_PORT\n"
      "       weft-bench-peer ping-pong HOST PORT SECONDS\n"
      "       weft-bench-peer push HOST PORT SECONDS\n"
      "       weft-bench-peer hold-idle HOST PORT COUNT SECONDS\n",
      stderr);
  return 2;
}
