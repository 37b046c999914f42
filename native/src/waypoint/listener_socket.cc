#include "waypoint/listener_socket.h"

#include <utility>

#include "waypoint/l7_worker.h"

namespace weft::waypoint {

LoopListener::LoopListener(L7Worker& worker, std::shared_ptr<const ListenerSocket> socket)
    : worker_(worker), socket_(std::move(socket)), acceptor_(worker.context().loop, socket_->fd->get(), *this) {}

void LoopListener::OnAccepted(UniqueFd fd, const SocketAddress& peer) {
  worker_.Place(socket_->name, std::move(fd), peer);
}

}  // namespace weft::waypoint
