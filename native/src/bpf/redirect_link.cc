#include "bpf/redirect_link.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "bpf/bpffs.h"

namespace weft {
namespace {

// Not in the headers that we build with (linux/bpf.h of 6.6).
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
constexpr uint32_t kLinkTypeTcx = 11;
// BPF_MPROG_MAX of the kernel.
constexpr size_t kMaxPrograms = 64;

// bpf_link_info.tcx, which begins where the other types' part does.
struct TcxInfo {
  uint32_t ifindex;
  uint32_t attach_type;
};

bool Query(uint32_t ifindex, TcxPoint point, std::vector<uint32_t>* ids) {
  std::array<uint32_t, kMaxPrograms> found{};
  auto count = static_cast<uint32_t>(found.size());
  const bpf_attach_type type = point == TcxPoint::kIngress ? kTcxIngress : kTcxEgress;
  // The kernel reads the ifindex where it reads the descriptor of other attach points.
  if (bpf_prog_query(static_cast<int>(ifindex), type, 0, nullptr, found.data(), &count) != 0) return false;
  ids->assign(found.begin(), found.begin() + count);
  return true;
}

}  // namespace

bool HasTcx() {
  std::vector<uint32_t> ids;
  return Query(if_nametoindex("lo"), TcxPoint::kIngress, &ids);
}

std::vector<uint32_t> TcxPrograms(uint32_t ifindex, TcxPoint point) {
  std::vector<uint32_t> ids;
  Query(ifindex, point, &ids);
  return ids;
}

std::string ProgramName(uint32_t id) {
  const UniqueFd fd(bpf_prog_get_fd_by_id(id));
  bpf_prog_info info{};
  uint32_t length = sizeof(info);
  if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &length) != 0) return std::to_string(id);
  return info.name;
}

std::optional<TcxLink> TcxLink::Adopt(const std::string& path) {
  TcxLink link;
  link.fd_ = UniqueFd(bpf_obj_get(path.c_str()));
  if (!link.fd_) return std::nullopt;
  return link;
}

Result<TcxLink> TcxLink::Attach(int program_fd, uint32_t ifindex, const std::string& path) {
  TcxLink link;
  link.fd_ = UniqueFd(bpf_link_create(program_fd, static_cast<int>(ifindex), kTcxIngress, nullptr));
  if (!link.fd_) return Error{errno, "attach a tcx program"};
  const std::string fresh = path + "_new";
  unlink(fresh.c_str());
  if (bpf_obj_pin(link.fd_.get(), fresh.c_str()) != 0) return Error{errno, "pin " + path};
  if (const Status removed = RemovePin(path); !removed) return removed.error();
  if (rename(fresh.c_str(), path.c_str()) != 0) return Error{errno, "pin " + path};
  return link;
}

uint32_t TcxLink::ifindex() const {
  bpf_link_info info{};
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd_.get(), &info, &length) != 0 || info.type != kLinkTypeTcx) return 0;
  return reinterpret_cast<const TcxInfo*>(&info.raw_tracepoint)->ifindex;
}

uint32_t TcxLink::program_id() const {
  bpf_link_info info{};
  uint32_t length = sizeof(info);
  return bpf_obj_get_info_by_fd(fd_.get(), &info, &length) == 0 ? info.prog_id : 0;
}

Status TcxLink::Update(int program_fd) const {
  return bpf_link_update(fd_.get(), program_fd, nullptr) == 0 ? Status(Ok{}) : Error{errno, "update a tcx program"};
}

}  // namespace weft
