/** A real kube-apiserver with its etcd and nothing else: no controllers, no nodes. */
import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { eventually } from "#lib/eventually.ts";
import { accessFromKubeconfig } from "#lib/kube/access.ts";
import { KubeClient } from "#lib/kube/client.ts";
import type { KubeObject, ResourceType } from "#lib/kube/types.ts";

const BIN = resolve(import.meta.dirname, "../../build/kube/bin");
const START_MS = 90_000;

/** One request as the API server's audit log has it. */
export interface AuditRecord {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly objectRef?: {
    readonly resource: string;
    readonly subresource?: string;
    readonly apiGroup?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code: number; readonly message?: string };
}

export interface TokenFor {
  readonly namespace: string;
  readonly name: string;
  readonly audience?: string;
  /** The pod that the token dies with. */
  readonly pod?: { readonly name: string; readonly uid: string };
}

export class ApiServer {
  readonly folder: string;
  readonly #token = randomUUID();
  readonly #etcdPort: number;
  readonly #port: number;
  #etcd: ChildProcess | undefined;
  #server: ChildProcess | undefined;

  private constructor(folder: string, etcdPort: number, port: number) {
    this.folder = folder;
    this.#etcdPort = etcdPort;
    this.#port = port;
  }

  static async start(): Promise<ApiServer> {
    if (!existsSync(join(BIN, "kube-apiserver"))) throw new Error("no kube-apiserver: run `make -C test/cluster api`");
    const folder = mkdtempSync(join(tmpdir(), "weft-api-"));
    const [etcdPort = 0, port = 0, peerPort = 0] = await freePorts(3);
    const api = new ApiServer(folder, etcdPort, port);
    const { privateKey } = generateKeyPairSync("ec", {
      namedCurve: "P-256",
      privateKeyEncoding: { type: "sec1", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    });
    writeFileSync(join(folder, "accounts.key"), privateKey, { mode: 0o600 });
    writeFileSync(join(folder, "tokens.csv"), `${api.#token},admin,admin,system:masters\n`, { mode: 0o600 });
    // Requests of service accounts are what the tests ask about.
    writeFileSync(
      join(folder, "audit.json"),
      JSON.stringify({
        apiVersion: "audit.k8s.io/v1",
        kind: "Policy",
        omitStages: ["RequestReceived"],
        rules: [{ level: "Metadata", userGroups: ["system:serviceaccounts"] }, { level: "None" }],
      }),
    );
    const url = `http://127.0.0.1:${etcdPort}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    api.#etcd = api.#run("etcd", [
      `--data-dir=${join(folder, "etcd")}`,
      "--unsafe-no-fsync",
      "--log-level=warn",
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
    ]);
    try {
      await api.up();
    } catch (error) {
      await api.stop();
      throw error;
    }
    return api;
  }

  /** Starts the server on what etcd holds; its watch cache begins with the present. */
  async up(): Promise<void> {
    const { folder } = this;
    const server = this.#run("kube-apiserver", [
      `--etcd-servers=http://127.0.0.1:${this.#etcdPort}`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      `--secure-port=${this.#port}`,
      `--cert-dir=${join(folder, "certs")}`,
      "--service-cluster-ip-range=10.96.0.0/16",
      "--authorization-mode=RBAC",
      `--token-auth-file=${join(folder, "tokens.csv")}`,
      "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
      `--service-account-key-file=${join(folder, "accounts.key")}`,
      `--service-account-signing-key-file=${join(folder, "accounts.key")}`,
      `--audit-policy-file=${join(folder, "audit.json")}`,
      `--audit-log-path=${join(folder, "audit.log")}`,
      "--audit-log-mode=blocking",
      // Clients that are slow to hang up must not hold up a restart.
      "--shutdown-delay-duration=0s",
    ]);
    this.#server = server;
    const ended = once(server, "exit").then(([code]) => {
      throw new Error(`kube-apiserver ended with ${code}: ${this.#tail("kube-apiserver")}`);
    });
    ended.catch(() => undefined);
    const ready = eventually(
      "the API server",
      () => this.kubectl(["get", "--raw", "/readyz"]).then(isSuccess),
      START_MS,
    );
    await Promise.race([ready, ended]);
  }

  /** Ends the server as a crash would; etcd keeps what there is. */
  async down(): Promise<void> {
    await end(this.#server);
  }

  async stop(): Promise<void> {
    await end(this.#server);
    await end(this.#etcd);
    rmSync(this.folder, { recursive: true, force: true });
  }

  get kubeconfig(): string {
    return this.kubeconfigOf("admin", this.#token);
  }

  /** A kubeconfig for a bearer token; `port` for whoever comes through something else. */
  kubeconfigOf(name: string, token: string, port = this.#port): string {
    const path = join(this.folder, `${name}.kubeconfig`);
    const ca = readFileOr(join(this.folder, "certs/apiserver.crt"));
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        {
          name: "c",
          cluster: {
            server: `https://127.0.0.1:${port}`,
            "certificate-authority-data": Buffer.from(ca).toString("base64"),
          },
        },
      ],
      users: [{ name, user: { token } }],
      contexts: [{ name: "c", context: { cluster: "c", user: name } }],
      "current-context": "c",
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  get port(): number {
    return this.#port;
  }

  client(kubeconfig = this.kubeconfig): KubeClient {
    return new KubeClient(accessFromKubeconfig(kubeconfig));
  }

  /** A token as the kubelet would have it made. */
  async token({ namespace, name, audience, pod }: TokenFor): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`;
    const request = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: {
        expirationSeconds: 3600,
        ...(audience === undefined ? {} : { audiences: [audience] }),
        ...(pod === undefined ? {} : { boundObjectRef: { kind: "Pod", apiVersion: "v1", ...pod } }),
      },
    };
    const { code, stdout, stderr } = await this.kubectl(["create", "--raw", path, "-f", "-"], JSON.stringify(request));
    if (code !== 0) throw new Error(`no token for ${namespace}/${name}: ${stderr}`);
    return (JSON.parse(stdout) as { status: { token: string } }).status.token;
  }

  /** The kubectl of the same release. */
  async kubectl(args: readonly string[], input = ""): Promise<{ code: number; stdout: string; stderr: string }> {
    const env = { PATH: process.env.PATH, KUBECONFIG: this.kubeconfig, HOME: this.folder };
    const child = spawn(join(BIN, "kubectl"), args, { env, timeout: 60_000 });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    const [code] = await once(child, "close");
    return { code: (code as number | null) ?? -1, stdout, stderr };
  }

  /** Every request of an account so far. */
  audit(namespace: string, name: string): AuditRecord[] {
    return readFileOr(join(this.folder, "audit.log"))
      .split("\n")
      .filter((line) => line.includes(`system:serviceaccount:${namespace}:${name}`))
      .map((line) => JSON.parse(line) as AuditRecord);
  }

  #run(program: string, args: readonly string[]): ChildProcess {
    const log = openSync(join(this.folder, `${program}.log`), "a");
    const child = spawn(join(BIN, program), args, { stdio: ["ignore", log, log] });
    closeSync(log);
    return child;
  }

  #tail(program: string): string {
    return readFileOr(join(this.folder, `${program}.log`)).slice(-2_000);
  }
}

/** Kinds that the product's own code has no name for. */
export function kind(group: string, name: string, plural: string, namespaced = true): ResourceType<KubeObject> {
  return { group, version: "v1", kind: name, plural, namespaced };
}

function isSuccess({ code }: { code: number }): boolean {
  return code === 0;
}

function readFileOr(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

/** Ports that nobody listened at a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) server.close();
  return ports;
}
