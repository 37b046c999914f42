#pragma once

#include "loop/epoll_loop.h"
#include "proxy/worker.h"

namespace weft {

// One loop's watch on one listener of a pod. All loops watch all listeners; the kernel wakes one of them.
class Acceptor final : public IoHandler {
 public:
  Acceptor(Worker& worker, PodState& pod, ListenerKind kind);
  void OnIo(uint32_t events) override;
  // Stops accepting; the listener itself is shared.
  void Close();

 private:
  void Resume();

  Worker& worker_;
  PodState& pod_;
  ListenerKind kind_;
  int fd_;
  Timer retry_;
};

}  // namespace weft
