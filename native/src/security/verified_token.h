#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::security {

// The claims of a token whose signature, issuer, audience and times were found good.
class VerifiedToken {
 public:
  virtual ~VerifiedToken() = default;
  virtual std::string_view issuer() const = 0;
  virtual std::string_view subject() const = 0;
  // "<iss>/<sub>".
  virtual std::string_view principal() const = 0;
  virtual std::span<const std::string> audiences() const = 0;
  virtual std::string_view presenter() const = 0;  // azp
  // Values at a path into the claims: a string, number or boolean gives one, a list its members; space-delimited claims
  // are lists. Empty: there is none.
  virtual std::vector<std::string> Claim(std::span<const std::string> path) const = 0;
};

}  // namespace weft::security
