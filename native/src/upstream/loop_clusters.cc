#include "upstream/loop_clusters.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "upstream/balancer.h"
#include "upstream/connector.h"
#include "upstream/hash_key.h"
#include "upstream/http_pool.h"
#include "upstream/outlier.h"
#include "upstream/session.h"

namespace weft::upstream {
namespace {

class LoopCluster;

// One endpoint on this loop: its pools. Kept by its cluster, by attempts and by records.
class LoopEndpoint final : public Endpoint {
 public:
  // The last to let go of one may be inside a call of its pools: it is destroyed after the turn.
  static std::shared_ptr<LoopEndpoint> Make(const std::shared_ptr<Connector>& connector,
                                            const std::shared_ptr<const ClusterEntry>& cluster,
                                            std::shared_ptr<const EndpointEntry> entry) {
    return {new LoopEndpoint(connector, cluster, std::move(entry)), [connector](LoopEndpoint* gone) {
              std::unique_ptr<LoopEndpoint> owned(gone);
              if (!connector->closed()) connector->context().loop.Retire(std::move(owned));
            }};
  }

  const SocketAddress& address() const override { return entry_->config.address; }
  std::string_view address_text() const override { return entry_->config.address_text; }
  const WorkloadFacts& workload() const override { return entry_->config.workload; }
  bool tunnel() const override { return entry_->config.tunnel; }

  HttpPool& pool(bool http2) { return pools_.of(http2); }
  // Those of one of many hosts: what is connected under one name is for no other. Null: too many names are in use.
  HttpPool* pool(bool http2, const std::string& name) {
    const auto known = named_.find(name);
    if (known != named_.end()) return &known->second->of(http2);
    if (named_.size() >= kMaxNames) ForgetIdleNames();
    if (named_.size() >= kMaxNames) return nullptr;
    auto made = std::make_unique<Pools>(connector_, cluster_, entry_, name);
    if (draining_) made->Drain();
    return &named_.emplace(name, std::move(made)).first->second->of(http2);
  }
  const EndpointEntry& entry() const { return *entry_; }
  EndpointHealth& health() const { return *entry_->health; }
  void SetCluster(const std::shared_ptr<const ClusterEntry>& cluster) {
    cluster_ = cluster;
    pools_.SetCluster(cluster);
    for (auto& [_, each] : named_) each->SetCluster(cluster);
  }
  void Drain() {
    draining_ = true;
    pools_.Drain();
    for (auto& [_, each] : named_) each->Drain();
  }
  uint32_t connections() const {
    size_t n = pools_.connections();
    for (const auto& [_, each] : named_) n += each->connections();
    return static_cast<uint32_t>(n);
  }

 private:
  struct Pools {
    Pools(const std::shared_ptr<Connector>& connector, const std::shared_ptr<const ClusterEntry>& cluster,
          const std::shared_ptr<const EndpointEntry>& entry, const std::string& name)
        : http1(connector, cluster, entry, false, name), http2(connector, cluster, entry, true, name) {}
    HttpPool& of(bool is_http2) { return is_http2 ? http2 : http1; }
    void SetCluster(const std::shared_ptr<const ClusterEntry>& cluster) {
      http1.SetCluster(cluster);
      http2.SetCluster(cluster);
    }
    void Drain() {
      http1.Drain();
      http2.Drain();
    }
    size_t connections() const { return http1.connections() + http2.connections(); }
    bool busy() const { return http1.busy() || http2.busy(); }

    HttpPool http1;
    HttpPool http2;
  };
  // Clients choose the names; beyond these, idle ones go.
  static constexpr size_t kMaxNames = 64;

  void ForgetIdleNames() {
    for (auto each = named_.begin(); each != named_.end();) {
      if (each->second->busy()) {
        ++each;
        continue;
      }
      // It may be the one that has just told of a failure, and is not done with it.
      connector_->context().loop.Retire(std::move(each->second));
      each = named_.erase(each);
    }
  }

  LoopEndpoint(const std::shared_ptr<Connector>& connector, const std::shared_ptr<const ClusterEntry>& cluster,
               std::shared_ptr<const EndpointEntry> entry)
      : connector_(connector),
        cluster_(cluster),
        entry_(std::move(entry)),
        pools_(connector, cluster, entry_, cluster->config->service_hostname) {}

  std::shared_ptr<Connector> connector_;
  std::shared_ptr<const ClusterEntry> cluster_;
  std::shared_ptr<const EndpointEntry> entry_;
  Pools pools_;
  std::map<std::string, std::unique_ptr<Pools>> named_;
  bool draining_ = false;
};

// The host of an authority, if it is one of those that `wildcard` stands for; else empty.
std::string HostUnder(const std::string& wildcard, std::string_view authority) {
  const size_t colon = authority.rfind(':');
  std::string host(authority.substr(0, colon));
  std::ranges::transform(host, host.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const std::string_view suffix = std::string_view(wildcard).substr(1);
  return host.size() > suffix.size() && host.ends_with(suffix) ? host : std::string();
}

class LoopAttempt final : public Attempt {
 public:
  LoopAttempt(LoopContext& context, std::shared_ptr<const ClusterEntry> cluster, std::shared_ptr<LoopEndpoint> endpoint)
      : context_(context), cluster_(std::move(cluster)), endpoint_(std::move(endpoint)), as_endpoint_(endpoint_) {
    endpoint_->health().active_requests.fetch_add(1, std::memory_order_relaxed);
  }
  ~LoopAttempt() override {
    GiveOne(endpoint_->health().active_requests);
    GiveOne(cluster_->counters->requests);
  }
  const EndpointRef& endpoint() const override { return as_endpoint_; }
  void Connect(http::Protocol downstream, std::string_view authority, PoolWaiter& waiter) override {
    const ClusterConfig& config = *cluster_->config;
    const bool http2 = config.http == ClusterConfig::Http::kHttp2 ||
                       (config.http == ClusterConfig::Http::kDownstream && downstream == http::Protocol::kHttp2);
    // TLS in one name, or none at all.
    if (!config.tls || !config.tls->client || !config.tls->sni.empty()) return endpoint_->pool(http2).Request(waiter);
    const std::string name = HostUnder(config.service_hostname, authority);
    if (name.empty()) return endpoint_->pool(http2).Request(waiter);
    HttpPool* const pool = endpoint_->pool(http2, name);
    if (pool == nullptr) return waiter.OnPoolFailure(PoolFailure::kOverflow, "too many hosts are in use");
    pool->Request(waiter);
  }
  void Report(const Outcome& outcome) override {
    if (!cluster_->config->outlier) return;
    TakeOutcome(*cluster_, outcome, endpoint_->health(), context_.loop.now_ms());
  }

 private:
  LoopContext& context_;
  std::shared_ptr<const ClusterEntry> cluster_;
  std::shared_ptr<LoopEndpoint> endpoint_;
  EndpointRef as_endpoint_;
};

class LoopCluster final : public Cluster {
 public:
  LoopCluster(std::shared_ptr<Connector> connector, std::shared_ptr<const ClusterEntry> entry, uint32_t seed)
      : connector_(std::move(connector)), entry_(entry), balancer_(entry, seed), random_(seed) {
    Follow(std::move(entry));
  }

  // False: this is another cluster of the same name, which counts on its own.
  bool Follows(const ClusterEntry& entry) const { return entry.counters == entry_->counters; }
  void Update(std::shared_ptr<const ClusterEntry> entry) {
    if (entry == entry_) return;
    balancer_ = Balancer(entry, static_cast<uint32_t>(random_()));
    Follow(std::move(entry));
  }
  void Drain() {
    for (auto& each : endpoints_) each->Drain();
    for (auto& [_, each] : originals_) each->Drain();
  }

  const std::string& name() const override { return entry_->config->name; }
  const std::string& service_hostname() const override { return entry_->config->service_hostname; }
  const std::string& service_namespace() const override { return entry_->config->service_namespace; }
  const std::string& service_name() const override { return entry_->config->service_name; }
  size_t endpoint_count() const override { return endpoints_.size(); }
  uint64_t tcp_idle_ms() const override { return entry_->config->tcp_idle_ms; }
  uint64_t max_connection_duration_ms() const override { return entry_->config->max_connection_duration_ms; }

  EndpointRef Pick(const PickContext& context) override {
    if (entry_->config->original_destination) return OriginalDestination(context.original_destination);
    const uint64_t now = loop().now_ms();
    tried_.clear();
    for (const EndpointRef& each : context.tried) {
      for (size_t i = 0; i < endpoints_.size(); ++i) {
        if (endpoints_[i].get() == each.get()) tried_.push_back(i);
      }
    }
    if (entry_->config->session && context.request != nullptr) return PickBySession(context, now);
    return At(PickByAlgorithm(context, now));
  }

  std::unique_ptr<Attempt> Begin(EndpointRef endpoint) override {
    if (!TakeOne(entry_->counters->requests, entry_->config->max_requests)) return nullptr;
    // Every endpoint that this cluster gave out is one of its own kind.
    return std::make_unique<LoopAttempt>(connector_->context(), entry_,
                                         std::static_pointer_cast<LoopEndpoint>(std::move(endpoint)));
  }

  std::unique_ptr<ByteStream> Open(EndpointRef endpoint, const StreamInfo& downstream) override;

  bool MayRetry() override {
    const ClusterConfig& config = *entry_->config;
    std::atomic<uint32_t>& retries = entry_->counters->retries;
    if (!config.retry_budget) return TakeOne(retries, config.max_retries);
    const uint64_t share = uint64_t{entry_->counters->requests.load(std::memory_order_relaxed)} *
                           config.retry_budget->percent_ppm / 1'000'000;
    const auto limit = static_cast<uint32_t>(std::max<uint64_t>(config.retry_budget->min_concurrency, share));
    return limit != 0 && TakeOne(retries, limit);
  }
  void RetryEnded() override { GiveOne(entry_->counters->retries); }

  ClusterStats Stats() const {
    ClusterStats stats{name(), {}};
    const uint64_t now = MonotonicMs();
    for (const auto& each : endpoints_) {
      stats.endpoints.push_back({std::string(each->address_text()),
                                 each->health().active_requests.load(std::memory_order_relaxed), each->connections(),
                                 !each->health().healthy(now)});
    }
    return stats;
  }

 private:
  EndpointRef At(size_t picked) const { return picked == Balancer::kNone ? nullptr : endpoints_[picked]; }
  size_t PickByAlgorithm(const PickContext& context, uint64_t now) {
    const std::optional<uint64_t> hash =
        entry_->config->hash.empty() ? std::nullopt : HashOf(*entry_->config, context, random_());
    return balancer_.Pick(hash, tried_, context.other_priorities, now);
  }
  // As the request names one that is well, else whom the algorithm chooses, who is then named in the answer.
  EndpointRef PickBySession(const PickContext& context, uint64_t now) {
    const SessionConfig& session = *entry_->config->session;
    const uint64_t unix_ms = UnixMs();
    if (const std::optional<uint64_t> id = SessionIn(session, *context.request, unix_ms)) {
      const auto found = by_session_.find(*id);
      if (found != by_session_.end() && endpoints_[found->second]->health().healthy(now) &&
          std::ranges::find(tried_, found->second) == tried_.end()) {
        return endpoints_[found->second];
      }
    }
    const size_t picked = PickByAlgorithm(context, now);
    if (picked != Balancer::kNone && context.answer != nullptr) {
      WriteSession(session, SessionIdOf(endpoints_[picked]->address_text()), unix_ms, *context.answer);
    }
    return At(picked);
  }

  // Endpoints that stay keep their pools, unless what their connections prove is another thing now.
  void Follow(std::shared_ptr<const ClusterEntry> entry) {
    const bool same_tls = SettingsOf(*entry_) == SettingsOf(*entry);
    entry_ = std::move(entry);
    std::unordered_map<std::string_view, std::shared_ptr<LoopEndpoint>> known;
    for (auto& each : endpoints_) known.emplace(each->address_text(), each);
    std::vector<std::shared_ptr<LoopEndpoint>> next;
    for (const auto& each : entry_->endpoints) {
      const auto found = known.find(each->config.address_text);
      const bool same = same_tls && found != known.end() && found->second->tunnel() == each->config.tunnel &&
                        found->second->entry().config.identities == each->config.identities &&
                        found->second->entry().health == each->health;
      if (same) {
        found->second->SetCluster(entry_);
        next.push_back(found->second);
        known.erase(found);
      } else {
        next.push_back(LoopEndpoint::Make(connector_, entry_, each));
      }
    }
    for (auto& [_, gone] : known) gone->Drain();
    endpoints_ = std::move(next);
    if (!same_tls) {
      for (auto& [_, gone] : originals_) gone->Drain();
      originals_.clear();
    }
    for (auto& [_, each] : originals_) each->SetCluster(entry_);
    by_session_.clear();
    if (!entry_->config->session) return;
    for (size_t i = 0; i < endpoints_.size(); ++i) by_session_.emplace(SessionIdOf(endpoints_[i]->address_text()), i);
  }

  static std::string_view SettingsOf(const ClusterEntry& entry) {
    return entry.config->tls ? std::string_view(entry.config->tls->settings) : std::string_view();
  }

  EndpointRef OriginalDestination(const SocketAddress& address) {
    if (address.port == 0) return nullptr;
    std::shared_ptr<LoopEndpoint>& known = originals_[address];
    if (!known) {
      // Bounded: what nobody has asked for lately goes all at once.
      if (originals_.size() > kMaxOriginals) originals_.clear();
      auto made = std::make_shared<EndpointEntry>();
      made->config.address = address;
      made->config.address_text = address.ToString();
      made->health = std::make_shared<EndpointHealth>();
      std::shared_ptr<LoopEndpoint>& slot = originals_[address];
      slot = LoopEndpoint::Make(connector_, entry_, std::move(made));
      return slot;
    }
    return known;
  }

  static constexpr size_t kMaxOriginals = 4096;

  EpollLoop& loop() const { return connector_->context().loop; }

  std::shared_ptr<Connector> connector_;
  std::shared_ptr<const ClusterEntry> entry_;
  Balancer balancer_;
  std::minstd_rand random_;
  std::vector<std::shared_ptr<LoopEndpoint>> endpoints_;
  std::unordered_map<SocketAddress, std::shared_ptr<LoopEndpoint>> originals_;
  std::unordered_map<uint64_t, size_t> by_session_;  // only with session persistence
  std::vector<size_t> tried_;
};

// A stream that counts among the cluster's connections for as long as it lives.
class CountedStream final : public ByteStream, private ByteStream::Handler {
 public:
  CountedStream(std::unique_ptr<ByteStream> stream, std::shared_ptr<ClusterCounters> counters,
                std::shared_ptr<Endpoint> endpoint)
      : stream_(std::move(stream)), counters_(std::move(counters)), endpoint_(std::move(endpoint)) {
    stream_->set_handler(this);
    info_ = stream_->info();
  }
  ~CountedStream() override { GiveOne(counters_->connections); }

  Status Begin() override { return stream_->Begin(); }
  void Write(std::span<const uint8_t> bytes) override { stream_->Write(bytes); }
  Buffer& out() override { return stream_->out(); }
  void WriteSoon() override { stream_->WriteSoon(); }
  size_t WriteRoom() const override { return stream_->WriteRoom(); }
  void PauseReads() override { stream_->PauseReads(); }
  void ResumeReads() override { stream_->ResumeReads(); }
  void FinishWrites() override { stream_->FinishWrites(); }
  void Close() override { stream_->Close(); }
  void Abort() override {
    handler_ = nullptr;
    stream_->Abort();
  }

 private:
  void OnStreamUp() override {
    info_ = stream_->info();
    handler_->OnStreamUp();
  }
  void OnBytes(std::span<const uint8_t> bytes) override { handler_->OnBytes(bytes); }
  void OnReadEnd() override { handler_->OnReadEnd(); }
  void OnWritable() override { handler_->OnWritable(); }
  void OnStreamDown(StreamEnd end, std::string_view detail) override {
    if (handler_ != nullptr) handler_->OnStreamDown(end, detail);
  }

  std::unique_ptr<ByteStream> stream_;
  std::shared_ptr<ClusterCounters> counters_;
  std::shared_ptr<Endpoint> endpoint_;
};

std::unique_ptr<ByteStream> LoopCluster::Open(EndpointRef endpoint, const StreamInfo& downstream) {
  if (!TakeOne(entry_->counters->connections, entry_->config->max_connections)) return nullptr;
  const auto& chosen = static_cast<LoopEndpoint&>(*endpoint);
  const std::string& name = downstream.sni.empty() ? entry_->config->service_hostname : downstream.sni;
  return std::make_unique<CountedStream>(
      connector_->Open(*entry_->config, chosen.entry().config, name, {}, &downstream), entry_->counters,
      std::move(endpoint));
}

class Clusters final : public LoopClusters {
 public:
  Clusters(LoopContext& context, const CatalogOptions& options)
      : connector_(std::make_shared<Connector>(context, options)), random_(std::random_device{}()) {}

  ~Clusters() override { connector_->Close(); }

  std::shared_ptr<Cluster> Find(std::string_view name) override {
    const auto found = clusters_.find(name);
    if (found != clusters_.end()) return found->second;
    if (!snapshot_) return nullptr;
    // Made when it is first used: a proxy knows many clusters and talks to few.
    const auto entry = snapshot_->clusters.find(std::string(name));
    if (entry == snapshot_->clusters.end()) return nullptr;
    auto cluster = std::make_shared<LoopCluster>(connector_, entry->second, static_cast<uint32_t>(random_()));
    clusters_.emplace(std::string(name), cluster);
    return cluster;
  }

  void Publish(std::shared_ptr<const ClusterSnapshot> snapshot) override {
    if (snapshot == snapshot_) return;
    snapshot_ = std::move(snapshot);
    for (auto each = clusters_.begin(); each != clusters_.end();) {
      const auto entry = snapshot_->clusters.find(each->first);
      if (entry == snapshot_->clusters.end() || !each->second->Follows(*entry->second)) {
        each->second->Drain();
        each = clusters_.erase(each);
      } else {
        each->second->Update(entry->second);
        ++each;
      }
    }
  }
  void SetIdentity(std::shared_ptr<const IdentityContext> identity) override {
    connector_->SetIdentity(std::move(identity));
  }
  std::vector<ClusterStats> Stats() const override {
    std::vector<ClusterStats> stats;
    for (const auto& [_, cluster] : clusters_) stats.push_back(cluster->Stats());
    return stats;
  }
  void Drain() override {
    for (auto& [_, cluster] : clusters_) cluster->Drain();
    connector_->Drain();
  }

 private:
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  // Endpoints that somebody still holds keep it, too.
  std::shared_ptr<Connector> connector_;
  std::shared_ptr<const ClusterSnapshot> snapshot_;
  std::unordered_map<std::string, std::shared_ptr<LoopCluster>, TextHash, std::equal_to<>> clusters_;
  std::minstd_rand random_;
};

}  // namespace

std::unique_ptr<LoopClusters> MakeLoopClusters(LoopContext& context, const CatalogOptions& options) {
  return std::make_unique<Clusters>(context, options);
}

}  // namespace weft::upstream
