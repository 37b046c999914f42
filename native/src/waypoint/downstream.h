#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "base/intrusive_list.h"
#include "waypoint/port.h"

namespace weft::waypoint {

class L7Worker;

// One connection or stream of a client, in one stage of its life: its protocol is being told, or it is spoken. Owns
// itself: Leave() retires it. In its worker's list.
class Downstream {
 public:
  Downstream(L7Worker& worker, std::shared_ptr<Port> port);
  Downstream(const Downstream&) = delete;
  Downstream& operator=(const Downstream&) = delete;
  virtual ~Downstream() = default;

  // Ends when what it is doing is done; takes nothing new.
  virtual void Drain() = 0;
  // Ends now.
  virtual void Abort() = 0;
  virtual size_t open_requests() const { return 0; }

 protected:
  // Out of the list, and destroyed after this turn. Nothing may be touched afterwards but by returning.
  void Leave();

  L7Worker& worker_;
  const std::shared_ptr<Port> port_;

 private:
  friend class L7Worker;
  ListLink<Downstream> link_;
};

}  // namespace weft::waypoint
