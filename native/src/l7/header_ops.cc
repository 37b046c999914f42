#include "l7/header_ops.h"

#include <algorithm>

#include "l7.pb.h"

namespace weft::l7 {
namespace {

// RFC 9110 section 5.1, in lower case.
bool IsFieldName(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool IsFieldValue(std::string_view value) {
  return std::ranges::none_of(value, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower;
}

bool IsHost(std::string_view name) { return name == "host" || name == ":authority"; }

}  // namespace

Result<HeaderEdits> HeaderEdits::Compile(const HeaderOps& ops) {
  HeaderEdits compiled;
  for (const std::string& each : ops.remove()) {
    const std::string name = Lower(each);
    if (!IsFieldName(name) || IsHost(name)) return Error{EINVAL, "header \"" + each + "\" cannot be removed"};
    compiled.edits_.push_back({Kind::kRemove, name, {}});
  }
  for (const auto* list : {&ops.set(), &ops.add()}) {
    const Kind kind = list == &ops.set() ? Kind::kSet : Kind::kAdd;
    for (const HeaderValue& each : *list) {
      const std::string name = Lower(each.name());
      if (!IsFieldValue(each.value())) return Error{EINVAL, "header " + each.name() + ": the value has a line break"};
      Result<FormatString> value = FormatString::Parse(each.value());
      if (!value) return Error{EINVAL, "header " + each.name() + ": " + value.error().what};
      if (IsHost(name) && kind == Kind::kSet) {
        compiled.host_ = std::move(*value);
        continue;
      }
      if (!IsFieldName(name) || IsHost(name)) return Error{EINVAL, "header \"" + each.name() + "\" cannot be set"};
      compiled.edits_.push_back({kind, name, std::move(*value)});
    }
  }
  return compiled;
}

void HeaderEdits::Apply(http::HeaderMap& headers, const FormatContext& context) const {
  std::string value;
  for (const Edit& edit : edits_) {
    if (edit.kind == Kind::kRemove) {
      headers.Remove(edit.name);
      continue;
    }
    value.clear();
    edit.value.Append(context, value);
    // What a client wrote is in it maybe; its codec let no line break through.
    const std::string_view name = edit.name;  // lives as long as the program, which the exchange holds
    const std::string_view copied = headers.arena().Copy(value);
    if (edit.kind == Kind::kSet) {
      headers.Set(name, copied);
    } else {
      headers.AddView({name, copied, http::HeaderIdOf(name)});
    }
  }
}

std::string HeaderEdits::Authority(const FormatContext& context) const {
  std::string authority;
  host_.Append(context, authority);
  return authority;
}

}  // namespace weft::l7
