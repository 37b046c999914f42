#include "security/rate_limit.h"

#include <algorithm>
#include <optional>

#include "l7.pb.h"
#include "ratelimit.pb.h"
#include "security/service_call.h"

namespace weft::security {
namespace {

namespace pb = envoy::service::ratelimit::v3;

constexpr std::string_view kShouldRateLimitPath = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
// Envoy's default: a limiter must not be what makes requests slow.
constexpr uint64_t kDefaultTimeoutMs = 20;
constexpr uint32_t kMillion = 1'000'000;

Result<std::shared_ptr<const LocalLimit>> CompileLocal(const l7::LocalRateLimit& from) {
  if (from.tokens() == 0 || from.fill_interval_ms() == 0) {
    return Error{EINVAL, "a local rate limit needs tokens and a fill interval"};
  }
  auto limit =
      std::make_shared<LocalLimit>(from.tokens(), std::max(from.tokens_per_fill(), 1u), from.fill_interval_ms());
  if (from.status() != 0) limit->status = static_cast<uint16_t>(from.status());
  limit->enabled_ppm = from.enabled_ppm();
  limit->spare_own_bucket = from.spare_own_bucket();
  for (const l7::DescriptorBucket& each : from.descriptors()) {
    if (each.tokens() == 0 || each.fill_interval_ms() == 0) {
      return Error{EINVAL, "a descriptor of a local rate limit needs tokens and a fill interval"};
    }
    LimitDescriptor descriptor;
    for (const auto& entry : each.entries()) descriptor.emplace_back(entry.key(), entry.value());
    limit->descriptors.push_back(std::make_unique<DescriptorLimit>(
        std::move(descriptor), each.tokens(), std::max(each.tokens_per_fill(), 1u), each.fill_interval_ms()));
  }
  for (const l7::HeaderValue& each : from.response_headers().set())
    limit->response_headers.emplace_back(each.name(), each.value());
  for (const l7::HeaderValue& each : from.response_headers().add())
    limit->response_headers.emplace_back(each.name(), each.value());
  return std::shared_ptr<const LocalLimit>(std::move(limit));
}

Result<LimitEntry> CompileEntry(const l7::RateLimitEntry& from) {
  LimitEntry entry;
  entry.key = from.key();
  entry.skip_if_absent = from.skip_if_absent();
  switch (from.value_case()) {
    case l7::RateLimitEntry::kLiteral:
      entry.value = from.literal();
      return entry;
    case l7::RateLimitEntry::kHeader:
      entry.kind = LimitEntry::Kind::kHeader;
      entry.value = from.header();
      return entry;
    case l7::RateLimitEntry::kRemoteAddress:
      entry.kind = LimitEntry::Kind::kRemoteAddress;
      return entry;
    case l7::RateLimitEntry::kPath:
      entry.kind = LimitEntry::Kind::kPath;
      return entry;
    case l7::RateLimitEntry::kHeaderValueMatch:
      entry.kind = LimitEntry::Kind::kHeaderValueMatch;
      entry.value = from.header_value_match().value();
      entry.expect_match = from.header_value_match().expect_match();
      for (const l7::HeaderMatch& each : from.header_value_match().headers()) {
        Result<l7::HeaderMatcher> header = l7::HeaderMatcher::Compile(each);
        if (!header) return header.error();
        entry.headers.push_back(std::move(*header));
      }
      return entry;
    case l7::RateLimitEntry::VALUE_NOT_SET:
      break;
  }
  return Error{EINVAL, "rate limit entry \"" + from.key() + "\" has no value that is known here"};
}

Status CompileDescriptors(const google::protobuf::RepeatedPtrField<l7::RateLimitDescriptor>& from,
                          std::vector<std::vector<LimitEntry>>& into) {
  for (const l7::RateLimitDescriptor& descriptor : from) {
    std::vector<LimitEntry>& entries = into.emplace_back();
    for (const l7::RateLimitEntry& each : descriptor.entries()) {
      Result<LimitEntry> entry = CompileEntry(each);
      if (!entry) return entry.error();
      entries.push_back(std::move(*entry));
    }
  }
  return Ok{};
}

class RateLimitFilter final : public l7::Filter, private ServiceCall::Owner {
 public:
  RateLimitFilter(std::shared_ptr<const RateLimitProgram> chain, std::shared_ptr<const RateLimitProgram> route)
      : chain_(std::move(chain)), route_(std::move(route)) {
    for (const auto* program : {chain_.get(), route_.get()}) {
      if (program == nullptr) continue;
      for (const GlobalLimit& each : program->global) globals_.push_back(&each);
    }
  }

  l7::Next OnRequest(l7::FilterContext& context) override {
    context_ = &context;
    const LocalLimit* local = route_ != nullptr && route_->local ? route_->local.get()
                              : chain_ != nullptr                ? chain_->local.get()
                                                                 : nullptr;
    if (local != nullptr && context.Random() % kMillion < local->enabled_ppm &&
        !local->Take(LocalDescriptors(*local), context.now_ms())) {
      RefuseLocally(*local);
      return l7::Next::kDone;
    }
    return AskNext() ? l7::Next::kWait : l7::Next::kContinue;
  }

 private:
  // False: nobody is left to ask.
  bool AskNext() {
    while (asked_ < globals_.size()) {
      const GlobalLimit& global = *globals_[asked_++];
      pb::RateLimitRequest request;
      request.set_domain(global.domain);
      for (const LimitDescriptor& descriptor : DescriptorsOf(global.descriptors)) {
        pb::RateLimitDescriptor* added = request.add_descriptors();
        for (const auto& [key, value] : descriptor) {
          pb::RateLimitDescriptor::Entry* entry = added->add_entries();
          entry->set_key(key);
          entry->set_value(value);
        }
      }
      if (request.descriptors_size() == 0) continue;
      call_ = std::make_unique<ServiceCall>(context_->loop(), static_cast<ServiceCall::Owner&>(*this),
                                            CallRequest{.path = std::string(kShouldRateLimitPath),
                                                        .authority = global.authority,
                                                        .headers = {},
                                                        .body = request.SerializeAsString(),
                                                        .grpc = true,
                                                        .timeout_ms = global.timeout_ms});
      call_->Start(context_->clusters(), global.cluster);
      return true;
    }
    return false;
  }

  std::vector<LimitDescriptor> LocalDescriptors(const LocalLimit& local) {
    if (local.descriptors.empty()) return {};
    const bool own = route_ != nullptr && !route_->local_descriptors.empty();
    if (own) return DescriptorsOf(route_->local_descriptors);
    return chain_ == nullptr ? std::vector<LimitDescriptor>() : DescriptorsOf(chain_->local_descriptors);
  }

  std::vector<LimitDescriptor> DescriptorsOf(const std::vector<std::vector<LimitEntry>>& all) {
    std::vector<LimitDescriptor> descriptors;
    for (const std::vector<LimitEntry>& entries : all) {
      if (LimitDescriptor descriptor = DescriptorOf(entries); !descriptor.empty()) {
        descriptors.push_back(std::move(descriptor));
      }
    }
    return descriptors;
  }

  // An entry without a value leaves its whole descriptor out, unless only itself is to be.
  LimitDescriptor DescriptorOf(const std::vector<LimitEntry>& entries) {
    LimitDescriptor descriptor;
    for (const LimitEntry& entry : entries) {
      std::optional<std::string> value = ValueOf(entry);
      if (!value && entry.skip_if_absent) continue;
      if (!value) return {};
      descriptor.emplace_back(entry.key, std::move(*value));
    }
    return descriptor;
  }

  std::optional<std::string> ValueOf(const LimitEntry& entry) {
    http::RequestHead& request = context_->request();
    switch (entry.kind) {
      case LimitEntry::Kind::kLiteral:
        return entry.value;
      case LimitEntry::Kind::kHeader: {
        if (entry.value == ":path") return std::string(request.path);
        if (entry.value == ":method") return std::string(request.method);
        if (entry.value == ":authority" || entry.value == "host") return std::string(request.authority);
        const std::string_view value = request.headers.Joined(entry.value);
        if (value.data() == nullptr) return std::nullopt;
        return std::string(value);
      }
      case LimitEntry::Kind::kRemoteAddress:
        return context_->client().ip.ToString();
      case LimitEntry::Kind::kPath:
        return std::string(request.PathWithoutQuery());
      case LimitEntry::Kind::kHeaderValueMatch: {
        const bool all = std::ranges::all_of(entry.headers, [&](const auto& each) { return each.Matches(request); });
        return all == entry.expect_match ? std::optional(entry.value) : std::nullopt;
      }
    }
    return std::nullopt;
  }

  void OnAnswer(CallAnswer answer) override {
    pb::RateLimitResponse response;
    if (!answer.failure.empty() || !response.ParseFromString(answer.body)) {
      if (globals_[asked_ - 1]->fail_closed) {
        context_->Reply({.status = 500,
                         .body = {},
                         .details = "rate_limiter_error",
                         .flag = l7::Flag::kRLSE,
                         .grpc_status = {},
                         .headers = {}});
        return;
      }
      context_->SetFlag(l7::Flag::kRLSE);
      return Next();
    }
    Arena& arena = context_->arena();
    if (response.overall_code() == pb::RateLimitResponse::OVER_LIMIT) {
      std::vector<http::Header> headers{{"x-envoy-ratelimited", "true"}};
      for (const pb::HeaderValue& each : response.response_headers_to_add()) {
        headers.push_back({arena.Copy(each.key()), arena.Copy(each.value())});
      }
      context_->Reply({.status = 429,
                       .body = arena.Copy(response.raw_body()),
                       .details = "request_rate_limited",
                       .flag = l7::Flag::kRL,
                       .grpc_status = {},
                       .headers = headers});
      return;
    }
    for (const pb::HeaderValue& each : response.response_headers_to_add())
      context_->AddResponseHeader(each.key(), each.value());
    for (const pb::HeaderValue& each : response.request_headers_to_add()) {
      context_->request().headers.Add(arena.Copy(each.key()), each.value());
    }
    Next();
  }

  void Next() {
    if (!AskNext()) context_->Continue();
  }

  void RefuseLocally(const LocalLimit& limit) {
    std::vector<http::Header> headers;
    for (const auto& [name, value] : limit.response_headers) headers.push_back({name, value});
    context_->Reply({.status = limit.status,
                     .body = "local_rate_limited",
                     .details = "local_rate_limited",
                     .flag = l7::Flag::kRL,
                     .grpc_status = {},
                     .headers = headers});
  }

  std::shared_ptr<const RateLimitProgram> chain_, route_;
  std::vector<const GlobalLimit*> globals_;
  size_t asked_ = 0;
  l7::FilterContext* context_ = nullptr;
  std::unique_ptr<ServiceCall> call_;
};

}  // namespace

bool SharedBucket::Take(uint64_t now_ms) {
  uint64_t started = started_ms_.load(std::memory_order_relaxed);
  // The first request starts the clock.
  if (started == 0 && started_ms_.compare_exchange_strong(started, now_ms, std::memory_order_relaxed)) started = now_ms;
  const uint64_t fill = now_ms > started ? std::min<uint64_t>((now_ms - started) / interval_ms_, UINT32_MAX) : 0;
  uint64_t state = state_.load(std::memory_order_relaxed);
  while (true) {
    const uint64_t filled = state >> 32;
    uint64_t tokens = state & UINT32_MAX;
    if (fill > filled) tokens = std::min<uint64_t>(tokens_, tokens + (fill - filled) * per_fill_);
    if (tokens == 0) return false;
    const uint64_t next = std::max(fill, filled) << 32 | (tokens - 1);
    if (state_.compare_exchange_weak(state, next, std::memory_order_relaxed)) return true;
  }
}

bool LocalLimit::Take(const std::vector<LimitDescriptor>& asked, uint64_t now_ms) const {
  bool some = false;
  for (const auto& each : descriptors) {
    if (std::ranges::find(asked, each->descriptor) == asked.end()) continue;
    some = true;
    if (!each->bucket.Take(now_ms)) return false;
  }
  return (some && spare_own_bucket) || bucket.Take(now_ms);
}

Result<std::shared_ptr<const RateLimitProgram>> RateLimitProgram::Compile(const l7::RateLimits& limits) {
  auto program = std::make_shared<RateLimitProgram>();
  if (limits.has_local()) {
    Result<std::shared_ptr<const LocalLimit>> local = CompileLocal(limits.local());
    if (!local) return local.error();
    program->local = std::move(*local);
  }
  for (const l7::GlobalRateLimit& from : limits.global()) {
    GlobalLimit& global = program->global.emplace_back();
    global.cluster = from.cluster();
    global.domain = from.domain();
    global.authority = from.authority().empty() ? from.cluster() : from.authority();
    global.timeout_ms = from.timeout_ms() == 0 ? kDefaultTimeoutMs : from.timeout_ms();
    global.fail_closed = from.fail_closed();
    if (Status status = CompileDescriptors(from.descriptors(), global.descriptors); !status) return status.error();
  }
  if (Status status = CompileDescriptors(limits.local_descriptors(), program->local_descriptors); !status) {
    return status.error();
  }
  return std::shared_ptr<const RateLimitProgram>(std::move(program));
}

std::unique_ptr<l7::Filter> MakeRateLimitFilter(std::shared_ptr<const RateLimitProgram> chain,
                                                std::shared_ptr<const RateLimitProgram> route) {
  return std::make_unique<RateLimitFilter>(std::move(chain), std::move(route));
}

}  // namespace weft::security
