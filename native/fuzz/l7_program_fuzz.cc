// Resources of the L7 program as a control plane sends them. Whatever the bytes are: a resource is taken or refused
// with a reason, and a program that came of it can be asked about requests.
#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "l7/program_store.h"
#include "upstream/cluster_catalog.h"

namespace {

using weft::l7::ResourceType;

constexpr ResourceType kTypes[] = {ResourceType::kSettings, ResourceType::kListener,  ResourceType::kDestination,
                                   ResourceType::kCluster,  ResourceType::kEndpoints, ResourceType::kPolicy,
                                   ResourceType::kJwt,      ResourceType::kTelemetry, ResourceType::kRouteGroup};

void Ask(const weft::l7::ChainProgram& chain) {
  if (!chain.http) return;
  for (const char* path : {"/", "/a/b?x=1", "*", ""}) {
    weft::Arena arena;
    weft::http::RequestHead request(arena);
    request.method = "GET";
    request.authority = "a.com:80";
    request.path = path;
    request.headers.Add("x-a", "1");
    const auto* host = chain.http->FindHost(request.authority);
    const auto* route = host == nullptr ? nullptr : host->Find({request, nullptr, "ns"});
    if (route == nullptr) continue;
    (void)route->forward.Draw(7);
    (void)route->forward.rewrite.Path(route->match, request.path, arena);
    (void)route->redirect.Location(route->match, request, "http", 80);
    weft::l7::FormatContext context;
    context.request = &request;
    route->request_headers.Apply(request.headers, context);
  }
}

}  // namespace

WEFT_FUZZ_TARGET("l7-program") {
  if (input.empty()) return;
  const ResourceType type = kTypes[input[0] % std::size(kTypes)];
  weft::upstream::ClusterCatalog catalog({});
  weft::l7::ProgramStore store(catalog);
  const weft::l7::ResourceUpdate update{type, "a", weft::fuzz::AsText(input.subspan(1))};
  for (const weft::l7::Rejection& each : store.Apply({&update, 1}, {})) FUZZ_CHECK(!each.reason.empty());
  const auto program = store.program();
  for (const auto& [_, entry] : program->by_address) Ask(*entry.chain);
  for (const auto& [_, listener] : program->listeners) Ask(*listener->chain);
  (void)catalog.snapshot();
}
