#include "l7/services.h"

#include "l7/exchange_pool.h"
#include "l7/mirror_request.h"

namespace weft::l7 {

LoopServices::LoopServices(LoopContext& loop_context, upstream::ClusterSet& cluster_set, RecordSink& record_sink,
                           telemetry::Hooks& telemetry_hooks)
    : context(loop_context),
      clusters(cluster_set),
      records(record_sink),
      hooks(telemetry_hooks),
      mirrors(std::make_unique<MirrorSet>(loop_context)),
      exchanges(std::make_unique<ExchangePool>(*this)) {}

LoopServices::~LoopServices() = default;

}  // namespace weft::l7
