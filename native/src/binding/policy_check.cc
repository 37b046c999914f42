#include "binding/policy_check.h"

#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "base/arena.h"
#include "binding/convert.h"
#include "binding/values.h"
#include "l7.pb.h"
#include "policy/evaluate.h"
#include "security/policy_program.h"

namespace weft::binding {
namespace {

// (policies: {name, policy}[], peer) -> {allowed, policy?, dryRun}
Napi::Value EvaluatePolicies(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::vector<std::shared_ptr<const NamedPolicy>> policies;
  const Status read = ForEachOf(info[0], [&](const Napi::Value& each) -> Status {
    Napi::Object command = each.As<Napi::Object>();
    command.Set("op", "set-policy");
    Result<Command> converted = ToCommand(command);
    if (!converted) return converted.error();
    policies.push_back(std::get<SetPolicy>(*converted).policy);
    return Ok{};
  });
  std::optional<SpiffeId> identity;
  const Result<PeerInfo> peer = ToPeer(info[1].As<Napi::Object>(), identity);
  if (!read || !peer) {
    Throw(env, !read ? read.error() : peer.error());
    return {};
  }
  std::vector<const NamedPolicy*> borrowed, dry_runs;
  for (const auto& each : policies) borrowed.push_back(each.get());
  const Verdict verdict = Evaluate(borrowed, *peer, &dry_runs);
  PolicyAnswer answer{.allowed = verdict.allowed, .policy = {}, .dry_run = {}};
  if (!verdict.policy.empty()) answer.policy = std::string(verdict.policy);
  for (const NamedPolicy* each : dry_runs) answer.dry_run.push_back(each->name);
  return FromAnswer(env, answer);
}

// Claims that the caller says were verified.
class GivenToken final : public security::VerifiedToken {
 public:
  explicit GivenToken(const Napi::Object& from)
      : principal_(Text(from, "principal")), presenter_(Text(from, "presenter")) {
    (void)ForEach(from, "audiences", [&](const Napi::Value& each) -> Status {
      audiences_.push_back(each.ToString().Utf8Value());
      return Ok{};
    });
    (void)ForEach(from, "claims", [&](const Napi::Value& each) -> Status {
      const Napi::Array pair = each.As<Napi::Array>();
      claims_.emplace_back(pair.Get(0u).ToString().Utf8Value(), pair.Get(1u).ToString().Utf8Value());
      return Ok{};
    });
  }

  std::string_view issuer() const override { return {}; }
  std::string_view subject() const override { return {}; }
  std::string_view principal() const override { return principal_; }
  std::span<const std::string> audiences() const override { return audiences_; }
  std::string_view presenter() const override { return presenter_; }
  std::vector<std::string> Claim(std::span<const std::string> path) const override {
    std::vector<std::string> values;
    if (path.size() != 1) return values;
    for (const auto& [name, value] : claims_) {
      if (name == path[0]) values.push_back(value);
    }
    return values;
  }

 private:
  std::string principal_, presenter_;
  std::vector<std::string> audiences_;
  std::vector<std::pair<std::string, std::string>> claims_;
};

// What is asked about, with everything that it borrows.
struct GivenSubject {
  StreamInfo connection;
  IpAddress remote;
  SocketAddress destination;
  Arena arena;
  std::optional<http::RequestHead> request;
  std::optional<GivenToken> token;
};

Status ToSubject(const Napi::Object& from, GivenSubject& subject) {
  const std::pair<const char*, IpAddress*> addresses[] = {{"sourceIp", &subject.connection.remote.ip},
                                                          {"remoteIp", &subject.remote},
                                                          {"destinationIp", &subject.destination.ip}};
  for (const auto& [key, slot] : addresses) {
    const std::optional<IpAddress> ip = IpAddress::Parse(Text(from, key));
    if (!ip) return Error{EINVAL, std::string(key) + ": not an IP address"};
    *slot = *ip;
  }
  subject.destination.port = static_cast<uint16_t>(Number(from, "port"));
  subject.connection.peer_identity = Text(from, "identity");
  subject.connection.sni = Text(from, "sni");
  if (const Napi::Value value = from.Get("token"); value.IsObject()) subject.token.emplace(value.As<Napi::Object>());
  const Napi::Value value = from.Get("request");
  if (!value.IsObject()) return Ok{};
  const Napi::Object request = value.As<Napi::Object>();
  http::RequestHead& head = subject.request.emplace(subject.arena);
  head.method = subject.arena.Copy(Text(request, "method"));
  head.authority = subject.arena.Copy(Text(request, "authority"));
  head.path = subject.arena.Copy(Text(request, "path"));
  return ForEach(request, "headers", [&](const Napi::Value& each) -> Status {
    const Napi::Array pair = each.As<Napi::Array>();
    head.headers.Add(pair.Get(0u).ToString().Utf8Value(), pair.Get(1u).ToString().Utf8Value());
    return Ok{};
  });
}

Status ReadPolicy(const Napi::Value& value, std::vector<std::shared_ptr<const security::PolicyProgram>>& policies) {
  if (!value.IsTypedArray()) return Error{EINVAL, "a policy is bytes"};
  const Napi::Uint8Array bytes = value.As<Napi::Uint8Array>();
  l7::Policy message;
  if (!message.ParseFromArray(bytes.Data(), static_cast<int>(bytes.ByteLength()))) {
    return Error{EINVAL, "a policy is no weft.l7.Policy"};
  }
  Result<std::shared_ptr<const security::PolicyProgram>> program = security::PolicyProgram::Compile(message);
  if (!program) return program.error();
  policies.push_back(std::move(*program));
  return Ok{};
}

// (policies: weft.l7.Policy as bytes[], subject, dryRun) -> {allowed, policy?, rule?}
Napi::Value DecideHttpPolicies(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::vector<std::shared_ptr<const security::PolicyProgram>> policies;
  Status read = ForEachOf(info[0], [&](const Napi::Value& each) { return ReadPolicy(each, policies); });
  GivenSubject given;
  if (read) read = ToSubject(info[1].As<Napi::Object>(), given);
  if (!read) {
    Throw(env, read.error());
    return {};
  }
  const security::PolicySubject subject{.connection = given.connection,
                                        .remote = given.remote,
                                        .destination = given.destination,
                                        .request = given.request ? &*given.request : nullptr,
                                        .token = given.token ? &*given.token : nullptr};
  const security::PolicyDecision decision = security::Decide(policies, subject, info[2].ToBoolean());
  Napi::Object object = Napi::Object::New(env);
  object.Set("allowed", Napi::Boolean::New(env, decision.allowed));
  if (decision.policy != nullptr) {
    object.Set("policy", decision.policy->name);
    object.Set("rule", Napi::Number::New(env, static_cast<double>(decision.rule)));
  }
  return object;
}

}  // namespace

void InitPolicyCheck(Napi::Env env, Napi::Object exports) {
  exports.Set("evaluatePolicies", Napi::Function::New<EvaluatePolicies>(env, "evaluatePolicies"));
  exports.Set("decideHttpPolicies", Napi::Function::New<DecideHttpPolicies>(env, "decideHttpPolicies"));
}

}  // namespace weft::binding
