#pragma once

#include <string_view>

#include "base/arena.h"
#include "http/message.h"
#include "l7/filter.h"

namespace weft::l7 {

// Puts an answer of the proxy's own into `head` and returns its body: nothing for gRPC clients, which get a
// trailers-only response whose grpc-message it becomes. Texts are copied into `arena` but for what is static.
std::string_view WriteLocalReply(const LocalReply& reply, bool grpc, Arena& arena, http::ResponseHead& head);

}  // namespace weft::l7
