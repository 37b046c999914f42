#pragma once

#include <cstddef>
#include <cstdint>

// HTTP/2 frames (RFC 9113 sections 4 and 6) as far as CONNECT tunnels need them.
namespace weft::h2 {

inline constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
inline constexpr size_t kPrefaceBytes = sizeof kPreface - 1;
inline constexpr size_t kFrameHeaderBytes = 9;
inline constexpr uint32_t kDefaultWindow = 65535;
inline constexpr uint32_t kMaxWindow = 0x7fffffff;
inline constexpr uint32_t kMinMaxFrame = 16384;
inline constexpr uint32_t kMaxMaxFrame = 16777215;
inline constexpr uint32_t kMaxStreamId = 0x7fffffff;

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};

enum FrameFlag : uint8_t {
  kAck = 0x1,
  kEndStream = 0x1,
  kEndHeaders = 0x4,
  kPadded = 0x8,
  kPriorityFlag = 0x20,
};

enum SettingId : uint16_t {
  kHeaderTableSize = 1,
  kEnablePush = 2,
  kMaxConcurrentStreams = 3,
  kInitialWindowSize = 4,
  kMaxFrameSize = 5,
  kMaxHeaderListSize = 6,
};

enum ErrorCode : uint32_t {
  kNoError = 0,
  kProtocolError = 1,
  kInternalError = 2,
  kFlowControlError = 3,
  kSettingsTimeout = 4,
  kStreamClosed = 5,
  kFrameSizeError = 6,
  kRefusedStream = 7,
  kCancel = 8,
  kCompressionError = 9,
  kConnectError = 10,
  kEnhanceYourCalm = 11,
};

struct FrameHeader {
  uint32_t length = 0;
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
};

inline uint32_t ReadU16(const uint8_t* p) { return static_cast<uint32_t>(p[0] << 8 | p[1]); }
inline uint32_t ReadU32(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 | static_cast<uint32_t>(p[2]) << 8 |
         p[3];
}
inline void WriteU16(uint8_t* p, uint32_t value) {
  p[0] = static_cast<uint8_t>(value >> 8);
  p[1] = static_cast<uint8_t>(value);
}
inline void WriteU32(uint8_t* p, uint32_t value) {
  WriteU16(p, value >> 16);
  WriteU16(p + 2, value & 0xffff);
}

inline FrameHeader ReadFrameHeader(const uint8_t* p) {
  return {static_cast<uint32_t>(p[0] << 16 | p[1] << 8 | p[2]), p[3], p[4], ReadU32(p + 5) & kMaxStreamId};
}
inline void WriteFrameHeader(uint8_t* p, const FrameHeader& header) {
  p[0] = static_cast<uint8_t>(header.length >> 16);
  WriteU16(p + 1, header.length & 0xffff);
  p[3] = header.type;
  p[4] = header.flags;
  WriteU32(p + 5, header.stream);
}

}  // namespace weft::h2
