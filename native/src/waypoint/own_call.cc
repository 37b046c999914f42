#include "waypoint/own_call.h"

#include <utility>

#include "waypoint/l7_worker.h"

namespace weft::waypoint {

OwnAnswer::~OwnAnswer() {
  security::CallAnswer none;
  none.failure = "the engine is closed";
  Tell(std::move(none));
}

void OwnAnswer::Tell(security::CallAnswer answer) {
  if (done_) std::exchange(done_, nullptr)(std::move(answer));
}

void OwnCall::Start(L7Worker& worker, const std::string& cluster, security::CallRequest request,
                    std::shared_ptr<OwnAnswer> answer) {
  auto* const call = new OwnCall(worker, std::move(request), std::move(answer));
  worker.own_calls().PushBack(call->link_);
  call->call_.Start(worker.clusters(), cluster);
}

OwnCall::OwnCall(L7Worker& worker, security::CallRequest request, std::shared_ptr<OwnAnswer> answer)
    : worker_(worker),
      answer_(std::move(answer)),
      call_(worker.context(), static_cast<security::ServiceCall::Owner&>(*this), std::move(request)),
      link_(this) {}

void OwnCall::OnAnswer(security::CallAnswer answer) {
  answer_->Tell(std::move(answer));
  link_.Unlink();
  worker_.context().loop.Retire(std::unique_ptr<OwnCall>(this));
}

}  // namespace weft::waypoint
