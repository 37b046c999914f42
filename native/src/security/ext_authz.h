#pragma once

#include <memory>

#include "l7/filter.h"
#include "security/authorizer.h"
#include "security/service_call.h"

namespace weft::security {

// One request shown to an external authorizer (Envoy's ext_authz over gRPC, or plain HTTP): it may add to the request,
// to the answer, or refuse. An authorizer that cannot be asked refuses too, unless it is configured to fail open.
class ExtAuthz final : private ServiceCall::Owner {
 public:
  class Owner {
   public:
    virtual void OnAuthorized() = 0;  // go on
    virtual void OnRefused() = 0;     // Reply() was called

   protected:
    ~Owner() = default;
  };

  ExtAuthz(std::shared_ptr<const AuthorizerProgram> program, l7::FilterContext& context, Owner& owner)
      : program_(std::move(program)), context_(context), owner_(owner) {}

  // Asks; the owner is told in a later turn.
  void Start();

 private:
  void Ask(std::string_view body, bool complete);
  CallRequest GrpcRequest(std::string_view body);
  CallRequest HttpRequest(std::string_view body, bool complete);
  void OnAnswer(CallAnswer answer) override;
  void OnGrpcAnswer(const CallAnswer& answer);
  void OnHttpAnswer(const CallAnswer& answer);
  void Allowed();
  void Failed();
  void Refuse(uint16_t status, std::string_view body, std::vector<http::Header> headers);

  std::shared_ptr<const AuthorizerProgram> program_;
  l7::FilterContext& context_;
  Owner& owner_;
  std::unique_ptr<ServiceCall> call_;
};

}  // namespace weft::security
