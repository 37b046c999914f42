/**
 * What holds a mesh together is replaced while pods talk: the root of all certificates, and the agent's own token. A real control
 * plane, a real agent, and files as the kubelet mounts them.
 */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { splitPem } from "#lib/identity/svid.ts";
import { AUTHORIZATION_POLICIES, CONFIG_MAPS, NAMESPACES, PODS, SECRETS, SERVICE_ACCOUNTS } from "#lib/kube/types.ts";
import { AgentBed, NODE, type NodePod } from "../helpers/agent-bed.ts";
import { ControlProcess } from "../helpers/control-process.ts";
import { TcpSwitch } from "../helpers/tcp-switch.ts";

const SYSTEM = "istio-system";
const AGENT = "weft-agent-1";
const PATIENCE_MS = 90_000;
/** Certificates live so long, and their renewal has most of it to come: machines may be busy. */
const LIFE = "8s";
const LIFE_MS = 8_000;
const SETTINGS = {
  DEFAULT_WORKLOAD_CERT_TTL: LIFE,
  MAX_WORKLOAD_CERT_TTL: LIFE,
  WEFT_ROOT_OVERLAP: "12s",
  AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY: "true",
};

const ECHO = `require("node:net").createServer((c) => { c.on("error", () => {}); c.pipe(c); }).listen(8080, "::");`;
/** Says what became of each of its connections, one after the other; \`once\` keeps a single one and says each answer. */
const TALK = `
const [ip, mode] = process.argv.slice(-2);
const { connect } = require("node:net");
const say = (text) => process.stdout.write(text + "\\n");
function talk() {
  const c = connect(8080, ip);
  c.on("connect", () => c.write("x"));
  c.on("data", () => { say("ok"); mode === "once" ? setTimeout(() => c.write("x"), 200) : c.end(); });
  c.on("error", ({ code }) => say(code));
  c.on("close", () => mode === "once" ? say("closed") : setTimeout(talk, 500));
}
talk();`;

let folder: string;
let node: AgentBed;
let istiod: TcpSwitch;
let control: ControlProcess;
let server: NodePod;
let client: NodePod;
let following: NodeJS.Timeout;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "weft-rotation-"));
  node = await AgentBed.create("wrot", 66);
  client = node.addPod("client");
  server = node.addPod("server");
  node.kube.put(NAMESPACES, { metadata: { name: SYSTEM } });
  for (const name of ["client", "server"])
    node.kube.put(SERVICE_ACCOUNTS, { metadata: { namespace: "default", name } });
  node.kube.put(PODS, {
    metadata: { namespace: SYSTEM, name: AGENT, uid: "agent" },
    spec: { nodeName: NODE, serviceAccountName: "weft-agent", hostNetwork: true },
    status: { phase: "Running", podIP: "192.0.2.1" },
  });
  // Whoever is judged by a policy that is only tried out goes through the agent each time, and so over mutual TLS.
  node.kube.put(AUTHORIZATION_POLICIES, {
    metadata: { namespace: "default", name: "try", annotations: { "istio.io/dry-run": "true" } },
    spec: { action: "DENY", rules: [{}] },
  });
  giveToken("first");
  control = await startControl();
  istiod = await TcpSwitch.start(control.grpcPort);
  followRoots();
  const address = `https://localhost:${istiod.port}`;
  await node.restart({
    XDS_ADDRESS: address,
    CA_ADDRESS: address,
    XDS_ROOT_CA: join(folder, "root.pem"),
    CA_ROOT_CA: join(folder, "root.pem"),
    AUTH_TOKEN: join(folder, "token"),
    SECRET_TTL: LIFE,
    POOL_UNUSED_RELEASE_TIMEOUT: "100ms",
  });
  await node.agent.ready();
  await eventually("certificates", async () => (await certificates()).every(({ certChain }) => certChain.length > 0));
  node.bed.spawn(server, process.execPath, ["-e", ECHO]);
  await node.bed.listening(server, 8080);
});

afterAll(async () => {
  clearInterval(following);
  await node?.dispose();
  await control?.end("SIGKILL");
  await istiod?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function startControl(): Promise<ControlProcess> {
  return ControlProcess.start("control", folder, node.kube.url, SETTINGS);
}

/** As the kubelet replaces a file: in one step. */
function replaceFile(name: string, text: string): void {
  writeFileSync(join(folder, `${name}.next`), text);
  renameSync(join(folder, `${name}.next`), join(folder, name));
}

/** The only token of the agent that is good from now on, in its file. */
function giveToken(token: string): void {
  node.kube.tokens.clear();
  node.kube.tokens.set(token, {
    authenticated: true,
    username: `system:serviceaccount:${SYSTEM}:weft-agent`,
    audiences: ["istio-ca"],
    extra: {
      "authentication.kubernetes.io/pod-name": [AGENT],
      "authentication.kubernetes.io/pod-uid": ["agent"],
    },
  });
  replaceFile("token", token);
}

const roots = () => splitPem(node.kube.read(CONFIG_MAPS, SYSTEM, "istio-ca-root-cert")?.data?.["root-cert.pem"] ?? "");

/** The agent's root file is what the ConfigMap says, as in a pod. */
function followRoots(): void {
  let last = "";
  const follow = () => {
    const text = roots().join("\n");
    if (text !== "" && text !== last) replaceFile("root.pem", text);
    last = text;
  };
  follow();
  following = setInterval(follow, 100);
}

interface Pem {
  /** Base64. */
  readonly pem: string;
}

interface Certificate {
  readonly certChain: readonly Pem[];
  readonly rootCerts: readonly Pem[];
}

function pemOf({ pem }: Pem): X509Certificate {
  return new X509Certificate(Buffer.from(pem, "base64"));
}

async function certificates(): Promise<Certificate[]> {
  const { text } = await node.agent.get("admin", "/config_dump");
  return (JSON.parse(text) as { certificates: Certificate[] }).certificates;
}

interface Talk {
  readonly heard: string[];
  stop(): void;
}

function talk(mode: "once" | "again"): Talk {
  const child = node.bed.spawn(client, process.execPath, ["-e", TALK, "--", server.ip, mode]);
  const heard: string[] = [];
  child.stdout?.setEncoding("utf8").on("data", (text: string) => heard.push(...text.split("\n").filter(Boolean)));
  return { heard, stop: () => child.kill("SIGKILL") };
}

const more = (what: string, { heard }: Talk) => {
  const before = heard.length;
  return eventually(what, () => heard.length > before + 2, PATIENCE_MS);
};

test("the root is replaced under traffic: what is open stays as long as its root, and what is new succeeds", async () => {
  const again = talk("again");
  const before = talk("once");
  let since: Talk | undefined;
  try {
    await more("answers", before);
    await more("connections", again);
    const expired = Date.now() + LIFE_MS;
    const [old = ""] = roots();
    const secret = node.kube.read(SECRETS, SYSTEM, "istio-ca-secret");
    if (secret === undefined) throw new Error("no secret");
    const annotations = { ...secret.metadata.annotations, "weft/rotate-root": "now" };
    node.kube.put(SECRETS, { ...secret, metadata: { ...secret.metadata, annotations } });
    await eventually("both roots", () => roots().length === 2, PATIENCE_MS);
    const next = new X509Certificate(roots().find((root) => root !== old) ?? "");
    await more("connections while both are trusted", again);
    await eventually("the end of the certificates from before", () => Date.now() > expired, PATIENCE_MS);
    await more("answers on a connection that is older than its certificates", before);
    expect(new Set(before.heard)).toEqual(new Set(["ok"]));
    const signedByNext = async () =>
      (await certificates()).every(({ certChain: [leaf] }) => leaf !== undefined && pemOf(leaf).verify(next.publicKey));
    await eventually("certificates of the new root", signedByNext, PATIENCE_MS);
    since = talk("once");
    await more("answers", since);
    await eventually("the old root's end", () => roots().length === 1, PATIENCE_MS);
    const trusted = async () => (await certificates()).flatMap(({ rootCerts }) => rootCerts.map(pemOf));
    await eventually(
      "pods that trust the new root alone",
      async () => (await trusted()).every(({ fingerprint256 }) => fingerprint256 === next.fingerprint256),
      PATIENCE_MS,
    );
    await more("connections with the new root alone", again);
    await more("answers on a connection that began with it", since);
    await eventually("the end of a connection that began with the old one", () => before.heard.includes("closed"));
    expect(new Set([...again.heard, ...since.heard])).toEqual(new Set(["ok"]));
  } finally {
    for (const each of [before, again, since]) each?.stop();
  }
});

test("a token is used as it is in its file now, and a control plane that comes back is found with it", async () => {
  const again = talk("again");
  try {
    await more("connections", again);
    await control.end("SIGKILL");
    // What is known is in force without a control plane.
    await more("connections without a control plane", again);
    giveToken("second");
    const before = Date.now();
    control = await startControl();
    istiod.turn(control.grpcPort);
    await eventually(
      "new certificates",
      async () => {
        const all = await certificates();
        return all.every(({ certChain: [leaf] }) => leaf && pemOf(leaf).validToDate.getTime() > before + LIFE_MS);
      },
      PATIENCE_MS,
    );
    await eventually("a stream", async () => (await node.agent.get("ready", "/healthz/ready")).status === 200);
    await more("connections", again);
  } finally {
    again.stop();
  }
});
