/** The only place where the agent's parts are put together. */
import { create } from "@bufbuild/protobuf";
import { joinHostPort } from "#lib/address.ts";
import { Drain } from "#lib/drain.ts";
import type { KubeClient } from "#lib/kube/client.ts";
import { LogRoot } from "#lib/log.ts";
import { MetricsPage } from "#lib/metrics.ts";
import { Readiness } from "#lib/readiness.ts";
import { formatNodeId } from "#lib/xds/types.ts";
import { type Node, NodeSchema } from "#proto/discovery_pb.ts";
import { adminRoutes, metricsRoutes, readinessRoutes } from "./admin/admin.ts";
import { HttpListener } from "./admin/http.ts";
import type { AgentConfig, PeerConfig } from "./config.ts";
import { DirectPath } from "./direct/direct-path.ts";
import { DnsServer } from "./dns/dns-server.ts";
import { DnsForwarder } from "./dns/forwarder.ts";
import { EnginePort } from "./engine-port.ts";
import { KubeAnnotator } from "./enroll/annotator.ts";
import { findCgroups } from "./enroll/cgroups.ts";
import { Enroller } from "./enroll/enroller.ts";
import { keysOfPod, LocalPods } from "./enroll/local-pods.ts";
import { ProfileSync } from "./enroll/pod-profile.ts";
import { PodWatch } from "./enroll/pod-watch.ts";
import { CaClient, type CertificateAuthority } from "./identity/ca-client.ts";
import { IdentityManager } from "./identity/identity-manager.ts";
import type { Addon, Command, EngineEvent } from "./native.ts";
import { PolicySync } from "./policy/policy-sync.ts";
import { HostCache } from "./route/host-cache.ts";
import { RouteBook } from "./route/route-book.ts";
import { MeshState } from "./state/mesh-state.ts";
import { AgentMetrics } from "./telemetry/agent-metrics.ts";
import { Attributor } from "./telemetry/attribution.ts";
import { Telemetry } from "./telemetry/telemetry.ts";
import { AdsClient } from "./xds/ads-client.ts";
import { openChannel, requestMetadata } from "./xds/channel.ts";
import { loadLocalFile } from "./xds/local-file.ts";
import { meshHandlers } from "./xds/mesh-handlers.ts";

/** What the agent cannot make itself. */
export interface AgentParts {
  readonly addon: Addon;
  readonly kube: KubeClient;
  readonly version: string;
}

export interface BoundAddresses {
  readonly admin: { readonly host: string; readonly port: number };
  readonly metrics: { readonly host: string; readonly port: number };
  readonly ready: { readonly host: string; readonly port: number };
}

export interface Agent {
  /** Where the HTTP servers listen; port 0 in the configuration means any free one. */
  readonly addresses: BoundAddresses;
  readonly log: LogRoot;
  readonly readiness: Readiness;
  /** Resolves with the reason when somebody asked the agent to end over HTTP. */
  readonly quitRequested: Promise<string>;
  /** Drains, then closes everything. Captures stay: they are the next agent's. */
  close(reason: string): Promise<void>;
}

const HOST_REFRESH_MS = 5000;

/** Starts the agent. Rejects with one sentence when something that it cannot do without is missing. */
export async function startAgent(config: AgentConfig, parts: AgentParts): Promise<Agent> {
  const { addon, kube, version } = parts;
  const log = new LogRoot({ format: config.log.format, filter: config.log.filter });
  const drain = new Drain();
  const readiness = new Readiness();
  const podsSynced = readiness.task("pods");
  let ads: AdsClient | undefined;

  // ---- ports, before anything of the kernel is touched -----------------------------------------------------------
  const admin = await HttpListener.open(config.admin);
  const scrape = await HttpListener.open(config.metrics);
  const ready = await HttpListener.open(config.ready);
  ready.serve(readinessRoutes(readiness));

  // ---- what the mesh is -------------------------------------------------------------------------------------------
  const state = new MeshState(config);
  const pods = new LocalPods(state);

  // ---- kernel and engine ------------------------------------------------------------------------------------------
  const cgroups = findCgroups(config.bpf);
  const bpf = addon.loadBpf({
    pinDir: config.bpf.pinDir,
    podsCgroup: cgroups.pods,
    agentCgroup: cgroups.agent,
    ...(cgroups.kubelet === undefined ? {} : { kubeletCgroup: cgroups.kubelet }),
    onDirectEvents: (events) => direct.onEvents(events),
  });
  const main = log.logger("agent");
  if (cgroups.kubelet === undefined) main.warn("no cgroup of a kubelet found: its probes are not exempt");
  const engine = addon.createEngine({ ...config.engine, ipv6: config.ipv6, onEvents }, bpf);
  const port = new EnginePort(engine, main);

  // ---- decisions --------------------------------------------------------------------------------------------------
  const hosts = new HostCache({ onChange: (hostname) => reroute([`dns:${hostname}`]) });
  const routes = new RouteBook({
    view: state,
    workloadOf: pods.workloadOf,
    keyOf: pods.keyOf,
    lookUpHost: hosts.lookUp,
    localSource: (pod) => direct.localSource(pod),
    onDirect: (pod, destination, endpoints) => direct.setRoute(pod, destination, endpoints),
  });
  const policies = new PolicySync({ policies: state.policies, workloadOf: pods.workloadOf });
  const profiles = new ProfileSync(state, pods.workloadOf);
  const authority = certificateAuthority(config);
  const identities = new IdentityManager({ authority, push: port.push, log: log.logger("identity") });

  // ---- telemetry --------------------------------------------------------------------------------------------------
  const attributor = new Attributor(state, pods, config.network);
  const direct = new DirectPath({
    plane: bpf,
    engine,
    state,
    pods,
    policies,
    attributor,
    network: config.network,
    log,
    compile: (pod, destination) => port.push(routes.miss(pod, destination)),
  });
  const telemetry = new Telemetry(attributor, log, () => engine.connections(), direct.telemetry);
  const metrics = new AgentMetrics({
    refresh: () => telemetry.refresh(),
    series: () => attributor.series.values(),
    open: () => telemetry.open,
    engine: () => engine.stats(),
    bpf: () => bpf.counters(),
    direct: () => direct.figures(),
    eventsLost: () => telemetry.eventsLost,
    pods: () => enroller.counts(),
    mesh: () => ({
      workloads: state.workloads.size,
      services: state.services.size,
      policies: state.policies.size,
      routes: routes.size,
    }),
    identities: () => countIdentities(identities),
    connected: () => ads?.connected ?? false,
    tag: config.istioVersion,
  });

  // ---- pods -------------------------------------------------------------------------------------------------------
  const dns = new DnsServer({
    view: state,
    clusterDomain: config.clusterDomain,
    preferredNamespace: config.dns.preferredNamespace,
    ipv6: config.ipv6,
    forwarder: new DnsForwarder({ resolvConf: config.dns.resolvConf }),
    workloadOf: pods.workloadOf,
    log: log.logger("dns"),
    observer: {
      request: (labels) => metrics.dnsRequests.inc(labels),
      upstream: (labels, seconds, failed) => {
        metrics.dnsUpstream.inc(labels);
        metrics.dnsSeconds.observe(labels, seconds);
        if (failed) metrics.dnsFailures.inc(labels);
      },
    },
  });
  const watch = new PodWatch({
    client: kube,
    nodeName: config.nodeName,
    onPod: (uid) => enroller.reconcile(uid),
    onNamespace: (name) => enroller.namespaceChanged(name),
    log: log.logger("kube"),
  });
  const enroller = new Enroller({
    source: watch,
    engine,
    bpf,
    pods,
    annotator: new KubeAnnotator(kube, log.logger("enroll"), drain.signal),
    podsCgroup: cgroups.pods,
    trustDomain: config.trustDomain,
    excludedNamespaces: config.excludedNamespaces,
    dns: config.dns.enabled,
    log: log.logger("enroll"),
    netnsCookie: addon.netnsCookie,
    hooks: {
      added: (pod) => {
        decide(policies.addPod(pod.id));
        port.push(profiles.addPod(pod.id));
        identities.acquire(pod.identity);
        if (pod.dns) dns.addPod(pod, engine.openDnsSockets(pod.id));
      },
      captured: (pod) => {
        reroute(keysOfPod(pod));
        direct.captured(pod);
      },
      letGo: (pod, kept) => {
        reroute(keysOfPod(pod));
        direct.letGo(pod, kept);
      },
      rechecked: () => direct.recheck(),
      removed: (pod) => {
        dns.removePod(pod.id);
        identities.release(pod.identity);
        routes.forgetPod(pod.id);
        profiles.removePod(pod.id);
        attributor.memory.podLeft(pod);
        port.push(policies.removePod(pod.id));
      },
    },
  });

  /** Policies, which BPF must not outrun: what it decided by others counts no more before the engine hears of them. */
  function decide(commands: readonly Command[]): void {
    direct.expire(policies.affectedBy(commands));
    port.push(commands);
  }

  /** Routes of the engine and of BPF that rest on these keys. */
  function reroute(keys: Iterable<string>): void {
    port.push(routes.change(keys));
    direct.flush();
  }

  function onEvents(events: readonly EngineEvent[]): void {
    const commands: Command[] = [];
    for (const event of events) {
      switch (event.type) {
        case "closed":
          telemetry.closed(event.record);
          break;
        case "route-miss":
          commands.push(...routes.miss(event.pod, event.destination));
          break;
        case "identity-miss":
          identities.urgent(event.identity);
          break;
        case "dry-run":
          dryRunLog.info("dry-run policy decided", {
            policy: event.policy,
            "dst.workload": pods.get(event.pod)?.name,
            "src.addr": joinHostPort(event.source.ip, event.source.port),
            "src.identity": event.peerIdentity,
          });
          break;
        case "events-lost":
          telemetry.lost(event.count);
          break;
      }
    }
    port.push(commands);
    direct.flush();
  }
  const dryRunLog = log.logger("rbac");

  state.onChange(({ keys }) => {
    attributor.forget();
    decide(policies.change());
    port.push(profiles.change());
    reroute(keys);
    direct.settle();
    for (const key of keys) {
      if (!key.startsWith("local:")) continue;
      enroller.localsChanged();
      break;
    }
  });

  // ---- servers ----------------------------------------------------------------------------------------------------
  const quit = Promise.withResolvers<string>();
  const dump = {
    state,
    identities: () => identities.status(),
    pods: () => enroller.status(),
    connections: () => engine.connections(),
    direct,
    config: publicConfig(config),
    version: { version, gitRevision: "", gitTag: config.istioVersion },
  };
  admin.serve(adminRoutes({ log, quit: quit.resolve, dump }));
  scrape.serve(metricsRoutes(new MetricsPage(metrics.registry)));

  // ---- start ------------------------------------------------------------------------------------------------------
  ads = await startResources(config, state, readiness, log, metrics, drain.signal);
  const watching = watch.run(drain.signal);
  void watch.synced.then(() => {
    if (drain.signal.aborted) return;
    enroller.start();
    direct.podsKnown();
    podsSynced();
  });
  const hostRefresh = setInterval(() => hosts.refresh((host) => routes.uses(`dns:${host}`)), HOST_REFRESH_MS);
  hostRefresh.unref();

  return {
    addresses: { admin: admin.address, metrics: scrape.address, ready: ready.address },
    log,
    readiness,
    quitRequested: quit.promise,
    async close(reason) {
      main.info("draining", { reason, deadline_ms: config.terminationDeadlineMs });
      readiness.task("draining");
      enroller.stop();
      drain.start(reason);
      await engine.drain(config.terminationDeadlineMs);
      await watching;
      clearInterval(hostRefresh);
      direct.close();
      identities.close();
      if (authority instanceof CaClient) authority.close();
      dns.close();
      engine.close();
      bpf.close();
      kube.close();
      await Promise.all([admin.close(), scrape.close(), ready.close()]);
      log.flush();
    },
  };
}

/** From the control plane, or from a file. Undefined when there is no stream. */
async function startResources(
  config: AgentConfig,
  state: MeshState,
  readiness: Readiness,
  log: LogRoot,
  metrics: AgentMetrics,
  signal: AbortSignal,
): Promise<AdsClient | undefined> {
  if (config.localXdsPath !== undefined) {
    await loadLocalFile(config.localXdsPath, state);
    return undefined;
  }
  const peer = config.xds;
  if (peer === undefined) throw new Error("XDS_ADDRESS is empty and LOCAL_XDS_PATH is not set: no source of workloads");
  const handlers = meshHandlers(state);
  const tasks = new Map([...handlers.keys()].map((type) => [type, readiness.task(`xds ${type.split(".").at(-1)}`)]));
  const client = new AdsClient({
    types: handlers,
    node: nodeOf(config),
    open: async () => ({
      metadata: await requestMetadata(config.token, config.clusterId, peer),
      client: await openChannel(peer),
    }),
    log: log.logger("xds"),
    onSynced: (type) => {
      state.markSynced(type);
      tasks.get(type)?.();
    },
    onMessage: (url, bytes) => {
      metrics.xdsMessages.inc({ url });
      metrics.xdsBytes.inc({ url }, bytes);
    },
    onEnd: (reason) => metrics.xdsTerminations.inc({ reason }),
  });
  void client.run(signal);
  return client;
}

function nodeOf(config: AgentConfig): Node {
  return create(NodeSchema, {
    id: formatNodeId({
      type: "ztunnel",
      ip: config.instanceIp,
      podName: config.podName,
      namespace: config.podNamespace,
    }),
    metadata: config.metadata as NonNullable<Node["metadata"]>,
  });
}

function certificateAuthority(config: AgentConfig): CertificateAuthority {
  const peer: PeerConfig | undefined = config.ca;
  if (peer === undefined) {
    return { issue: () => Promise.reject(new Error("CA_ADDRESS is empty: no certificate can be had")) };
  }
  return new CaClient({
    open: () => openChannel(peer),
    metadata: () => requestMetadata(config.token, config.clusterId, peer),
    ttlMs: config.secretTtlMs,
  });
}

function countIdentities(identities: IdentityManager): { available: number; missing: number } {
  const all = identities.status();
  const available = all.filter(({ state }) => state === "Available").length;
  return { available, missing: all.length - available };
}

/** What a dump may show: no token, no key. */
function publicConfig(config: AgentConfig): Record<string, unknown> {
  return { ...config, token: config.token.kind };
}
