#include "base/file_pages.h"

#include <sys/mman.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft {
namespace {

// One entry of /proc/self/smaps.
struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool clean_file = false;  // of a file, private, not writable
  size_t resident = 0;
  size_t anonymous = 0;  // copies of pages that were written to, by relocation for example
};

// "begin-end perms offset device inode path"; nothing for the lines of figures below it.
std::optional<Mapping> ParseHead(std::string_view line) {
  Mapping mapping;
  const char* const last = line.data() + line.size();
  const auto [dash, begin_error] = std::from_chars(line.data(), last, mapping.begin, 16);
  if (begin_error != std::errc{} || dash == last || *dash != '-') return std::nullopt;
  const auto [space, end_error] = std::from_chars(dash + 1, last, mapping.end, 16);
  if (end_error != std::errc{} || last - space < 6) return std::nullopt;
  const std::string_view permissions(space + 1, 4);
  mapping.clean_file = permissions[1] == '-' && permissions[3] == 'p' && line.find(" /") != std::string_view::npos;
  return mapping;
}

// Bytes behind `name`; the kernel writes kilobytes.
std::optional<size_t> ParseFigure(std::string_view line, std::string_view name) {
  if (!line.starts_with(name)) return std::nullopt;
  const size_t digits = line.find_first_not_of(' ', name.size());
  size_t kilobytes = 0;
  if (digits == std::string_view::npos) return std::nullopt;
  if (std::from_chars(line.data() + digits, line.data() + line.size(), kilobytes).ec != std::errc{})
    return std::nullopt;
  return kilobytes * 1024;
}

}  // namespace

Result<size_t> ReleaseFilePages() {
  std::ifstream smaps("/proc/self/smaps");
  if (!smaps) return Error{errno, "open /proc/self/smaps"};
  std::vector<Mapping> mappings;
  for (std::string line; std::getline(smaps, line);) {
    if (const auto head = ParseHead(line)) {
      mappings.push_back(*head);
    } else if (!mappings.empty()) {
      if (const auto resident = ParseFigure(line, "Rss:")) mappings.back().resident = *resident;
      if (const auto anonymous = ParseFigure(line, "Anonymous:")) mappings.back().anonymous = *anonymous;
    }
  }
  size_t released = 0;
  for (const Mapping& mapping : mappings) {
    if (!mapping.clean_file || mapping.anonymous != 0 || mapping.resident == 0) continue;
    // Locked or otherwise special: it stays as it is.
    if (madvise(reinterpret_cast<void*>(mapping.begin), mapping.end - mapping.begin, MADV_DONTNEED) != 0) continue;
    released += mapping.resident;
  }
  return released;
}

}  // namespace weft
