#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "base/unique_fd.h"

namespace weft {

// An open network namespace. Identity is device and inode, as for any nsfs file.
class NetNs {
 public:
  static Result<NetNs> Open(const char* path);
  int fd() const { return fd_.get(); }
  bool SameAs(const NetNs& other) const { return dev_ == other.dev_ && ino_ == other.ino_; }
  // Number that the kernel never uses again (SO_NETNS_COOKIE).
  Result<uint64_t> Cookie() const;

 private:
  UniqueFd fd_;
  uint64_t dev_ = 0;
  uint64_t ino_ = 0;
};

// Runs `work` on a scratch thread inside `ns`, so that the caller's namespace never changes. Waits for it.
Status RunInNetNs(const NetNs& ns, const std::function<Status()>& work);

// The network namespace that one loop's thread is in. Dialling needs the pod's; staying there until another pod's
// is needed saves two system calls per connection on a node with few pods.
class ThreadNetNs {
 public:
  // Call on the thread itself.
  static Result<ThreadNetNs> OfThisThread();
  Status Enter(const NetNs& ns);
  // Goes home when the thread is in `ns`, so that a removed pod's namespace is not kept alive.
  void Leave(const NetNs& ns);

 private:
  NetNs home_;
  const NetNs* current_ = nullptr;
};

}  // namespace weft
