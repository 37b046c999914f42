// Runs the self-test of express connections and prints one line per check:
// `ok|no GUARD DURATION_US TEXT`. Arguments: CGROUP [GUARDS_OFF]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bpf/express_self_check.h"

int main(int argc, char **argv) {
  if (argc < 2)
    return 64;
  const auto begin = std::chrono::steady_clock::now();
  const auto outcomes = weft::ExpressSelfCheck::Run(
      argv[1], argc > 2 ? static_cast<uint32_t>(std::atoi(argv[2])) : 0);
  const std::chrono::duration<double, std::milli> took =
      std::chrono::steady_clock::now() - begin;
  if (!outcomes) {
    std::printf("error %s: %s\n", outcomes.error().what.c_str(),
                std::strerror(outcomes.error().code));
    return 1;
  }
  for (const auto &[check, status] : *outcomes) {
    std::printf("%s %u %s%s%s\n", status ? "ok" : "no", check->guard,
                check->broken, status ? "" : ": ",
                status ? ""
                       : (status.error().what + ": " +
                          std::strerror(status.error().code))
                             .c_str());
  }
  std::printf("took %.0f ms\n", took.count());
}
