#pragma once

#include "http/message.h"
#include "l7/downstream.h"
#include "net/ip_address.h"

namespace weft::l7 {

// What a request says of where it comes from, made true before anything looks at it: x-forwarded-for gets the peer,
// x-forwarded-proto and the scheme are there, and x-forwarded-client-cert says what the tunnel has proved or is gone.
// Returns the client: as far as proxies are trusted the one in x-forwarded-for, else the peer.
SocketAddress WriteForwardingHeaders(const Downstream& downstream, const SettingsProgram& settings,
                                     http::RequestHead& request);

}  // namespace weft::l7
