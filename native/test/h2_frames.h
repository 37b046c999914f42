#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hbone/frame.h"
#include "hbone/hpack.h"

// What a peer of an HTTP/2 connection sends and gets, frame by frame.
namespace weft::test {

inline std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload = {}) {
  std::string frame(h2::kFrameHeaderBytes, '\0');
  h2::WriteFrameHeader(reinterpret_cast<uint8_t*>(frame.data()),
                       {static_cast<uint32_t>(payload.size()), type, flags, stream});
  return frame.append(payload);
}

inline std::string U32(uint32_t value) {
  std::string bytes(4, '\0');
  h2::WriteU32(reinterpret_cast<uint8_t*>(bytes.data()), value);
  return bytes;
}

inline std::string Setting(uint16_t id, uint32_t value) {
  return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + U32(value);
}

// A client's first words.
inline std::string Preface(std::string_view settings = {}) {
  return std::string(h2::kPreface, h2::kPrefaceBytes) + Frame(h2::kSettings, 0, 0, settings);
}

using Fields = std::vector<std::pair<std::string, std::string>>;

// A whole header block: literals that are kept out of the table, so that each can be read by itself.
inline std::string Block(const Fields& fields) {
  std::string block;
  for (const auto& [name, value] : fields) {
    block += '\0';
    for (const std::string& text : {name, value}) {
      // Lengths have seven bits in their first byte (RFC 7541 section 5.1).
      size_t rest = text.size();
      if (rest < 127) {
        block += static_cast<char>(rest);
      } else {
        block += '\x7f';
        for (rest -= 127; rest >= 128; rest /= 128) block += static_cast<char>(rest % 128 | 128);
        block += static_cast<char>(rest);
      }
      block += text;
    }
  }
  return block;
}

// The frames of `wire`, in words: "goaway 5", "reset 1 8", "headers 1 end", "data 1 10 end", "settings", "settings
// ack".
inline std::vector<std::string> FramesOf(std::string_view wire) {
  std::vector<std::string> frames;
  while (wire.size() >= h2::kFrameHeaderBytes) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(wire.data());
    const h2::FrameHeader head = h2::ReadFrameHeader(bytes);
    const uint8_t* const payload = bytes + h2::kFrameHeaderBytes;
    const std::string stream = std::to_string(head.stream);
    const bool end = (head.flags & h2::kEndStream) != 0;
    switch (head.type) {
      case h2::kData:
        frames.push_back("data " + stream + " " + std::to_string(head.length) + (end ? " end" : ""));
        break;
      case h2::kHeaders:
        frames.push_back("headers " + stream + (end ? " end" : ""));
        break;
      case h2::kRstStream:
        frames.push_back("reset " + stream + " " + std::to_string(h2::ReadU32(payload)));
        break;
      case h2::kSettings:
        frames.push_back(end ? "settings ack" : "settings");
        break;
      case h2::kPing:
        frames.push_back(end ? "ping ack" : "ping");
        break;
      case h2::kGoAway:
        frames.push_back("goaway " + std::to_string(h2::ReadU32(payload)) + " " +
                         std::to_string(h2::ReadU32(payload + 4)));
        break;
      case h2::kWindowUpdate:
        break;  // their number and size is nghttp2's
      default:
        frames.push_back("frame " + std::to_string(head.type));
    }
    wire.remove_prefix(std::min(wire.size(), h2::kFrameHeaderBytes + head.length));
  }
  return frames;
}

}  // namespace weft::test
