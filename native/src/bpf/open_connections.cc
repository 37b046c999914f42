#include "bpf/open_connections.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "bpf/libbpf_log.h"
#include "bpf/program_object.h"
#include "bpf/program_set.h"
#include "connections.skel.h"

namespace weft {

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

Result<std::vector<weft_event>> OpenConnections::Read() const {
  const UniqueFd run(bpf_iter_create(link_.get()));
  if (!run) return Error{errno, "run the iterator over weft_direct"};
  std::vector<weft_event> events;
  // The kernel gives whole records as long as they fit.
  std::array<weft_event, 256> batch{};
  while (true) {
    const ssize_t n = read(run.get(), batch.data(), sizeof(batch));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) return Error{errno, "read the iterator over weft_direct"};
    if (n == 0) return events;
    const size_t count = static_cast<size_t>(n) / sizeof(weft_event);
    events.insert(events.end(), batch.begin(), batch.begin() + static_cast<ptrdiff_t>(count));
  }
}

}  // namespace weft
