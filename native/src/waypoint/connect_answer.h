#pragma once

namespace weft::waypoint {

// The answer that a client still waits for before its bytes may flow: that to a CONNECT. Ends with its stream.
class ConnectAnswer {
 public:
  virtual ~ConnectAnswer() = default;
  virtual void Accept() = 0;
  // Ends the stream too.
  virtual void Refuse() = 0;
};

}  // namespace weft::waypoint
