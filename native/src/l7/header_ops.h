#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "http/header_map.h"
#include "l7/format_string.h"

namespace weft::l7 {

class HeaderOps;  // proto/l7.proto

// Compiled HeaderOps: remove, then set, then add.
class HeaderEdits {
 public:
  static Result<HeaderEdits> Compile(const HeaderOps& ops);

  bool empty() const { return edits_.empty() && host_.text().empty() && host_.literal(); }
  void Apply(http::HeaderMap& headers, const FormatContext& context) const;
  // `set` of Host or :authority in request headers rewrites the authority. Empty: it does not.
  std::string Authority(const FormatContext& context) const;

 private:
  enum class Kind : uint8_t { kRemove, kSet, kAdd };
  struct Edit {
    Kind kind;
    std::string name;
    FormatString value;
  };
  std::vector<Edit> edits_;
  FormatString host_;
};

}  // namespace weft::l7
