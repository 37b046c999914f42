/** The only place where the agent's parts are put together. */
import { create } from "@bufbuild/protobuf";
import { joinHostPort } from "#lib/address.ts";
import { metricsRoutes, readinessRoutes } from "#lib/admin-routes.ts";
import { Drain } from "#lib/drain.ts";
import { HostCache } from "#lib/host-cache.ts";
import { HttpListener } from "#lib/http-listener.ts";
import { type Authority, authorityAt } from "#lib/identity/ca-client.ts";
import { IdentityManager } from "#lib/identity/identity-manager.ts";
import type { KubeClient } from "#lib/kube/client.ts";
import { LogRoot } from "#lib/log.ts";
import { MetricsPage } from "#lib/metrics.ts";
import { Readiness } from "#lib/readiness.ts";
import { VERSION } from "#lib/version.ts";
import { AdsClient } from "#lib/xds/ads-client.ts";
import { openChannel, requestMetadata } from "#lib/xds/channel.ts";
import { formatNodeId } from "#lib/xds/types.ts";
import { type Node, NodeSchema } from "#proto/discovery_pb.ts";
import { adminRoutes } from "./admin/admin.ts";
import type { AgentConfig } from "./config.ts";
import { Decisions } from "./decisions.ts";
import { DnsServer } from "./dns/dns-server.ts";
import { DnsForwarder } from "./dns/forwarder.ts";
import { EnginePort } from "./engine-port.ts";
import { KubeAnnotator } from "./enroll/annotator.ts";
import { findCgroups } from "./enroll/cgroups.ts";
import { Enroller } from "./enroll/enroller.ts";
import { LocalPods } from "./enroll/local-pods.ts";
import { Newcomers } from "./enroll/newcomers.ts";
import { PodFolders } from "./enroll/pod-folders.ts";
import { PodWatch } from "./enroll/pod-watch.ts";
import { isRemoved } from "./enroll/removal.ts";
import type { Addon, EngineEvent } from "./native.ts";
import { runNriPlugin } from "./nri/plugin.ts";
import type { RouteRequest } from "./route/route-book.ts";
import { MeshState } from "./state/mesh-state.ts";
import { AgentMetrics } from "./telemetry/agent-metrics.ts";
import { Attributor } from "./telemetry/attribution.ts";
import { Telemetry } from "./telemetry/telemetry.ts";
import { loadLocalFile } from "./xds/local-file.ts";
import { meshHandlers } from "./xds/mesh-handlers.ts";

/** What the agent cannot make itself. */
export interface AgentParts {
  readonly addon: Addon;
  readonly kube: KubeClient;
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
  /** Drains, then closes everything. Captures stay: they are the next agent's, unless the agent is being removed from the cluster. */
  close(reason: string): Promise<void>;
}

const HOST_REFRESH_MS = 5000;
/** For taking the annotations of a node's pods away, when the agent goes for good. */
const LEAVE_MS = 10_000;

/** Starts the agent. Rejects with one sentence when something that it cannot do without is missing. */
export async function startAgent(config: AgentConfig, parts: AgentParts): Promise<Agent> {
  const { addon, kube } = parts;
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
  const attributor = new Attributor(state, pods, config.network);
  const hosts = new HostCache({ onChange: (hostname) => decisions.reroute([`dns:${hostname}`]) });
  const { network, clusterId, nodeName } = config;
  const lookUpHost = hosts.lookUp;
  const decisions = new Decisions({
    state,
    pods,
    engine,
    port,
    plane: bpf,
    attributor,
    lookUpHost,
    network,
    clusterId,
    nodeName,
    log,
  });
  const { direct, routes } = decisions;
  const authority = certificateAuthority(config);
  const identities = new IdentityManager({ authority, push: port.push, log: log.logger("identity") });

  // ---- telemetry --------------------------------------------------------------------------------------------------
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
  const enrollLog = log.logger("enroll");
  const folders = new PodFolders({
    podsCgroup: cgroups.pods,
    onChange: (uid) => enroller.folderChanged(uid),
    onStranger: (path) => newcomers.sayOfFolder(path, "outside"),
    log: enrollLog,
  });
  const newcomers = new Newcomers({ plane: bpf, folders, log: enrollLog });
  const enroller = new Enroller({
    source: watch,
    engine,
    bpf,
    pods,
    annotator: new KubeAnnotator(kube, enrollLog, drain.signal),
    podsCgroup: cgroups.pods,
    folders,
    newcomers,
    trustDomain: config.trustDomain,
    excludedNamespaces: config.excludedNamespaces,
    dns: config.dns.enabled,
    log: enrollLog,
    netnsCookie: addon.netnsCookie,
    hooks: {
      added: (pod) => {
        decisions.podAdded(pod);
        identities.acquire(pod.identity);
        if (pod.dns) dns.addPod(pod, engine.openDnsSockets(pod.id));
      },
      captured: (pod) => decisions.podCaptured(pod),
      letGo: (pod, kept) => decisions.podLetGo(pod, kept),
      removed: (pod) => {
        dns.removePod(pod.id);
        identities.release(pod.identity);
        attributor.memory.podLeft(pod);
        decisions.podRemoved(pod);
      },
      rechecked: () => direct.recheck(),
    },
  });

  function onEvents(events: readonly EngineEvent[]): void {
    const misses: RouteRequest[] = [];
    for (const event of events) {
      switch (event.type) {
        case "closed":
          telemetry.closed(event.record);
          break;
        case "route-miss":
          misses.push(event);
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
    decisions.routesMissed(misses);
  }
  const dryRunLog = log.logger("rbac");

  state.onChange(({ keys }) => {
    attributor.forget();
    decisions.meshChanged(keys);
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
    version: { version: VERSION, gitRevision: "", gitTag: config.istioVersion },
  };
  admin.serve(adminRoutes({ log, quit: quit.resolve, dump }));
  scrape.serve(metricsRoutes(new MetricsPage(metrics.registry)));

  // ---- start ------------------------------------------------------------------------------------------------------
  ads = await startResources(config, state, readiness, log, metrics, drain.signal);
  // To the very end: a draining agent still tells newborn pods apart.
  const watchEnd = new AbortController();
  const watching = watch.run(watchEnd.signal);
  if (config.nriSocket !== undefined) {
    const onSandbox = (uid: string, signal: AbortSignal) => {
      enroller.folderChanged(uid);
      return newcomers.settled(uid, signal);
    };
    void runNriPlugin({ socketPath: config.nriSocket, onSandbox, log: enrollLog }, drain.signal);
  }
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
      enroller.drain();
      const { podNamespace: namespace, podName } = config;
      const removed = await isRemoved({ client: kube, namespace, podName, log: main });
      if (removed) await enroller.leaveForGood(AbortSignal.timeout(LEAVE_MS));
      drain.start(reason);
      await engine.drain(config.terminationDeadlineMs);
      enroller.stop();
      folders.close();
      watchEnd.abort();
      await watching;
      clearInterval(hostRefresh);
      direct.close();
      identities.close();
      authority.close();
      dns.close();
      engine.close();
      bpf.close();
      if (removed) addon.cleanupBpf(config.bpf.pinDir);
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
    metadata: { ...config.metadata, WEFT_VERSION: VERSION } as NonNullable<Node["metadata"]>,
  });
}

function certificateAuthority(config: AgentConfig): Authority {
  const { ca, token, clusterId, secretTtlMs } = config;
  return authorityAt(ca, { token, clusterId, ttlMs: secretTtlMs, impersonate: true });
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
