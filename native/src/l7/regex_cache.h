#pragma once

#include <re2/re2.h>

#include <memory>
#include <string>

#include "base/result.h"

namespace weft::l7 {

// Compiled once and shared by all that have the same pattern, also over versions of a program: a change of one route
// among thousands compiles one regular expression at most. Thread-safe.
Result<std::shared_ptr<const re2::RE2>> CompileRegex(const std::string& pattern, bool ignore_case = false);

}  // namespace weft::l7
