/**
 * How the control plane does with many workloads: `node control/bench/scale.ts [workloads] [agents]`.
 * Loads synthetic pods and services into the model, then connects agents over gRPC and changes one pod at a time.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { ServerCredentials } from "@grpc/grpc-js";
import { pino } from "pino";
import { TokenAuthenticator } from "../src/auth/token-authenticator.ts";
import { CertificateService } from "../src/ca/certificate-service.ts";
import { NodeAuthorizer } from "../src/ca/node-authorizer.ts";
import { serveGrpc } from "../src/grpc-server.ts";
import { type Input, modelInputs } from "../src/kube/inputs.ts";
import { ControlMetrics } from "../src/metrics.ts";
import { MeshModel } from "../src/model/mesh-model.ts";
import { AdsService } from "../src/xds/ads-service.ts";

const [workloads = 2_000, agents = 50] = process.argv.slice(2).map(Number);
const NODES = 500;
const PODS_PER_SERVICE = 20;
const CHANGES = 100;

const settings = {
  clusterId: "Kubernetes",
  trustDomain: "cluster.local",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  dryRunPolicies: false,
  servicesSelectWorkloadEntries: true,
  waypointClasses: new Map(),
  autoAllowWaypoint: false,
};
const say = (text: string) => process.stdout.write(`${text}\n`);
const memoryMb = () => {
  globalThis.gc?.();
  return Math.round(process.memoryUsage().rss / 1e6);
};

const model = new MeshModel(settings);
const ignore = () => {};
const verdicts = {
  authorizationPolicy: ignore,
  peerAuthentication: ignore,
  serviceEntry: ignore,
  workloadEntry: ignore,
};
const inputs = new Map(modelInputs(model, verdicts).map((input) => [input.type.kind, input]));
const handler = (kind: string) => (inputs.get(kind) as Input).handler;

function pod(index: number, ready = "True") {
  const service = Math.floor(index / PODS_PER_SERVICE);
  return {
    metadata: {
      namespace: `ns-${service % 100}`,
      name: `app-${service}-5d8f7c9b4-${index.toString(36).padStart(5, "0")}`,
      uid: `00000000-0000-0000-0000-${String(index).padStart(12, "0")}`,
      labels: { app: `app-${service}`, version: "v1", "pod-template-hash": "5d8f7c9b4" },
      annotations: { "ambient.istio.io/redirection": "enabled" },
      ownerReferences: [{ kind: "ReplicaSet", name: `app-${service}-5d8f7c9b4`, controller: true }],
    },
    spec: { nodeName: `node-${index % NODES}`, serviceAccountName: `app-${service}`, containers: [] },
    status: {
      phase: "Running",
      podIP: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`,
      conditions: [{ type: "Ready", status: ready }],
    },
  };
}

function service(index: number) {
  return {
    metadata: { namespace: `ns-${index % 100}`, name: `app-${index}` },
    spec: {
      clusterIPs: [`10.96.${(index >> 8) & 255}.${index & 255}`],
      selector: { app: `app-${index}` },
      ports: [{ port: 80, targetPort: 8080, name: "http" }],
    },
  };
}

const atStart = memoryMb();
let begun = performance.now();
for (let i = 0; i < workloads / PODS_PER_SERVICE; i++) handler("Service").upsert(service(i) as never);
for (let i = 0; i < workloads; i++) handler("Pod").upsert(pod(i) as never);
model.flush();
say(
  `${workloads} workloads: built in ${Math.round(performance.now() - begun)} ms, ${memoryMb() - atStart} MB more than ${atStart} MB`,
);

begun = performance.now();
for (let i = 0; i < 1000; i++) {
  handler("Pod").upsert(pod((i * 7919) % workloads, i % 2 === 0 ? "False" : "Unknown") as never);
  model.flush();
}
say(`one pod's change: ${Math.round(performance.now() - begun)} us in the model`);

begun = performance.now();
handler("PeerAuthentication").upsert({
  metadata: { namespace: "istio-system", name: "default" },
  spec: { mtls: { mode: "STRICT" } },
} as never);
const { addresses } = model.flush();
say(`mesh-wide STRICT: ${addresses.changed.size} workloads in ${Math.round(performance.now() - begun)} ms`);

// ---- over gRPC ----------------------------------------------------------------------------------------------------
const log = pino({ level: "silent" });
const authenticator = new TokenAuthenticator({
  review: async () => ({
    authenticated: true,
    username: "system:serviceaccount:istio-system:weft-agent",
    audiences: ["istio-ca"],
    extra: {},
  }),
  audiences: ["istio-ca"],
  clusterId: "Kubernetes",
});
const metrics = new ControlMetrics(() => model);
const ads = new AdsService({
  model,
  authenticator,
  log,
  metrics: metrics.ads,
  programs: { loaded: async () => undefined },
  programListener: { answered: () => {}, gone: () => {} },
});
const certificates = new CertificateService({
  authenticator,
  authorizer: new NodeAuthorizer(model, []),
  authority: () => {
    throw new Error("no certificates here");
  },
  defaultTtlMs: 1,
  maxTtlMs: 1,
  log,
  metrics: metrics.certificates,
});
const grpc = await serveGrpc({ host: "127.0.0.1", port: 0 }, ServerCredentials.createInsecure(), ads, certificates);
const clients = fork(new URL("scale-agents.ts", import.meta.url), [
  String(grpc.port),
  String(agents),
  String(workloads),
]);
begun = performance.now();
const [loaded] = (await once(clients, "message")) as [{ bytes: number }];
const mb = Math.round(loaded.bytes / 1e6);
say(
  `${agents} agents loaded everything (${mb} MB) in ${Math.round(performance.now() - begun)} ms; rss ${memoryMb()} MB`,
);

const times: number[] = [];
for (let i = 0; i < CHANGES; i++) {
  const changed = performance.now();
  handler("Pod").upsert(pod((i * 7919) % workloads, "True") as never);
  ads.push(model.flush());
  await once(clients, "message");
  times.push(performance.now() - changed);
}
times.sort((a, b) => a - b);
const at = (part: number) => Math.round((times[Math.floor(times.length * part)] ?? 0) * 10) / 10;
say(`one pod's change at all ${agents} agents: median ${at(0.5)} ms, 99th percentile ${at(0.99)} ms`);
clients.kill();
await grpc.close();
process.exit(0);
