#include "waypoint/downstream.h"

#include "waypoint/l7_worker.h"

namespace weft::waypoint {

Downstream::Downstream(L7Worker& worker, std::shared_ptr<Port> port)
    : worker_(worker), port_(std::move(port)), link_(this) {
  worker_.downstreams().PushBack(link_);
  worker_.Count(+1);
}

void Downstream::Leave() {
  link_.Unlink();
  worker_.Count(-1);
  worker_.context().loop.Retire(std::unique_ptr<Downstream>(this));
}

}  // namespace weft::waypoint
