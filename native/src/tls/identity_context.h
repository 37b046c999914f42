#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "policy/spiffe_id.h"
#include "tls/openssl_ptr.h"

namespace weft {

// What one identity needs for mutual TLS: certificate, key and the roots that its peers are checked against. Made once
// per certificate, never changed, shared by all loops; connections keep the one that they began with.
struct IdentityContext {
  std::string identity;
  SpiffeId id;
  SslCtxPtr client;
  SslCtxPtr server;

  // PEM texts; `chain` has the leaf first. The leaf must carry `identity` and fit `key`.
  static Result<std::shared_ptr<const IdentityContext>> Create(const std::string& identity, const std::string& chain,
                                                               const std::string& key, const std::string& roots);
};

// The queued OpenSSL errors of this thread as one line; empties the queue.
std::string TakeOpenSslErrors();

}  // namespace weft
