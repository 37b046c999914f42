#pragma once

#include <string>
#include <vector>

#include "tls/openssl_ptr.h"

namespace weft::test {

struct Svid {
  std::string chain;
  std::string key;
};

// What a test wants of a certificate; the default is what a mesh CA issues.
struct SvidOptions {
  std::vector<std::string> uris;  // may hold NUL bytes
  std::vector<std::string> dns_names;
  long not_before_s = -60;
  long not_after_s = 3600;
};

// A certificate authority of one test.
class TestCa {
 public:
  TestCa();
  // PEM of the root.
  const std::string& roots() const { return roots_; }
  Svid Issue(const SvidOptions& options) const;
  Svid Issue(const std::string& uri) const { return Issue(SvidOptions{.uris = {uri}, .dns_names = {}}); }
  // PEM of a list that revokes these.
  std::string Crl(const std::vector<Svid>& revoked) const;

 private:
  EvpKeyPtr key_;
  X509Ptr root_;
  std::string roots_;
};

}  // namespace weft::test
