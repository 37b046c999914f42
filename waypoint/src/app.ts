/** The only place where the waypoint's parts are put together. */
import { create } from "@bufbuild/protobuf";
import { metricsRoutes, readinessRoutes } from "#lib/admin-routes.ts";
import { Drain } from "#lib/drain.ts";
import type { ListenConfig } from "#lib/env.ts";
import { HttpListener } from "#lib/http-listener.ts";
import { certificateJson } from "#lib/identity/certificate-json.ts";
import { LogRoot } from "#lib/log.ts";
import { MetricsPage } from "#lib/metrics.ts";
import { Readiness } from "#lib/readiness.ts";
import { releaseMemory } from "#lib/release-memory.ts";
import { VERSION } from "#lib/version.ts";
import { AdsClient } from "#lib/xds/ads-client.ts";
import { openChannel, requestMetadata } from "#lib/xds/channel.ts";
import { formatNodeId } from "#lib/xds/types.ts";
import { type Node, NodeSchema } from "#proto/discovery_pb.ts";
import { adminRoutes } from "./admin/admin.ts";
import type { WaypointConfig } from "./config.ts";
import { startIdentity } from "./identity.ts";
import type { L7Addon } from "./native.ts";
import { loadLocalProgram } from "./program/local-file.ts";
import { NamedHosts } from "./program/named-hosts.ts";
import { ProgramSync } from "./program/program-sync.ts";
import { L7_TYPES, typeUrlOf } from "./program/types.ts";
import type { ProxyFacts } from "./telemetry/span.ts";
import { WaypointTelemetry } from "./telemetry/telemetry.ts";

/** What the waypoint cannot make itself. */
export interface WaypointParts {
  readonly addon: L7Addon;
}

export interface Waypoint {
  /** Where the HTTP servers listen; port 0 in the configuration means any free one. */
  readonly addresses: { readonly admin: ListenConfig; readonly metrics: ListenConfig; readonly ready: ListenConfig };
  readonly log: LogRoot;
  readonly readiness: Readiness;
  /** Resolves with the reason when somebody asked the waypoint to end over HTTP. */
  readonly quitRequested: Promise<string>;
  /** Drains, then closes everything. */
  close(reason: string): Promise<void>;
}

const HOST_REFRESH_MS = 5000;

/** Starts the waypoint. Rejects with one sentence when something that it cannot do without is missing. */
export async function startWaypoint(config: WaypointConfig, parts: WaypointParts): Promise<Waypoint> {
  const log = new LogRoot({ format: config.log.format, filter: config.log.filter });
  const main = log.logger("waypoint");
  const drain = new Drain();
  const readiness = new Readiness();
  const certificate = readiness.task("certificate");
  const program = readiness.task("program");

  // ---- ports of the process -----------------------------------------------------------------------------------------
  const admin = await HttpListener.open(config.admin);
  const scrape = await HttpListener.open(config.metrics);
  const ready = await HttpListener.open(config.ready);
  ready.serve(readinessRoutes(readiness));

  // ---- engine -------------------------------------------------------------------------------------------------------
  const engine = parts.addon.createL7Engine({
    ...(config.loops === undefined ? {} : { loops: config.loops }),
    ...(config.hbone === undefined ? {} : { hbone: { address: config.hbone.host, port: config.hbone.port } }),
    locality: config.locality,
    labels: config.labels,
    baggage: baggageOf(config),
    onRecords: (batch) => telemetry.onRecords(batch),
  });

  const telemetry: WaypointTelemetry = new WaypointTelemetry({
    series: () => engine.series(),
    stats: () => engine.stats(),
    call: (request) => engine.call(request),
    proxy: proxyFacts(config),
    log: log.logger("telemetry"),
    tag: config.istioVersion,
  });

  // ---- program ------------------------------------------------------------------------------------------------------
  const hosts: NamedHosts = new NamedHosts({ onChange: (clusters) => sync.rehost(clusters) });
  const sync = new ProgramSync({
    engine,
    hosts,
    log: log.logger("program"),
    onApplied: (updated, removed) => telemetry.apply(updated, removed),
  });
  void sync.loaded.then(() => {
    main.info("program in force", { listening: JSON.stringify(engine.listening()) });
    program();
  });
  const hostRefresh = setInterval(() => hosts.refresh(), HOST_REFRESH_MS);
  hostRefresh.unref();

  // ---- servers ------------------------------------------------------------------------------------------------------
  const quit = Promise.withResolvers<string>();
  scrape.serve(metricsRoutes(new MetricsPage(telemetry.registry)));

  // ---- start --------------------------------------------------------------------------------------------------------
  const identity = await startIdentity(config, engine, log);
  void identity.ready.then(certificate);
  const ads = await startProgram(config, sync, log, drain.signal);
  const dump = () => ({
    program: sync.status(),
    listening: engine.listening(),
    connected: ads?.connected ?? false,
    certificates: identity.status().map(certificateJson),
    version: { version: VERSION, gitTag: config.istioVersion },
    config: { ...config, token: config.token.kind, environment: undefined },
  });
  admin.serve(adminRoutes({ dump, stats: () => engine.stats(), log, quit: quit.resolve }));

  return {
    addresses: { admin: admin.address, metrics: scrape.address, ready: ready.address },
    log,
    readiness,
    quitRequested: quit.promise,
    async close(reason) {
      main.info("draining", { reason, deadline_ms: config.terminationDeadlineMs });
      readiness.task("draining");
      drain.start(reason);
      await engine.drain(config.terminationDeadlineMs);
      clearInterval(hostRefresh);
      identity.close();
      // The last spans go by the engine too.
      engine.flushRecords();
      await telemetry.close();
      engine.close();
      await Promise.all([admin.close(), scrape.close(), ready.close()]);
      log.flush();
    },
  };
}

/** From the control plane, or from a file. Undefined when there is no stream. */
async function startProgram(
  config: WaypointConfig,
  sync: ProgramSync,
  log: LogRoot,
  signal: AbortSignal,
): Promise<AdsClient | undefined> {
  if (config.localProgramPath !== undefined) {
    await loadLocalProgram(config.localProgramPath, sync);
    // As after the first answer of a control plane: the text of 1,000 routes leaves some 17 MB of garbage.
    releaseMemory();
    return undefined;
  }
  const peer = config.xds;
  if (peer === undefined) throw new Error("XDS_ADDRESS is empty and LOCAL_XDS_PATH is not set: no source of a program");
  const types = new Map(L7_TYPES.map((type) => [typeUrlOf(type), type]));
  const client = new AdsClient({
    types: sync.handlers(),
    node: nodeOf(config),
    open: async () => ({
      metadata: await requestMetadata(config.token, config.clusterId, peer),
      client: await openChannel(peer),
    }),
    log: log.logger("xds"),
    onSynced: (url) => {
      const type = types.get(url);
      if (type !== undefined) sync.markSynced(type);
    },
  });
  void client.run(signal);
  return client;
}

function nodeOf(config: WaypointConfig): Node {
  return create(NodeSchema, {
    id: nodeIdOf(config),
    metadata: { ...config.metadata, WEFT_VERSION: VERSION } as NonNullable<Node["metadata"]>,
  });
}

function nodeIdOf({ role, instanceIp, podName, podNamespace }: WaypointConfig): string {
  return formatNodeId({ type: role, ip: instanceIp, podName, namespace: podNamespace });
}

function proxyFacts(config: WaypointConfig): ProxyFacts {
  const { labels, clusterId } = config;
  return {
    hostname: config.podName,
    identity: config.identity,
    environment: config.environment,
    nodeId: nodeIdOf(config),
    ip: config.instanceIp,
    namespace: config.podNamespace,
    clusterId,
    meshId: String(config.metadata.MESH_ID ?? config.identity.split("/")[2]),
    zone: config.locality.zone,
    canonicalService: labels["service.istio.io/canonical-name"] ?? gatewayName(config),
    canonicalRevision: labels["service.istio.io/canonical-revision"] ?? "latest",
  };
}

function gatewayName({ labels, podName }: WaypointConfig): string {
  return labels["gateway.networking.k8s.io/gateway-name"] ?? podName;
}

/** What the waypoint says of itself where it opens tunnels. */
function baggageOf(config: WaypointConfig): string {
  const { clusterId, podNamespace } = config;
  const name = gatewayName(config);
  return [
    `k8s.cluster.name=${clusterId}`,
    `k8s.namespace.name=${podNamespace}`,
    `k8s.deployment.name=${name}`,
    `service.name=${name}`,
  ].join(",");
}
