#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// The header fields of a CONNECT request or of its answer that mean something to us. Others are decoded, checked and
// dropped.
struct HeaderBlock {
  std::string method;
  std::string authority;
  std::string status;
  std::string baggage;
  std::string forwarded;
  std::string traceparent;
  bool has_path_or_scheme = false;  // forbidden on CONNECT (RFC 9113 section 8.5)
  bool has_protocol = false;        // extended CONNECT, which we do not offer
  bool malformed = false;           // RFC 9113 section 8.2: stream error
};

struct HeaderField {
  std::string_view name;
  std::string_view value;
  bool indexed = true;  // false: changes with every request, keep it out of the peer's table
};

// HPACK both ways, by nghttp2's codec.
class HpackEncoder {
 public:
  HpackEncoder();
  // The peer's SETTINGS_HEADER_TABLE_SIZE.
  void SetTableSize(uint32_t bytes);
  std::vector<uint8_t> Encode(std::span<const HeaderField> fields);

 private:
  struct Free {
    void operator()(nghttp2_hd_deflater* deflater) const { nghttp2_hd_deflate_del(deflater); }
  };
  std::unique_ptr<nghttp2_hd_deflater, Free> deflater_;
};

class HpackDecoder {
 public:
  enum class Outcome { kOk, kMalformedCompression, kTooLarge };

  // `max_list_bytes`: decoded size as RFC 9113 section 6.5.2 counts it, over the whole block. A few bytes on the wire
  // can name kilobytes in the table, so what counts is this.
  explicit HpackDecoder(size_t max_list_bytes);
  // Decodes one fragment of a header block; `last` ends the block.
  Outcome Decode(std::span<const uint8_t> fragment, bool last);
  // The block that has just ended.
  HeaderBlock Take();

 private:
  struct Free {
    void operator()(nghttp2_hd_inflater* inflater) const { nghttp2_hd_inflate_del(inflater); }
  };
  void Add(std::string_view name, std::string_view value);
  bool AddPseudo(std::string_view name, std::string_view value);

  std::unique_ptr<nghttp2_hd_inflater, Free> inflater_;
  size_t max_list_bytes_;
  size_t list_bytes_ = 0;
  bool regular_seen_ = false;
  HeaderBlock block_;
};

}  // namespace weft
