#include "bpf/program_set.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "bpf/bpffs.h"
#include "bpf/libbpf_log.h"
#include "bpf/program_object.h"
#include "connect.skel.h"
#include "dns.skel.h"
#include "peername.skel.h"
#include "probe.skel.h"
#include "redirect.skel.h"
#include "sklookup.skel.h"
#include "sockname.skel.h"
#include "sockops.skel.h"
#include "weft_abi.h"

namespace weft {
namespace {

// Is the link still attached to what we want? A cgroup or namespace that went away leaves a link to nothing behind.
bool AttachedToCgroup(int link_fd, uint64_t cgroup_id) {
  bpf_link_info info{};
  uint32_t length = sizeof(info);
  return bpf_obj_get_info_by_fd(link_fd, &info, &length) == 0 && info.type == BPF_LINK_TYPE_CGROUP &&
         info.cgroup.cgroup_id == cgroup_id;
}

bool AttachedToNetns(int link_fd) {
  bpf_link_info info{};
  uint32_t length = sizeof(info);
  return bpf_obj_get_info_by_fd(link_fd, &info, &length) == 0 && info.type == BPF_LINK_TYPE_NETNS &&
         info.netns.netns_ino != 0;
}

Status PinNewLink(int prog_fd, int target_fd, bpf_attach_type type, const std::string& path) {
  const UniqueFd link(bpf_link_create(prog_fd, target_fd, type, nullptr));
  if (!link) return Error{errno, "attach " + path};
  // The new link holds before the old pin goes, so that there is no moment without.
  const std::string fresh = path + "_new";
  unlink(fresh.c_str());
  if (bpf_obj_pin(link.get(), fresh.c_str()) != 0) return Error{errno, "pin " + path};
  if (rename(fresh.c_str(), path.c_str()) != 0) return Error{errno, "pin " + path};
  return Ok{};
}

Status AttachToCgroup(const bpf_program* program, const Cgroup& cgroup, const std::string& path) {
  const int prog_fd = bpf_program__fd(program);
  const UniqueFd pinned(bpf_obj_get(path.c_str()));
  if (pinned && AttachedToCgroup(pinned.get(), cgroup.id)) {
    if (bpf_link_update(pinned.get(), prog_fd, nullptr) != 0) return Error{errno, "update " + path};
    return Ok{};
  }
  const Status attached = PinNewLink(prog_fd, cgroup.fd.get(), bpf_program__expected_attach_type(program), path);
  if (!attached) return Error{attached.error().code, attached.error().what + " to cgroup " + cgroup.path};
  if (pinned) bpf_link_detach(pinned.get());
  return Ok{};
}

Status AttachObject(ElfBytes elf, const PinPaths& pins, MapSizes sizes, const Cgroup& cgroup, const char* suffix) {
  const LibbpfLog log;
  const Result<ObjectPtr> object = OpenObject(elf, log);
  if (!object) return object.error();
  if (const Status loaded = LoadObject(object->get(), pins, sizes, log); !loaded) return loaded;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object->get()) {
    const std::string path = pins.links + "/" + bpf_program__name(program) + suffix;
    if (const Status attached = AttachToCgroup(program, cgroup, path); !attached) return attached;
  }
  return Ok{};
}

// Fills the one constant of a program that each pod has an instance of.
Status SetNetns(bpf_object* object, uint64_t cookie) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (!bpf_map__is_internal(map) || bpf_map__value_size(map) != sizeof(cookie)) continue;
    if (const int error = bpf_map__set_initial_value(map, &cookie, sizeof(cookie)); error != 0) {
      return Error{-error, "set the netns cookie of a pod's program"};
    }
    return Ok{};
  }
  return Error{EINVAL, "a pod's program has no constant for the netns cookie"};
}

Result<ObjectPtr> LoadPodObject(ElfBytes elf, uint64_t cookie, const PinPaths& pins, MapSizes sizes) {
  const LibbpfLog log;
  Result<ObjectPtr> object = OpenObject(elf, log);
  if (!object) return object;
  if (const Status set = SetNetns(object->get(), cookie); !set) return set.error();
  if (const Status loaded = LoadObject(object->get(), pins, sizes, log); !loaded) return loaded.error();
  return object;
}

}  // namespace

PinPaths::PinPaths(const std::string& pin_dir)
    : root(pin_dir + "/v" + std::to_string(WEFT_ABI)),
      maps(root + "/maps"),
      links(root + "/links"),
      pods(root + "/pods"),
      redirects(root + "/redirects") {}

Status ProgramSet::AttachPods(const Cgroup& pods) const {
  // sockops before connect: a connection that is steered must find its original destination written down.
  for (const ElfBytes elf : {&sockops_bpf__elf_bytes, &peername_bpf__elf_bytes, &sockname_bpf__elf_bytes,
                             &dns_bpf__elf_bytes, &connect_bpf__elf_bytes}) {
    if (const Status attached = AttachObject(elf, pins_, sizes_, pods, ""); !attached) return attached;
  }
  return Ok{};
}

Status ProgramSet::AttachAgent(const Cgroup* agent) const {
  if (agent == nullptr) return RemovePin(pins_.links + "/weft_sockops_agent");
  return AttachObject(&sockops_bpf__elf_bytes, pins_, sizes_, *agent, "_agent");
}

Status ProgramSet::AttachKubelet(const Cgroup* kubelet) const {
  if (kubelet == nullptr) return RemovePin(pins_.links + "/weft_probe");
  return AttachObject(&probe_bpf__elf_bytes, pins_, sizes_, *kubelet, "");
}

Status ProgramSet::TryPod() const {
  const Result<ObjectPtr> object = LoadPodObject(&sklookup_bpf__elf_bytes, 0, pins_, sizes_);
  return object ? Status(Ok{}) : object.error();
}

Status ProgramSet::AttachPod(uint64_t cookie, int netns_fd) const {
  const Result<ObjectPtr> object = LoadPodObject(&sklookup_bpf__elf_bytes, cookie, pins_, sizes_);
  if (!object) return object.error();
  const int prog_fd = bpf_program__fd(bpf_object__next_program(object->get(), nullptr));
  const std::string path = pins_.Pod(cookie);
  const UniqueFd pinned(bpf_obj_get(path.c_str()));
  if (pinned && AttachedToNetns(pinned.get())) {
    if (bpf_link_update(pinned.get(), prog_fd, nullptr) != 0) return Error{errno, "update " + path};
    return Ok{};
  }
  return PinNewLink(prog_fd, netns_fd, BPF_SK_LOOKUP, path);
}

Result<UniqueFd> ProgramSet::LoadRedirect(uint64_t cookie) const {
  const Result<ObjectPtr> object = LoadPodObject(&redirect_bpf__elf_bytes, cookie, pins_, sizes_);
  if (!object) return object.error();
  UniqueFd program(fcntl(bpf_program__fd(bpf_object__next_program(object->get(), nullptr)), F_DUPFD_CLOEXEC, 0));
  if (!program) return Error{errno, "keep the redirect program"};
  return program;
}

}  // namespace weft
