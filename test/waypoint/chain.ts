/**
 * All that is between a resource and an answer, without a kernel's part in it: a Kubernetes API in memory, the real control
 * plane, the real waypoint process with its certificate and program from there, and backends on loopback addresses. Clients
 * come through tunnels, as agents make them.
 */
import { randomInt, randomUUID } from "node:crypto";
import { type IncomingHttpHeaders, request } from "node:http";
import { createServer } from "node:net";
import type { Duplex } from "node:stream";
import { pino } from "pino";
import { parseAllDocuments } from "yaml";
import { eventually } from "#lib/eventually.ts";
import { authorityAt } from "#lib/identity/ca-client.ts";
import type { KubeObject, ResourceType } from "#lib/kube/types.ts";
import * as kinds from "#lib/kube/types.ts";
import { type Control, startControl } from "../../control/src/app.ts";
import { controlConfig } from "../../control/src/config.ts";
import { ANYWHERE } from "../helpers/control-ports.ts";
import { FakeKube } from "../helpers/fake-kube.ts";
import { HboneClient } from "../helpers/hbone-client.ts";
import { WaypointProcess } from "../helpers/waypoint-process.ts";
import { Backend } from "./backend.ts";

export const NAMESPACE = "shop";
const LOG = "accessLogFile: /dev/stdout\naccessLogEncoding: JSON\n";
/** Loaded machines are slow; nothing here waits for a time. */
const PATIENCE_MS = 20_000;

/** A line of the access log, by Istio's keys of it. */
export type AccessLine = Readonly<Record<string, string | number | null>>;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** False: it was cut. */
  readonly complete: boolean;
  /** Its line in the waypoint's log. */
  readonly line: () => Promise<AccessLine>;
}

export interface Question {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The client's service account. */
  readonly as?: string;
}

export interface ChainOptions {
  /** YAML, beside where the access log goes. */
  readonly meshConfig?: string;
  readonly control?: Readonly<Record<string, string>>;
  readonly waypoint?: Readonly<Record<string, string>>;
}

const TYPES = new Map(
  Object.values(kinds)
    .filter((value): value is ResourceType<KubeObject> => typeof value === "object" && "plural" in value)
    .map((type) => [type.kind, type]),
);

export class WaypointChain {
  readonly kube: FakeKube;
  readonly control: Control;
  readonly waypoint: WaypointProcess;
  /** Where all backends listen, each on its own address. */
  readonly port: number;
  readonly backends = new Map<string, Backend>();
  readonly #addresses: string;
  readonly #roots: string;
  readonly #vips = new Map<string, string>();
  readonly #clients = new Map<string, Promise<HboneClient>>();

  static async start(options: ChainOptions = {}): Promise<WaypointChain> {
    const kube = await FakeKube.start();
    for (const name of ["istio-system", NAMESPACE]) kube.put(kinds.NAMESPACES, { metadata: { name } });
    kube.put(kinds.CONFIG_MAPS, {
      metadata: { namespace: "istio-system", name: "istio" },
      data: { mesh: LOG + (options.meshConfig ?? "") },
    });
    kube.put(kinds.GATEWAYS, {
      metadata: { namespace: NAMESPACE, name: "waypoint", uid: "waypoint", generation: 1 },
      spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
    });
    allow(kube, "waypoint");
    const log = pino({ level: "silent" });
    const config = controlConfig({ ...ANYWHERE, ...options.control });
    const control = await startControl(config, { client: kube.client(), log });
    const secret = kube.read(kinds.SECRETS, "istio-system", "istio-ca-secret")?.data ?? {};
    const roots = Buffer.from(secret["root-cert.pem"] ?? "", "base64").toString();
    const address = `https://localhost:${control.grpcPort}`;
    const waypoint = await WaypointProcess.start({
      POD_NAME: "waypoint-1",
      POD_NAMESPACE: NAMESPACE,
      SERVICE_ACCOUNT: "waypoint",
      ISTIO_METAJSON_LABELS: '{"gateway.networking.k8s.io/gateway-name":"waypoint"}',
      XDS_ADDRESS: address,
      CA_ADDRESS: address,
      XDS_ROOT_CA: roots,
      CA_ROOT_CA: roots,
      AUTH_TOKEN: tokenOf("waypoint"),
      ...options.waypoint,
    });
    await waypoint.ready();
    // A network of this file's own, so that nobody else has the port.
    const addresses = `127.${randomInt(16, 255)}.${randomInt(1, 255)}`;
    return new WaypointChain({ kube, control, waypoint, addresses, roots, port: await freePort(`${addresses}.1`) });
  }

  private constructor(parts: {
    kube: FakeKube;
    control: Control;
    waypoint: WaypointProcess;
    addresses: string;
    roots: string;
    port: number;
  }) {
    this.kube = parts.kube;
    this.control = parts.control;
    this.waypoint = parts.waypoint;
    this.port = parts.port;
    this.#addresses = parts.addresses;
    this.#roots = parts.roots;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients.values()) (await client).close();
    await this.waypoint.stop("SIGKILL");
    await Promise.all([...this.backends.values()].map((backend) => backend.stop()));
    await this.control.stop();
    await this.kube.stop();
  }

  /** As `kubectl apply` does, in the waypoint's namespace where none is named: a status stays as it is. */
  apply(manifest: string): void {
    for (const document of parseAllDocuments(manifest)) {
      const object = document.toJS() as (KubeObject & { kind: string }) | null;
      if (object === null) continue;
      const type = typeOf(object.kind);
      const namespace = object.metadata.namespace ?? NAMESPACE;
      const before = this.kube.read(type, namespace, object.metadata.name) as Existing | undefined;
      const metadata = { ...object.metadata, namespace, generation: (before?.metadata.generation ?? 0) + 1 };
      const status = before?.status === undefined ? {} : { status: before.status };
      this.kube.put(type, { ...object, ...status, metadata });
    }
  }

  remove(kind: string, name: string): void {
    this.kube.remove(typeOf(kind), NAMESPACE, name);
  }

  /** `type=status/reason: message` of an object's conditions, also of those that a route has for a parent. */
  conditions(kind: string, name: string): string[] {
    const { status } = (this.kube.read(typeOf(kind), NAMESPACE, name) ?? {}) as {
      status?: { conditions?: Condition[]; parents?: { conditions: Condition[] }[] };
    };
    const all = [...(status?.conditions ?? []), ...(status?.parents ?? []).flatMap(({ conditions }) => conditions)];
    return all.map(({ type, status: value, reason, message }) => `${type}=${value}/${reason}: ${message}`);
  }

  /** A Service whose clients the waypoint serves, `ports` in Kubernetes' form without targetPort, of the pods of `app`. */
  service(name: string, ports: readonly object[] = [{ name: "http", port: 80 }], app = name): void {
    const clusterIP = `10.96.0.${this.#vips.size + 1}`;
    this.#vips.set(name, clusterIP);
    this.kube.put(kinds.SERVICES, {
      metadata: { namespace: NAMESPACE, name, labels: { "istio.io/use-waypoint": "waypoint" } },
      spec: {
        clusterIP,
        selector: { app },
        ports: ports.map((port) => ({ targetPort: this.port, ...port })) as kinds.ServicePort[],
      },
    });
  }

  /** A pod of the Service `app`, on `node`. */
  async pod(name: string, app: string, labels: Readonly<Record<string, string>> = {}, node = ""): Promise<Backend> {
    const backend = await Backend.start(name, `${this.#addresses}.${this.backends.size + 1}`, this.port);
    this.backends.set(name, backend);
    this.putPod(backend, { app, ...labels }, node);
    return backend;
  }

  /** Also of one that is not there: nobody listens at its address. */
  putPod({ name, ip }: { name: string; ip: string }, labels: Readonly<Record<string, string>>, nodeName = ""): void {
    this.kube.put(kinds.PODS, {
      metadata: { namespace: NAMESPACE, name, labels },
      spec: { serviceAccountName: name, nodeName },
      status: { phase: "Running", podIP: ip, conditions: [{ type: "Ready", status: "True" }] },
    } as kinds.Pod);
  }

  /** One that `pod` does not give, as long as there are fewer than 100 of them. */
  address(n: number): string {
    return `${this.#addresses}.${100 + n}`;
  }

  /** A stream to where a URL is, as a client's agent opens it. */
  async open(host: string, port = 80, as = "client"): Promise<Duplex> {
    let client = this.#clients.get(as);
    client ??= this.#connect(as);
    this.#clients.set(as, client);
    const stream = await (await client).open(`${this.#vips.get(host) ?? host}:${port}`);
    if (typeof stream === "number") throw new Error(`the tunnel was refused: ${stream}`);
    return stream;
  }

  async ask(address: string, question: Question = {}): Promise<Answer> {
    const url = new URL(address);
    const stream = await this.open(url.hostname, Number(url.port || 80), question.as);
    const id = question.headers?.["x-request-id"] ?? randomUUID();
    return new Promise((resolve, reject) => {
      const outgoing = request(url, {
        createConnection: () => stream,
        method: question.method ?? "GET",
        headers: { host: url.host, "x-request-id": id, connection: "close", ...question.headers },
      });
      outgoing.on("error", reject);
      outgoing.on("response", (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => {
          body += text;
        });
        // What is cut is an answer too, as far as it came.
        response.on("error", () => undefined);
        response.on("close", () => {
          const { statusCode: status = 0, headers, complete } = response;
          resolve({ status, headers, body, complete, line: () => this.line(id) });
          stream.destroy();
        });
      });
      outgoing.end(question.body);
    });
  }

  /** Asks until an answer is as wanted: what was applied is in force. */
  async until(holds: (answer: Answer) => boolean, address: string, question: Question = {}): Promise<Answer> {
    let last: Answer | undefined;
    return eventually(
      `another answer of ${address}`,
      async () => {
        last = await this.ask(address, question);
        if (!holds(last)) throw new Error(`it is ${last.status} ${last.body}`);
        return last;
      },
      PATIENCE_MS,
    );
  }

  /** The access log's line of the request with this id. */
  line(id: string): Promise<AccessLine> {
    return eventually(
      `the log of ${id}`,
      () => {
        const text = this.waypoint.text.find((each) => each.includes(id));
        return text === undefined ? undefined : (JSON.parse(text) as AccessLine);
      },
      PATIENCE_MS,
    );
  }

  async #connect(account: string): Promise<HboneClient> {
    allow(this.kube, account);
    const peer = {
      address: `https://localhost:${this.control.grpcPort}`,
      root: { kind: "pem" as const, pem: this.#roots },
      headers: {},
    };
    const token = { kind: "static" as const, token: tokenOf(account) };
    const options = { token, clusterId: "Kubernetes", ttlMs: 3_600_000, impersonate: false };
    const authority = authorityAt(peer, options);
    try {
      const svid = await authority.issue(`spiffe://cluster.local/ns/${NAMESPACE}/sa/${account}`);
      const certificate = { identity: svid.identity, chain: svid.chain, key: svid.key };
      return await HboneClient.connect(await this.waypoint.port("hbone"), certificate, this.#roots);
    } finally {
      authority.close();
    }
  }
}

interface Existing extends KubeObject {
  readonly metadata: KubeObject["metadata"] & { readonly generation?: number };
  readonly status?: unknown;
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

function typeOf(kind: string): ResourceType<KubeObject> {
  const type = TYPES.get(kind);
  if (type === undefined) throw new Error(`no kind ${kind}`);
  return type;
}

const tokenOf = (account: string) => `token-of-${account}`;

function allow(kube: FakeKube, account: string): void {
  kube.tokens.set(tokenOf(account), {
    authenticated: true,
    username: `system:serviceaccount:${NAMESPACE}:${account}`,
    audiences: ["istio-ca"],
    extra: {},
  });
}

async function freePort(ip: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, ip, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}
