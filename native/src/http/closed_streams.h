#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace weft::http {

// The streams of a peer that closed last. What it may still send on one depends on who ended it: behind its own end
// nothing is legal (RFC 9113 section 5.1), behind ours it may not have heard of it yet.
class ClosedStreams {
 public:
  enum class Kind : uint8_t {
    kForgotten,    // closed too long ago to say, or open
    kNeverOpened,  // a later one was opened in its stead
    kByUs,
    kByPeer,
  };

  void Add(int32_t id, bool by_peer) {
    Entry& oldest = entries_[next_++ % kKept];
    forgotten_ = std::max(forgotten_, oldest.id);
    oldest = {id, by_peer};
  }

  // Of a stream that is not open, below the highest that the peer has opened.
  Kind Of(int32_t id) const {
    for (const Entry& each : entries_) {
      if (each.id == id) return each.by_peer ? Kind::kByPeer : Kind::kByUs;
    }
    return id > forgotten_ ? Kind::kNeverOpened : Kind::kForgotten;
  }

 private:
  static constexpr size_t kKept = 32;
  struct Entry {
    int32_t id = 0;
    bool by_peer = false;
  };
  std::array<Entry, kKept> entries_{};
  size_t next_ = 0;
  int32_t forgotten_ = 0;  // the highest of those that had to go
};

}  // namespace weft::http
