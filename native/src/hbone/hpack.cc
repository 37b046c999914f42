#include "hbone/hpack.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace weft {
namespace {

// RFC 7541 section 4.1: overhead of an entry.
constexpr size_t kEntryOverhead = 32;
// Longest value that is kept. Informational headers are cut there; a longer pseudo-header makes a request malformed.
constexpr size_t kMaxKeptValue = 2048;

std::string_view View(const uint8_t* data, size_t n) { return {reinterpret_cast<const char*>(data), n}; }

bool ValidName(std::string_view name) {
  if (name.empty()) return false;
  return std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return c > 0x20 && c < 0x7f && (c < 'A' || c > 'Z'); });
}

bool ValidValue(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](char c) { return c == '\0' || c == '\r' || c == '\n'; });
}

bool ConnectionSpecific(std::string_view name) {
  return name == "connection" || name == "proxy-connection" || name == "keep-alive" || name == "transfer-encoding" ||
         name == "upgrade";
}

void Append(std::string& to, std::string_view value) {
  if (!to.empty()) to += ',';
  to.append(value.substr(0, kMaxKeptValue - std::min(kMaxKeptValue, to.size())));
}

}  // namespace

HpackEncoder::HpackEncoder() {
  nghttp2_hd_deflater* deflater = nullptr;
  if (nghttp2_hd_deflate_new(&deflater, 4096) != 0) std::abort();  // out of memory
  deflater_.reset(deflater);
}

void HpackEncoder::SetTableSize(uint32_t bytes) {
  if (nghttp2_hd_deflate_change_table_size(deflater_.get(), bytes) != 0) std::abort();  // out of memory
}

std::vector<uint8_t> HpackEncoder::Encode(std::span<const HeaderField> fields) {
  std::vector<nghttp2_nv> pairs;
  pairs.reserve(fields.size());
  for (const HeaderField& field : fields) {
    const auto bytes = [](std::string_view text) {
      return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data()));  // the C API lacks const, not intent
    };
    pairs.push_back({bytes(field.name), bytes(field.value), field.name.size(), field.value.size(),
                     static_cast<uint8_t>(field.indexed ? NGHTTP2_NV_FLAG_NONE : NGHTTP2_NV_FLAG_NO_INDEX)});
  }
  std::vector<uint8_t> block(nghttp2_hd_deflate_bound(deflater_.get(), pairs.data(), pairs.size()));
  const ssize_t n = nghttp2_hd_deflate_hd(deflater_.get(), block.data(), block.size(), pairs.data(), pairs.size());
  if (n < 0) std::abort();  // out of memory; the bound rules out the rest
  block.resize(static_cast<size_t>(n));
  return block;
}

HpackDecoder::HpackDecoder(size_t max_list_bytes) : max_list_bytes_(max_list_bytes) {
  nghttp2_hd_inflater* inflater = nullptr;
  if (nghttp2_hd_inflate_new(&inflater) != 0) std::abort();  // out of memory
  inflater_.reset(inflater);
}

HpackDecoder::Outcome HpackDecoder::Decode(std::span<const uint8_t> fragment, bool last) {
  for (;;) {
    nghttp2_nv pair{};
    int flags = 0;
    const ssize_t n =
        nghttp2_hd_inflate_hd2(inflater_.get(), &pair, &flags, fragment.data(), fragment.size(), last ? 1 : 0);
    if (n < 0) return Outcome::kMalformedCompression;
    fragment = fragment.subspan(static_cast<size_t>(n));
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      list_bytes_ += pair.namelen + pair.valuelen + kEntryOverhead;
      if (list_bytes_ > max_list_bytes_) return Outcome::kTooLarge;
      Add(View(pair.name, pair.namelen), View(pair.value, pair.valuelen));
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
      nghttp2_hd_inflate_end_headers(inflater_.get());
      return Outcome::kOk;
    }
    if (fragment.empty() && (flags & NGHTTP2_HD_INFLATE_EMIT) == 0)
      return last ? Outcome::kMalformedCompression : Outcome::kOk;
  }
}

HeaderBlock HpackDecoder::Take() {
  list_bytes_ = 0;
  regular_seen_ = false;
  return std::exchange(block_, {});
}

bool HpackDecoder::AddPseudo(std::string_view name, std::string_view value) {
  if (regular_seen_) return false;
  std::string* slot = nullptr;
  if (name == ":method") slot = &block_.method;
  if (name == ":authority") slot = &block_.authority;
  if (name == ":status") slot = &block_.status;
  if (name == ":path" || name == ":scheme") {
    block_.has_path_or_scheme = true;
    return true;
  }
  if (name == ":protocol") {
    block_.has_protocol = true;
    return true;
  }
  if (slot == nullptr || !slot->empty() || value.empty() || value.size() > kMaxKeptValue) return false;
  slot->assign(value);
  return true;
}

void HpackDecoder::Add(std::string_view name, std::string_view value) {
  if (!ValidValue(value)) block_.malformed = true;
  if (!name.empty() && name.front() == ':') {
    if (!AddPseudo(name, value)) block_.malformed = true;
    return;
  }
  regular_seen_ = true;
  if (!ValidName(name) || ConnectionSpecific(name)) block_.malformed = true;
  if (name == "baggage") Append(block_.baggage, value);
  if (name == "forwarded") Append(block_.forwarded, value);
  if (name == "traceparent" && block_.traceparent.empty()) block_.traceparent.assign(value.substr(0, kMaxKeptValue));
}

}  // namespace weft
