#include "l7/regex_cache.h"

#include <mutex>
#include <unordered_map>

namespace weft::l7 {
namespace {

// Istio's own bound; the compiler checks it too.
constexpr size_t kMaxPatternBytes = 1024;
// What RE2 may take for one program; far above what kMaxPatternBytes needs, unless a pattern is made to hurt.
constexpr int64_t kMaxRegexMemory = 1 << 20;
// Expired entries are swept when this many have been added since.
constexpr size_t kSweepEvery = 1024;

struct Cache {
  std::mutex mutex;
  std::unordered_map<std::string, std::weak_ptr<const re2::RE2>> regexes;
  size_t added = 0;
};

Cache& Shared() {
  static Cache cache;
  return cache;
}

}  // namespace

Result<std::shared_ptr<const re2::RE2>> CompileRegex(const std::string& pattern, bool ignore_case) {
  if (pattern.size() > kMaxPatternBytes) return Error{EINVAL, "regex is longer than 1024 bytes"};
  const std::string key = (ignore_case ? "i" : "c") + pattern;
  Cache& cache = Shared();
  const std::lock_guard lock(cache.mutex);
  std::weak_ptr<const re2::RE2>& entry = cache.regexes[key];
  if (std::shared_ptr<const re2::RE2> known = entry.lock()) return known;
  re2::RE2::Options options(re2::RE2::Latin1);  // header values are bytes; bad UTF-8 must not make a match fail
  options.set_case_sensitive(!ignore_case);
  options.set_log_errors(false);
  options.set_max_mem(kMaxRegexMemory);
  auto regex = std::make_shared<const re2::RE2>(pattern, options);
  if (!regex->ok()) {
    const std::string why = regex->error();
    cache.regexes.erase(key);
    return Error{EINVAL, "regex \"" + pattern + "\": " + why};
  }
  entry = regex;
  if (++cache.added % kSweepEvery == 0)
    std::erase_if(cache.regexes, [](const auto& each) { return each.second.expired(); });
  return std::shared_ptr<const re2::RE2>(std::move(regex));
}

}  // namespace weft::l7
