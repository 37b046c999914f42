#pragma once

#include <cstddef>

#include "base/result.h"

namespace weft {

// Takes the pages of this process's files (Node's binary, libraries) out of its resident memory and returns how many
// bytes they were. They stay in the page cache, so that what is used comes back by a minor fault; what only the start
// used, some 45 MB, does not. Pages that were written to since they were mapped are left alone.
Result<size_t> ReleaseFilePages();

}  // namespace weft
