#include "bpf/open_connections.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>
#include <set>
#include <tuple>

#include "base/clock.h"
#include "bpf/abi_convert.h"
#include "bpf/flow_table.h"
#include "bpf/libbpf_log.h"
#include "bpf/program_object.h"
#include "bpf/program_set.h"
#include "connections.skel.h"

namespace weft {
namespace {

// A walk that finds nothing older than the first one's beginning ends the search. Sockets are hidden at random: hardly
// one is hidden in each of these.
constexpr int kMaxWalks = 3;

// What tells connections apart.
using Name = std::tuple<uint32_t, uint64_t, uint64_t, SocketAddress, SocketAddress>;

Name NameOf(const weft_event& event) {
  return {event.path, event.src_netns, event.dst_netns, FromAbi(event.source), FromAbi(event.destination)};
}

}  // namespace

Result<OpenConnections> OpenConnections::Load(const PinPaths& pins) {
  const LibbpfLog log;
  const Result<ObjectPtr> object = OpenObject(&connections_bpf__elf_bytes, log);
  if (!object) return object.error();
  if (const Status loaded = LoadObject(object->get(), pins, {.flows = WEFT_MAX_FLOWS}, log); !loaded) {
    return loaded.error();
  }
  const int program = bpf_program__fd(bpf_object__next_program(object->get(), nullptr));
  bpf_iter_link_info target{};
  target.map.map_fd = static_cast<uint32_t>(bpf_object__find_map_fd_by_name(object->get(), "weft_direct"));
  bpf_link_create_opts options{};
  options.sz = sizeof(options);
  options.iter_info = &target;
  options.iter_info_len = sizeof(target);
  OpenConnections connections;
  connections.link_ = UniqueFd(bpf_link_create(program, 0, BPF_TRACE_ITER, &options));
  if (!connections.link_) return Error{errno, "attach the iterator over weft_direct"};
  return connections;
}

Result<OpenConnections::Walk> OpenConnections::WalkOnce() const {
  const UniqueFd run(bpf_iter_create(link_.get()));
  if (!run) return Error{errno, "run the iterator over weft_direct"};
  Walk walk;
  // Larger than a portion (32 KiB), which has whole records.
  std::array<weft_event, 256> batch{};
  while (true) {
    const ssize_t n = read(run.get(), batch.data(), sizeof(batch));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) return Error{errno, "read the iterator over weft_direct"};
    if (n == 0) return walk;
    const size_t count = static_cast<size_t>(n) / sizeof(weft_event);
    walk.events.insert(walk.events.end(), batch.begin(), batch.begin() + static_cast<ptrdiff_t>(count));
    ++walk.portions;
  }
}

Result<std::vector<weft_event>> OpenConnections::Read(const FlowTable& flows) const {
  std::vector<weft_event> open;
  std::set<Name> known;
  const uint64_t began_ns = static_cast<uint64_t>(SinceBoot().count());
  for (int walks = 0; walks < kMaxWalks; ++walks) {
    const Result<Walk> walk = WalkOnce();
    if (!walk) return walk.error();
    bool was_hidden = false;
    for (const weft_event& event : walk->events) {
      if (!known.insert(NameOf(event)).second) continue;
      open.push_back(event);
      was_hidden = was_hidden || event.opened_ns < began_ns;
    }
    if (walk->portions <= 1 || !was_hidden) break;
  }
  // Direct ones are known for certain from their flows.
  for (const auto& [key, flow] : flows.Direct()) {
    weft_event event{};
    event.kind = WEFT_EVENT_OPEN;
    event.path = WEFT_PATH_DIRECT;
    event.src_netns = flow.src_netns;
    event.dst_netns = key.netns;
    event.source = {.ip = key.src, .port = key.src_port, ._pad = 0, ._pad2 = 0};
    event.asked = flow.address;
    event.destination = {.ip = key.dst, .port = key.dst_port, ._pad = 0, ._pad2 = 0};
    event.endpoint = flow.endpoint;
    if (known.insert(NameOf(event)).second) open.push_back(event);
  }
  return open;
}

}  // namespace weft
