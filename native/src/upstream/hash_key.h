#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "upstream/cluster_config.h"

namespace weft::upstream {

// The hash of the first key that the request has; nullopt: it has none. A cookie that is to be made is put into
// `context.answer`, and hashed.
std::optional<uint64_t> HashOf(const ClusterConfig& config, const PickContext& context, uint64_t random);

}  // namespace weft::upstream
