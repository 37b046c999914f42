#pragma once

#include <optional>
#include <string>

#include "base/intrusive_list.h"
#include "policy/evaluate.h"
#include "proxy/events.h"

namespace weft {

class Worker;
struct PodState;

// One proxied connection of a pod, from accept to its record. Lives on one loop, in its pod's list.
class Connection {
 public:
  Connection(Worker& worker, PodState& pod, ConnectionRecord record);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  virtual ~Connection();

  // Ends it now, with RST towards the application. The object is retired.
  virtual void Terminate(weft_reason reason, std::string detail) = 0;
  // Decides again with the policies that now hold.
  void CheckPolicy();
  // The record with the counters as they are now.
  virtual ConnectionRecord Snapshot() const;

 protected:
  // What policies are asked about; nullopt where they are not: outbound, the destination decides.
  virtual std::optional<PeerInfo> Peer() const { return std::nullopt; }
  // Asks the policies: why they refuse, with the policy that does in the record, or nullopt. `report` as for Admit.
  std::optional<std::string> Denied(const SocketAddress* report);
  // Emits the record and retires this object. Nothing may be touched afterwards but by returning.
  void Finish(weft_reason reason, std::string detail);
  bool finished() const { return finished_; }
  // For an object that hands its record on to another: retires it without a record.
  ConnectionRecord HandOver();

  Worker& worker_;
  PodState& pod_;
  ConnectionRecord record_;

 private:
  friend struct PodState;
  void Leave();
  ListLink<Connection> link_;
  bool finished_ = false;
};

}  // namespace weft
