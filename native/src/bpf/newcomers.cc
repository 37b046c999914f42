#include "bpf/newcomers.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "bpf/bpffs.h"
#include "bpf/program_set.h"
#include "hold.skel.h"
#include "net/netns.h"

namespace weft {

Status Newcomers::Open(const PinPaths& pins, MapSizes sizes, const Cgroup& pods) {
  if (const Status opened = OpenMap(members_, pins.Map("weft_members")); !opened) return opened;
  if (const Status opened = OpenMap(newcomers_, pins.Map("weft_newcomers")); !opened) return opened;
  holds_ = pins.root + "/holds";
  if (const Status made = EnsureBpffsDir(holds_); !made) return made;
  const Result<NetNs> own = NetNs::Open("/proc/self/ns/net");
  if (!own) return own.error();
  const Result<uint64_t> cookie = own->Cookie();
  if (!cookie) return cookie.error();
  const LibbpfLog log;
  Result<ObjectPtr> object = OpenObject(&hold_bpf__elf_bytes, log);
  if (!object) return object.error();
  if (const Status loaded = LoadObject(object->get(), pins, sizes, log); !loaded) return loaded;
  programs_ = std::move(*object);
  facts_ = newcomers_.Get(0).value_or(weft_newcomers{});
  facts_.host_netns = *cookie;
  facts_.pods_cgroup = pods.id;
  return newcomers_.Set(0, facts_);
}

Status Newcomers::Set(const std::string& folder, Membership membership) {
  const Result<Cgroup> cgroup = Cgroup::Open(folder);
  if (!cgroup) return cgroup.error();
  if (membership == Membership::kHeld) {
    // Before connect() sends anything where these are needed.
    if (const Status held = Hold(*cgroup); !held) return held;
  }
  const uint32_t member = membership == Membership::kOutside ? WEFT_MEMBER_OUTSIDE : WEFT_MEMBER_INSIDE;
  if (const Status set = members_.Set(cgroup->id, member); !set) return set;
  if (membership != Membership::kHeld) LetGo(cgroup->id);
  return Ok{};
}

void Newcomers::Keep(const std::vector<std::string>& folders) {
  std::vector<uint64_t> ids;
  for (const std::string& folder : folders) {
    if (const Result<Cgroup> cgroup = Cgroup::Open(folder); cgroup) ids.push_back(cgroup->id);
  }
  std::sort(ids.begin(), ids.end());
  const auto kept = [&](uint64_t id) { return std::binary_search(ids.begin(), ids.end(), id); };
  for (const uint64_t id : members_.Keys()) {
    if (!kept(id)) members_.Remove(id);
  }
  for (const std::string& name : ListDir(holds_)) {
    if (!kept(std::strtoull(name.c_str(), nullptr, 10))) static_cast<void>(RemovePin(holds_ + "/" + name));
  }
}

Status Newcomers::Guard(std::chrono::nanoseconds duration) const {
  weft_newcomers facts = facts_;
  facts.guarded_until_ns = static_cast<uint64_t>((SinceBoot() + duration).count());
  return newcomers_.Set(0, facts);
}

Status Newcomers::Hold(const Cgroup& folder) const {
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, programs_.get()) {
    const std::string path = PinOf(folder.id, bpf_program__name(program));
    // An earlier agent's holds as well as ours, and its pod is the same: the kernel uses no id twice.
    if (UniqueFd(bpf_obj_get(path.c_str()))) continue;
    const bpf_attach_type type = bpf_program__expected_attach_type(program);
    const UniqueFd link(bpf_link_create(bpf_program__fd(program), folder.fd.get(), type, nullptr));
    if (!link) return Error{errno, "hold the connections of " + folder.path};
    if (bpf_obj_pin(link.get(), path.c_str()) != 0) return Error{errno, "pin " + path};
  }
  return Ok{};
}

void Newcomers::LetGo(uint64_t folder) const {
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, programs_.get()) {
    static_cast<void>(RemovePin(PinOf(folder, bpf_program__name(program))));
  }
}

std::string Newcomers::PinOf(uint64_t folder, const char* program) const {
  return holds_ + "/" + std::to_string(folder) + "_" + program;
}

}  // namespace weft
