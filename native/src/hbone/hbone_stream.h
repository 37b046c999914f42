#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "hbone/h2_connection.h"
#include "net/byte_stream.h"

namespace weft {

// One CONNECT stream of a tunnel as a stream of bytes. What arrives and is not wanted yet waits within the stream's
// window; what is written leaves as the window allows.
class HboneStream : public ByteStream, protected StreamHandler {
 public:
  static constexpr size_t kHighWatermark = 256 * 1024;

  ~HboneStream() override;

  void Write(std::span<const uint8_t> bytes) override;
  Buffer& out() override { return out_; }
  void WriteSoon() override;
  size_t WriteRoom() const override;
  void PauseReads() override { paused_ = true; }
  void ResumeReads() override;
  void FinishWrites() override;
  void Close() override;
  void Abort() override;

 protected:
  HboneStream(LoopContext& context, StreamInfo info);
  // The stream that this is about, in whichever tunnel.
  void Attach(H2Connection& connection, H2Stream& stream);
  H2Session& session() { return connection_->session(); }
  H2Stream* stream() { return stream_; }
  bool down() const { return down_; }
  // Bytes may flow.
  void SetUp();
  void Down(StreamEnd end, std::string detail);

  LoopContext& context_;

 private:
  void OnStreamHeaders(const HeaderBlock&, bool) override {}
  void OnStreamData(std::span<const uint8_t> bytes) override;
  void OnStreamEnd() override;
  void OnStreamWritable() override;
  void OnStreamClosed(uint32_t code, bool by_peer) override;
  void Deliver();
  void Flush();
  void Report();

  H2Connection* connection_ = nullptr;
  H2Stream* stream_ = nullptr;
  Buffer out_;
  Buffer pending_;
  bool up_ = false;
  bool paused_ = true;
  bool read_end_due_ = false;
  bool finish_wanted_ = false;
  bool finished_ = false;
  mutable bool blocked_ = false;
  bool down_ = false;
  StreamEnd end_ = StreamEnd::kClosed;
  std::string detail_;
  TurnTask flush_task_;
  TurnTask deliver_task_;
  TurnTask report_task_;
};

// The accepting side. The peer waits for an answer: Accept, or Refuse and Abort.
class HboneServerStream final : public HboneStream {
 public:
  HboneServerStream(LoopContext& context, H2Connection& connection, H2Stream& stream, StreamInfo info);
  Status Begin() override;
  void Accept();
  // `status` as text: "503". The stream is over.
  void Refuse(std::string_view status);
};

// The asking side: made before there is a tunnel, then opened in one.
class HboneClientStream final : public HboneStream {
 public:
  HboneClientStream(LoopContext& context, StreamInfo info, std::string authority, std::string baggage,
                    std::string traceparent);
  Status Begin() override { return Ok{}; }
  // False: the tunnel takes no stream; try another.
  bool OpenIn(H2Connection& connection);
  void Fail(StreamEnd end, std::string detail) { Down(end, std::move(detail)); }
  ListLink<HboneClientStream> link_;  // while it waits for a tunnel

 private:
  void OnStreamHeaders(const HeaderBlock& headers, bool end) override;

  std::string authority_;
  std::string baggage_;
  std::string traceparent_;
};

}  // namespace weft
