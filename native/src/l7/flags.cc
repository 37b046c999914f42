#include "l7/flags.h"

#include <array>

namespace weft::l7 {
namespace {

constexpr std::array<const char*, static_cast<size_t>(Flag::kCount)> kTexts{
    "DI", "URX", "FI",   "UO",   "UF", "NC", "UH",  "NR",  "DT",    "LH", "UT", "LR", "UR",
    "UC", "RL",  "UAEX", "RLSE", "IH", "SI", "DPE", "UPE", "UMSDR", "OM", "DF", "DC", "DR"};

}  // namespace

const char* FlagText(Flag flag) { return kTexts[static_cast<size_t>(flag)]; }

std::string Flags::Text() const {
  if (bits_ == 0) return "-";
  std::string text;
  for (size_t i = 0; i < kTexts.size(); ++i) {
    if (!Has(static_cast<Flag>(i))) continue;
    if (!text.empty()) text += ',';
    text += kTexts[i];
  }
  return text;
}

}  // namespace weft::l7
