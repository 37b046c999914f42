#pragma once

#include "base/unique_fd.h"
#include "loop/epoll_loop.h"
#include "net/ip_address.h"

namespace weft {

// One loop's watch on one listening socket. All loops watch all listeners; the kernel wakes one of them.
class Acceptor final : public IoHandler {
 public:
  class Owner {
   public:
    virtual void OnAccepted(UniqueFd fd, const SocketAddress& peer) = 0;
    virtual void OnOutOfDescriptors() = 0;

   protected:
    ~Owner() = default;
  };

  // `fd` is somebody else's, and open until Close().
  Acceptor(EpollLoop& loop, int fd, Owner& owner);
  void OnIo(uint32_t events) override;
  // Stops accepting.
  void Close();

 private:
  void Resume();

  EpollLoop& loop_;
  Owner& owner_;
  int fd_;
  Timer retry_;
};

}  // namespace weft
