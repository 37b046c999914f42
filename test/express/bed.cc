// Makes every TCP connection between processes of a cgroup an express one, until standard input ends.
// Arguments: CGROUP NETNS_PATH... (whose readers are woken). Says `ready`, then for each line of standard input `CONNECTIONS DIRECT_BYTES` of those that have
// ended.
#include <fcntl.h>

#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>

#include "bpf/express_trial.h"

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  const auto cgroup = weft::Cgroup::Open(argv[1]);
  if (!cgroup) return std::fprintf(stderr, "%s\n", cgroup.error().what.c_str()), 1;
  auto trial = weft::ExpressTrial::Start(*cgroup, {});
  if (!trial) {
    std::fprintf(stderr, "%s: %s\n", trial.error().what.c_str(), std::strerror(trial.error().code));
    return 1;
  }
  for (int i = 2; i < argc; ++i) {
    const weft::UniqueFd netns(open(argv[i], O_RDONLY | O_CLOEXEC));
    if (!netns || !trial->Wake(static_cast<uint64_t>(i), netns.get())) return std::perror(argv[i]), 1;
  }
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const weft_express_total total = trial->Total();
    std::cout << total.connections << ' ' << total.bytes << std::endl;
  }
}
