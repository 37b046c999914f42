#include "upstream/balancer.h"

#include <algorithm>
#include <cmath>

namespace weft::upstream {
namespace {

// A level whose healthy share times this is one or more takes all of its traffic (Envoy's overprovisioning).
constexpr double kOverprovisioning = 1.4;
// Draws for one that is healthy and untried before all are looked through.
constexpr int kDraws = 4;
constexpr uint64_t kNever = UINT64_MAX;
// Loads are sums of fractions.
constexpr double kRounding = 1e-9;
// Weights that warm up are looked at so often in all, but not more often than this.
constexpr uint64_t kWarmSteps = 100;
constexpr uint64_t kWarmStepMs = 10;

bool Contains(const std::vector<size_t>& list, size_t value) { return std::ranges::find(list, value) != list.end(); }

// Envoy's slow start: from the minimum to all of the weight, along a power of the time.
double WarmShare(const WarmupConfig& warmup, uint64_t age_ms) {
  if (age_ms >= warmup.duration_ms) return 1;
  const double time = static_cast<double>(std::max<uint64_t>(age_ms, 1)) / static_cast<double>(warmup.duration_ms);
  return std::max(warmup.minimum_percent / 100.0, std::pow(time, 1 / warmup.aggression));
}

}  // namespace

Balancer::Balancer(std::shared_ptr<const ClusterEntry> cluster, uint32_t seed)
    : cluster_(std::move(cluster)), random_(seed) {
  const bool warms = cluster_->config->warmup && (cluster_->config->algorithm == Algorithm::kRoundRobin ||
                                                  cluster_->config->algorithm == Algorithm::kLeastRequest);
  warm_next_ms_ = warms ? 0 : kNever;
  for (size_t i = 0; i < cluster_->endpoints.size(); ++i) {
    const Placement& placement = cluster_->endpoints[i]->placement;
    if (placement.weight <= 0) continue;
    if (levels_.size() <= placement.priority) levels_.resize(placement.priority + 1);
    Level& level = levels_[placement.priority];
    level.uniform = level.uniform && (level.weights.empty() || level.weights.front() == placement.weight);
    level.members.push_back(i);
    level.weights.push_back(placement.weight);
  }
  for (Level& level : levels_) {
    level.turns.assign(level.members.size(), 0);
    // Loops begin at different places, so that few requests do not all go to the first.
    if (!level.members.empty()) level.next = random_() % level.members.size();
  }
}

bool Balancer::Healthy(size_t endpoint, uint64_t now_ms) const {
  return cluster_->endpoints[endpoint]->health->healthy(now_ms);
}

double Balancer::HealthyShare(const Level& level, uint64_t now_ms) const {
  if (level.members.empty()) return 0;
  if (now_ms >= cluster_->counters->ejections_until_ms.load(std::memory_order_relaxed)) return 1;
  const auto healthy = std::ranges::count_if(level.members, [&](size_t each) { return Healthy(each, now_ms); });
  return static_cast<double>(healthy) / static_cast<double>(level.members.size());
}

void Balancer::Warm(uint64_t now_ms) {
  const WarmupConfig& warmup = *cluster_->config->warmup;
  bool warming = false;
  for (Level& level : levels_) {
    level.uniform = true;
    for (size_t i = 0; i < level.members.size(); ++i) {
      const EndpointEntry& endpoint = *cluster_->endpoints[level.members[i]];
      const uint64_t age_ms = now_ms - std::min(now_ms, endpoint.health->since_ms);
      warming = warming || age_ms < warmup.duration_ms;
      level.weights[i] = endpoint.placement.weight * WarmShare(warmup, age_ms);
      level.uniform = level.uniform && level.weights[i] == level.weights.front();
    }
  }
  warm_next_ms_ = warming ? now_ms + std::max(kWarmStepMs, warmup.duration_ms / kWarmSteps) : kNever;
}

// Traffic goes to the first priority as far as its health carries it, then to the next. When all together cannot carry
// all of it, levels in which too few are well are used as if all were (unless that is switched off).
Balancer::Choice Balancer::ChooseLevel(const std::vector<size_t>& tried, bool other_priorities, uint64_t now_ms) {
  const uint32_t min_percent = cluster_->config->outlier ? cluster_->config->outlier->min_health_percent : 0;
  if (levels_.size() == 1) {
    const double share = HealthyShare(levels_.front(), now_ms);
    const bool panic = share * kOverprovisioning < 1 && share * 100 < min_percent;
    return {share > 0 || panic ? &levels_.front() : nullptr, panic};
  }
  shares_.clear();
  loads_.clear();
  double left = 1, total = 0;
  for (const Level& level : levels_) {
    shares_.push_back(HealthyShare(level, now_ms));
    loads_.push_back(std::min(left, shares_.back() * kOverprovisioning));
    left -= loads_.back();
    total += loads_.back();
  }
  if (other_priorities && !tried.empty()) {
    for (size_t i = 0; i < levels_.size(); ++i) {
      const auto used = [&](size_t each) { return Contains(tried, each); };
      if (shares_[i] > 0 && std::ranges::none_of(levels_[i].members, used)) return {&levels_[i], false};
    }
  }
  if (total <= 0) {
    if (min_percent == 0) return {};
    for (size_t i = 0; i < levels_.size(); ++i) {
      loads_[i] = static_cast<double>(levels_[i].members.size());
      total += loads_[i];
    }
  }
  double drawn = std::uniform_real_distribution<double>(0, total)(random_);
  for (size_t i = 0; i < levels_.size(); ++i) {
    drawn -= loads_[i];
    // The last one that gets anything also gets what rounding has left over.
    const bool last = i + 1 == levels_.size() || std::all_of(loads_.begin() + static_cast<ptrdiff_t>(i) + 1,
                                                             loads_.end(), [](double load) { return load <= 0; });
    if (loads_[i] > 0 && (drawn < 0 || last)) return {&levels_[i], left > kRounding && shares_[i] * 100 < min_percent};
  }
  return {};
}

size_t Balancer::Pick(std::optional<uint64_t> hash, const std::vector<size_t>& tried, bool other_priorities,
                      uint64_t now_ms) {
  if (levels_.empty()) return kNone;
  if (now_ms >= warm_next_ms_) Warm(now_ms);
  const Choice choice = ChooseLevel(tried, other_priorities, now_ms);
  if (choice.level == nullptr) return kNone;
  return PickIn(*choice.level, hash, choice.panic ? kNever : now_ms, tried);
}

size_t Balancer::PickIn(Level& level, std::optional<uint64_t> hash, uint64_t now_ms, const std::vector<size_t>& tried) {
  const auto fits = [&](size_t each) { return Healthy(each, now_ms) && !Contains(tried, each); };
  size_t picked = kNone;
  const Algorithm algorithm = cluster_->config->algorithm;
  if (hash && (algorithm == Algorithm::kRingHash || algorithm == Algorithm::kMaglev)) {
    picked = ByHash(level, *hash);
    // The next in the order of the table, for as long as its own is not to be had.
    for (uint64_t i = 1; i <= 32 && !fits(picked); ++i) picked = ByHash(level, HashText({}, *hash + i));
  } else if (algorithm == Algorithm::kRoundRobin) {
    picked = RoundRobin(level, now_ms, tried);
  } else if (algorithm == Algorithm::kLeastRequest) {
    picked = LeastRequest(level, now_ms, tried);
  } else {
    picked = Draw(level);
    for (int i = 0; i < kDraws && !fits(picked); ++i) picked = Draw(level);
  }
  if (fits(picked)) return picked;
  // Whoever is healthy, tried or not; untried ones first.
  size_t healthy = kNone;
  const size_t start = random_() % level.members.size();
  for (size_t i = 0; i < level.members.size(); ++i) {
    const size_t each = level.members[(start + i) % level.members.size()];
    if (fits(each)) return each;
    if (Healthy(each, now_ms)) healthy = each;
  }
  return healthy;
}

size_t Balancer::Draw(const Level& level) {
  if (level.uniform) return level.members[random_() % level.members.size()];
  double total = 0;
  for (const double each : level.weights) total += each;
  double drawn = std::uniform_real_distribution<double>(0, total)(random_);
  for (size_t i = 0; i < level.members.size(); ++i) {
    if (drawn < level.weights[i]) return level.members[i];
    drawn -= level.weights[i];
  }
  return level.members.back();
}

size_t Balancer::LeastRequest(const Level& level, uint64_t now_ms, const std::vector<size_t>& tried) {
  const auto active = [&](size_t each) {
    return cluster_->endpoints[each]->health->active_requests.load(std::memory_order_relaxed);
  };
  const auto usable = [&](size_t each) { return Healthy(each, now_ms) && !Contains(tried, each); };
  const size_t a = Draw(level), b = Draw(level);
  if (!usable(a)) return b;
  if (!usable(b)) return a;
  return active(b) < active(a) ? b : a;
}

size_t Balancer::RoundRobin(Level& level, uint64_t now_ms, const std::vector<size_t>& tried) {
  const size_t n = level.members.size();
  if (level.uniform) {
    for (size_t i = 0; i < n; ++i) {
      const size_t each = level.members[level.next++ % n];
      if (Healthy(each, now_ms) && !Contains(tried, each)) return each;
    }
    return level.members[level.next++ % n];
  }
  double total = 0;
  size_t best = kNone;
  for (size_t i = 0; i < n; ++i) {
    if (!Healthy(level.members[i], now_ms) || Contains(tried, level.members[i])) continue;
    level.turns[i] += level.weights[i];
    total += level.weights[i];
    if (best == kNone || level.turns[i] > level.turns[best]) best = i;
  }
  if (best == kNone) return level.members.front();
  level.turns[best] -= total;
  return level.members[best];
}

size_t Balancer::ByHash(Level& level, uint64_t hash) {
  if (!level.ring && !level.maglev) {
    std::vector<std::string> keys;
    for (const size_t each : level.members) keys.push_back(cluster_->endpoints[each]->config.address_text);
    if (cluster_->config->algorithm == Algorithm::kRingHash) {
      level.ring = std::make_unique<HashRing>(keys, level.weights, cluster_->config->min_ring_size);
    } else {
      level.maglev = std::make_unique<MaglevTable>(keys, level.weights, cluster_->config->maglev_table_size);
    }
  }
  return level.members[level.ring ? level.ring->Pick(hash) : level.maglev->Pick(hash)];
}

}  // namespace weft::upstream
