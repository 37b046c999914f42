#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "security/jwt_verifier.h"
#include "security/policy_program.h"

namespace weft::security {

// What is in force in one chain. Immutable; null where nothing is, so that the plain path costs one comparison.
struct ChainSecurity {
  std::vector<std::shared_ptr<const PolicyProgram>> policies;
  std::vector<std::shared_ptr<const JwtRuleProgram>> jwt;
  bool has_custom = false;
  bool has_dry_run = false;
  // A name that stands for nothing we know: everything is denied until it does (invariant: what has not arrived never
  // opens access).
  std::string missing;
};

// Policies and rules for tokens by name. One thread (JavaScript's) changes it.
class SecurityCatalog {
 public:
  // Encoded messages Policy and Jwt. An error leaves what was there.
  Status SetPolicy(const std::string& name, std::string_view bytes);
  Status SetJwt(const std::string& name, std::string_view bytes);
  void RemovePolicy(const std::string& name) { policies_.erase(name); }
  void RemoveJwt(const std::string& name) { jwt_.erase(name); }

  // Null: no names.
  std::shared_ptr<const ChainSecurity> Resolve(const std::vector<std::string>& policies,
                                               const std::vector<std::string>& jwt) const;

 private:
  std::map<std::string, std::shared_ptr<const PolicyProgram>> policies_;
  std::map<std::string, std::vector<std::shared_ptr<const JwtRuleProgram>>> jwt_;
  uint64_t next_rule_ = 1;
};

}  // namespace weft::security
