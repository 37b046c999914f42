#include "l7/path_normalization.h"

#include <algorithm>
#include <string>
#include <vector>

namespace weft::l7 {
namespace {

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 3986 section 2.3.
bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

// True when the path is its own normal form, so that most requests copy nothing.
bool IsPlain(std::string_view path, bool merge) {
  for (size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (c == '%' || c == '\\' || c == '#') return false;
    if (c != '/') continue;
    if (i + 1 < path.size() && (path[i + 1] == '.' || (merge && path[i + 1] == '/'))) return false;
  }
  return true;
}

// Escapes and backslashes. False: refused.
bool Unescape(std::string_view path, bool slashes, std::string& into) {
  for (size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (c == '#') return false;
    if (c == '\\') {
      into += '/';
      continue;
    }
    if (c != '%') {
      into += c;
      continue;
    }
    if (i + 2 >= path.size()) return false;
    const int high = HexValue(path[i + 1]), low = HexValue(path[i + 2]);
    if (high < 0 || low < 0) return false;
    const char decoded = static_cast<char>(high << 4 | low);
    if (decoded == '\0') return false;
    if (slashes && (decoded == '/' || decoded == '\\')) {
      into += '/';
    } else if (IsUnreserved(decoded)) {
      into += decoded;
    } else {
      into += path.substr(i, 3);
    }
    i += 2;
  }
  return true;
}

// RFC 3986 section 5.2.4.
std::string RemoveDots(std::string_view path) {
  std::string out;
  size_t at = 0;
  while (at < path.size()) {
    const size_t begin = at + 1;  // path[at] is '/'
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    const bool last = end == path.size();
    if (segment == "..") {
      const size_t cut = out.rfind('/');
      out.resize(cut == std::string::npos ? 0 : cut);
    } else if (segment != ".") {
      out += '/';
      out += segment;
    }
    if (last && (segment == "." || segment == "..")) out += '/';
    at = end;
  }
  return out.empty() ? "/" : out;
}

std::string MergeSlashes(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c != '/' || out.empty() || out.back() != '/') out += c;
  }
  return out;
}

}  // namespace

std::optional<std::string_view> NormalizePath(std::string_view whole, PathForm form, Arena& arena) {
  // A fragment is nobody's but the client's: behind it may stand what another server takes for the path.
  if (whole.find('#') != std::string_view::npos) return std::nullopt;
  if (form == PathForm::kNone) return whole;
  const std::string_view path = whole.substr(0, whole.find('?'));
  const bool merge = form != PathForm::kBase;
  if (!path.starts_with('/')) return whole;  // "*", or empty for CONNECT
  if (IsPlain(path, merge)) return whole;
  std::string out;
  out.reserve(whole.size());
  if (!Unescape(path, form == PathForm::kDecodeAndMergeSlashes, out)) return std::nullopt;
  if (merge) out = MergeSlashes(out);
  out = RemoveDots(out);
  if (merge) out = MergeSlashes(out);
  out += whole.substr(path.size());
  return arena.Copy(out);
}

}  // namespace weft::l7
