#pragma once

#include <memory>

#include "l7/date_cache.h"
#include "l7/record.h"
#include "l7/request_buffer.h"
#include "loop/loop_context.h"
#include "security/security_filter.h"
#include "telemetry/hooks.h"
#include "telemetry/random.h"
#include "upstream/cluster.h"

namespace weft::l7 {

class ExchangePool;
class MirrorSet;

// What exchanges need of their loop. One per loop; outlives all its frontends.
struct LoopServices {
  LoopServices(LoopContext& loop_context, upstream::ClusterSet& cluster_set, RecordSink& record_sink,
               telemetry::Hooks& telemetry_hooks);
  ~LoopServices();

  LoopContext& context;
  upstream::ClusterSet& clusters;
  RecordSink& records;
  telemetry::Hooks& hooks;
  security::SecurityLoop security;
  telemetry::Random random;
  DateCache date;
  RetainBudget retained;
  std::unique_ptr<MirrorSet> mirrors;
  std::unique_ptr<ExchangePool> exchanges;
};

}  // namespace weft::l7
