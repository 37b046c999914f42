#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "loop/drain_wait.h"
#include "net/capture.h"
#include "proxy/events.h"
#include "proxy/limits.h"
#include "proxy/policy_table.h"
#include "proxy/worker.h"

namespace weft {

struct EngineStats {
  uint64_t reasons[WEFT_R_MAX] = {};
  uint64_t open_connections = 0;
  uint64_t open_tunnels = 0;
  uint64_t buffered_bytes = 0;
};

struct DnsSockets {
  std::vector<UniqueFd> udp;
  std::vector<UniqueFd> tcp;
};

// The loops and what is common to them. One thread calls it (the JS thread); see native.ts for what each call means.
class Engine {
 public:
  // `capture` may be null: outbound connections are refused then. It and `sink` outlive the engine.
  static Result<std::unique_ptr<Engine>> Create(const EngineLimits& limits, std::shared_ptr<Capture> capture,
                                                EventSink& sink);
  ~Engine();

  Status AddPod(PodConfig config);
  void RemovePod(PodId id);
  Result<DnsSockets> OpenDnsSockets(PodId id);
  // All or nothing: a command that cannot be carried out leaves the tables as they were.
  Status Apply(std::vector<Command> commands);
  // What policies say after everything that was applied. A pod that is not there admits nobody.
  PolicyAnswer Evaluate(PodId id, const PeerInfo& peer) const { return policies_.Evaluate(id, peer); }
  std::vector<ConnectionRecord> Connections();
  EngineStats Stats();
  // `done` is called on another thread, once.
  void Drain(uint64_t deadline_ms, std::function<void()> done);
  void Close();

  // Ports that were bound, for tests with port 0: outbound, inbound plaintext, inbound HBONE.
  std::array<uint16_t, 3> Ports(PodId id) const;

 private:
  Engine(const EngineLimits& limits, std::shared_ptr<Capture> capture)
      : limits_(limits), capture_(std::move(capture)) {}
  // Runs on every loop and waits for all.
  void OnEachLoop(const std::function<void(Worker&)>& work);

  EngineLimits limits_;
  std::shared_ptr<Capture> capture_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unordered_map<PodId, std::shared_ptr<PodShared>> pods_;
  PolicyTable policies_;
  bool closed_ = false;

  DrainWait drain_;
};

}  // namespace weft
