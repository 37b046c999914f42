// Paths as clients send them: a normal form is its own normal form, has no dot segments, and keeps the query.
#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "l7/path_normalization.h"

WEFT_FUZZ_TARGET("path") {
  const std::string_view text = weft::fuzz::AsText(input);
  for (const auto form :
       {weft::l7::PathForm::kBase, weft::l7::PathForm::kMergeSlashes, weft::l7::PathForm::kDecodeAndMergeSlashes}) {
    weft::Arena arena;
    const auto once = weft::l7::NormalizePath(text, form, arena);
    if (!once || !text.starts_with('/')) continue;
    FUZZ_CHECK(weft::l7::NormalizePath(*once, form, arena) == once);
    const std::string_view path = once->substr(0, once->find('?'));
    FUZZ_CHECK(path.find("/../") == std::string_view::npos && path.find("/./") == std::string_view::npos);
    FUZZ_CHECK(!path.ends_with("/..") && path.starts_with('/'));
    FUZZ_CHECK(once->substr(path.size()) == text.substr(text.substr(0, text.find('?')).size()));
  }
}
