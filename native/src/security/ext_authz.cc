#include "security/ext_authz.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "ext_authz.pb.h"

namespace weft::security {
namespace {

namespace pb = envoy::service::auth::v3;

constexpr std::string_view kCheckPath = "/envoy.service.auth.v3.Authorization/Check";
// Of the client's request, these are always shown to an HTTP authorizer, beside what the provider names.
constexpr std::array<std::string_view, 1> kAlwaysShown = {"authorization"};
// Of an authorizer's answer, these belong to its connection and not to the client's.
constexpr std::array<std::string_view, 5> kNeverCopied = {"content-length", "connection", "transfer-encoding", "date",
                                                          "server"};

bool Contains(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool MatchesAny(const std::vector<l7::StringMatcher>& matchers, std::string_view name) {
  return std::ranges::any_of(matchers, [&](const l7::StringMatcher& each) { return each.Matches(name); });
}

// An authorizer is trusted with decisions, not with our framing.
bool IsHeader(std::string_view name, std::string_view value) {
  const bool token = !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
  return token && std::ranges::none_of(value, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

std::string Lower(std::string_view name) {
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower;
}

void SetPeer(const ::weft::SocketAddress& address, std::string_view principal, pb::AttributeContext::Peer* peer) {
  pb::SocketAddress* socket = peer->mutable_address()->mutable_socket_address();
  socket->set_address(address.ip.ToString());
  socket->set_port_value(address.port);
  peer->set_principal(std::string(principal));
}

void Apply(const pb::HeaderValueOption& option, http::HeaderMap& headers, Arena& arena) {
  const std::string_view name = arena.Copy(Lower(option.header().key()));
  const std::string& text = option.header().raw_value().empty() ? option.header().value() : option.header().raw_value();
  if (!IsHeader(name, text)) return;
  const bool exists = headers.Find(name) != nullptr;
  if (option.append().value() ||
      (exists && option.append_action() == pb::HeaderValueOption::APPEND_IF_EXISTS_OR_ADD && option.has_append())) {
    headers.Add(name, text);
    return;
  }
  if (exists && option.append_action() == pb::HeaderValueOption::ADD_IF_ABSENT) return;
  if (!exists && option.append_action() == pb::HeaderValueOption::OVERWRITE_IF_EXISTS) return;
  headers.Set(name, text);
}

}  // namespace

void ExtAuthz::Start() {
  if (program_->body_max_bytes == 0 || context_.request_ended()) return Ask({}, true);
  context_.CollectBody(program_->body_max_bytes, [this](std::string_view body, bool complete) {
    if (!complete && !program_->body_allow_partial) {
      Refuse(413, "", {});
      return;
    }
    Ask(body, complete);
  });
}

void ExtAuthz::Ask(std::string_view body, bool complete) {
  call_ = std::make_unique<ServiceCall>(context_.loop(), static_cast<ServiceCall::Owner&>(*this),
                                        program_->grpc ? GrpcRequest(body) : HttpRequest(body, complete));
  call_->Start(context_.clusters(), program_->cluster);
}

CallRequest ExtAuthz::GrpcRequest(std::string_view body) {
  const http::RequestHead& request = context_.request();
  const StreamInfo& connection = context_.downstream();
  pb::CheckRequest check;
  pb::AttributeContext* attributes = check.mutable_attributes();
  constexpr std::string_view kNoPrincipal;
  SetPeer(connection.remote, connection.peer_identity, attributes->mutable_source());
  SetPeer(connection.authority.port != 0 ? connection.authority : connection.local, kNoPrincipal,
          attributes->mutable_destination());
  attributes->mutable_tls_session()->set_sni(connection.sni);
  pb::Timestamp* time = attributes->mutable_request()->mutable_time();
  time->set_seconds(static_cast<int64_t>(context_.unix_ms() / 1000));
  time->set_nanos(static_cast<int32_t>(std::fmod(context_.unix_ms(), 1000) * 1e6));
  pb::AttributeContext::HttpRequest* http = attributes->mutable_request()->mutable_http();
  http->set_id(std::string(request.headers.Get(http::HeaderId::kXRequestId)));
  http->set_method(std::string(request.method));
  http->set_path(std::string(request.path));
  http->set_host(std::string(request.authority));
  http->set_scheme(std::string(request.scheme));
  http->set_protocol(std::string(http::ProtocolText(request.protocol)));
  http->set_size(request.content_length ? static_cast<int64_t>(*request.content_length) : -1);
  auto& headers = *http->mutable_headers();
  for (const http::Header& header : request.headers) {
    std::string& value = headers[std::string(header.name)];
    if (!value.empty()) value += ",";
    value += header.value;
  }
  headers[":method"] = request.method;
  headers[":path"] = request.path;
  headers[":authority"] = request.authority;
  headers[":scheme"] = request.scheme;
  if (program_->body_as_bytes) {
    http->set_raw_body(std::string(body));
  } else {
    http->set_body(std::string(body));
  }
  return {.path = std::string(kCheckPath),
          .authority = program_->authority,
          .headers = {},
          .body = check.SerializeAsString(),
          .grpc = true,
          .timeout_ms = program_->timeout_ms};
}

CallRequest ExtAuthz::HttpRequest(std::string_view body, bool complete) {
  const http::RequestHead& request = context_.request();
  CallRequest call{.method = std::string(request.method),
                   .path = program_->path_prefix + std::string(request.path),
                   .authority = std::string(request.authority),
                   .headers = {},
                   .body = std::string(body),
                   .grpc = false,
                   .timeout_ms = program_->timeout_ms};
  for (const http::Header& header : request.headers) {
    if (header.id == http::HeaderId::kContentLength) continue;
    if (Contains(kAlwaysShown, header.name) || MatchesAny(program_->include_request_headers, header.name)) {
      call.headers.emplace_back(header.name, header.value);
    }
  }
  for (const auto& [name, value] : program_->add_request_headers) call.headers.emplace_back(Lower(name), value);
  if (program_->body_max_bytes > 0) {
    call.headers.emplace_back("x-envoy-auth-partial-body", complete ? "false" : "true");
  }
  return call;
}

void ExtAuthz::OnAnswer(CallAnswer answer) {
  if (!answer.failure.empty()) return Failed();
  if (program_->grpc) return OnGrpcAnswer(answer);
  OnHttpAnswer(answer);
}

void ExtAuthz::OnGrpcAnswer(const CallAnswer& answer) {
  pb::CheckResponse check;
  if (!check.ParseFromString(answer.body)) return Failed();
  Arena& arena = context_.arena();
  if (check.status().code() != 0) {
    const pb::DeniedHttpResponse& denied = check.denied_response();
    std::vector<http::Header> headers;
    for (const pb::HeaderValueOption& each : denied.headers()) {
      const std::string name = Lower(each.header().key());
      if (IsHeader(name, each.header().value()) && !Contains(kNeverCopied, name)) {
        headers.push_back({arena.Copy(name), arena.Copy(each.header().value())});
      }
    }
    const int32_t status = denied.status().code();
    return Refuse(status >= 200 && status <= 599 ? static_cast<uint16_t>(status) : 403, denied.body(), headers);
  }
  const pb::OkHttpResponse& ok = check.ok_response();
  http::HeaderMap& headers = context_.request().headers;
  for (const std::string& name : ok.headers_to_remove()) headers.Remove(Lower(name));
  for (const pb::HeaderValueOption& each : ok.headers()) Apply(each, headers, arena);
  for (const pb::HeaderValueOption& each : ok.response_headers_to_add()) {
    const std::string name = Lower(each.header().key());
    if (IsHeader(name, each.header().value())) context_.AddResponseHeader(name, each.header().value());
  }
  Allowed();
}

void ExtAuthz::OnHttpAnswer(const CallAnswer& answer) {
  Arena& arena = context_.arena();
  if (answer.status != 200) {
    // Envoy counts a 5xx of an HTTP authorizer as its failure.
    if (answer.status >= 500) return Failed();
    std::vector<http::Header> headers;
    const bool all = program_->to_downstream_on_deny.empty();
    for (const auto& [name, value] : answer.headers) {
      if (Contains(kNeverCopied, name) || !(all || MatchesAny(program_->to_downstream_on_deny, name))) continue;
      headers.push_back({arena.Copy(name), arena.Copy(value)});
    }
    return Refuse(answer.status, answer.body, headers);
  }
  for (const auto& [name, value] : answer.headers) {
    if (MatchesAny(program_->to_upstream_on_allow, name)) context_.request().headers.Set(arena.Copy(name), value);
    if (MatchesAny(program_->to_downstream_on_allow, name)) context_.AddResponseHeader(name, value);
  }
  Allowed();
}

void ExtAuthz::Allowed() {
  context_.InvalidateRoute();
  owner_.OnAuthorized();
}

void ExtAuthz::Failed() {
  if (program_->fail_open) return owner_.OnAuthorized();
  context_.Reply({.status = program_->status_on_error,
                  .body = {},
                  .details = "ext_authz_error",
                  .flag = l7::Flag::kUAEX,
                  .grpc_status = {},
                  .headers = {}});
  owner_.OnRefused();
}

void ExtAuthz::Refuse(uint16_t status, std::string_view body, std::vector<http::Header> headers) {
  context_.Reply({.status = status,
                  .body = context_.arena().Copy(body),
                  .details = "ext_authz_denied",
                  .flag = l7::Flag::kUAEX,
                  .grpc_status = {},
                  .headers = headers});
  owner_.OnRefused();
}

}  // namespace weft::security
