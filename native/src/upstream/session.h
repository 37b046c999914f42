#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "http/message.h"
#include "upstream/cluster.h"
#include "upstream/cluster_config.h"

// Session persistence: the answer names the endpoint, and requests that bring the name back go to it.
namespace weft::upstream {

// What clients are given in place of an address: the same in all processes, so that any of them finds the endpoint
// again. It is no secret; whoever makes one up chooses among endpoints that it may talk to anyway.
uint64_t SessionIdOf(std::string_view address_text);

// The endpoint that `request` asks for; nullopt: none, or its time is over.
std::optional<uint64_t> SessionIn(const SessionConfig& config, const http::RequestHead& request, uint64_t unix_ms);

// `answer.name` refers to `config`.
void WriteSession(const SessionConfig& config, uint64_t id, uint64_t unix_ms, AnswerField& answer);

}  // namespace weft::upstream
