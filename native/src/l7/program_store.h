#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "l7/program.h"
#include "l7/program_compiler.h"
#include "security/security_catalog.h"

namespace weft::l7 {

// Types of resources, by the names of their messages in proto/l7.proto.
enum class ResourceType : uint8_t {
  kSettings,
  kListener,
  kDestination,
  kCluster,
  kEndpoints,
  kPolicy,
  kJwt,
  kTelemetry,
  kRouteGroup
};

struct ResourceUpdate {
  ResourceType type;
  std::string name;
  std::string_view bytes;
};
struct ResourceName {
  ResourceType type;
  std::string name;
};
struct Rejection {
  ResourceType type;
  std::string name;
  std::string reason;
};

// Takes Cluster and Endpoints resources: upstream/ keeps those.
class ClusterResources {
 public:
  virtual Status SetCluster(const std::string& name, std::string_view bytes) = 0;
  virtual Status SetEndpoints(const std::string& name, std::string_view bytes) = 0;
  virtual void RemoveCluster(const std::string& name) = 0;
  virtual void RemoveEndpoints(const std::string& name) = 0;

 protected:
  ~ClusterResources() = default;
};

// The resources of the L7 program and the program that they make. One thread (JavaScript's) changes it. What a resource
// names elsewhere is resolved when the program is made, so resources may come in any order; what cannot be resolved
// denies or answers 503, and never opens anything. Only route groups must be there first, or come in the same batch:
// they are part of what names them.
class ProgramStore {
 public:
  explicit ProgramStore(ClusterResources& clusters);

  // Takes what is good of a batch; what is not leaves what was there under its name. Only what has changed is compiled.
  std::vector<Rejection> Apply(std::span<const ResourceUpdate> updated, std::span<const ResourceName> removed);
  // After the last Apply.
  std::shared_ptr<const Program> program() const { return program_; }

 private:
  struct ListenerParts {
    ListenerProgram listener;  // without its chain
    std::shared_ptr<const ChainParts> chain;
  };
  struct DestinationParts {
    std::shared_ptr<const DestinationProgram> facts;  // without its ports
    std::map<uint16_t, std::shared_ptr<const ChainParts>> ports;
  };

  Status Set(const ResourceUpdate& update);
  Status SetSettings(std::string_view bytes);
  Status SetListener(const std::string& name, std::string_view bytes);
  Status SetDestination(const std::string& name, std::string_view bytes);
  Status SetTelemetry(const std::string& name, std::string_view bytes);
  Status SetRouteGroup(const std::string& name, std::string_view bytes);
  void Remove(const ResourceName& removed);
  std::shared_ptr<const ChainProgram> Resolve(const ChainParts& parts) const;
  // Null: there is none of this name.
  std::shared_ptr<const telemetry::TelemetryProgram> FindTelemetry(const std::string& name) const;
  void Build();
  void ForgetAddresses(const std::string& destination, Program& program) const;
  void AddAddresses(const std::string& destination, Program& program) const;

  ClusterResources& clusters_;
  security::SecurityCatalog security_;
  std::shared_ptr<const SettingsProgram> settings_ = std::make_shared<SettingsProgram>();
  RouteGroups route_groups_;
  std::map<std::string, ListenerParts> listeners_;
  std::map<std::string, DestinationParts> destinations_;
  std::map<std::string, std::shared_ptr<const telemetry::TelemetryProgram>> telemetry_;
  std::shared_ptr<const Program> program_;
  // What must be made anew: destinations by name, or everything, after a change that chains refer to.
  std::set<std::string> changed_destinations_;
  bool everything_changed_ = true;
};

}  // namespace weft::l7
