/** The control plane and the agent's view of Kubernetes against a real API server, each by its own account. */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { resolve } from "node:path";
import { status as grpcStatus } from "@grpc/grpc-js";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { REDIRECTION } from "#lib/eligibility.ts";
import { eventually } from "#lib/eventually.ts";
import type { KubeClient } from "#lib/kube/client.ts";
import {
  AUTHORIZATION_POLICIES,
  CONFIG_MAPS,
  DEPLOYMENTS,
  GATEWAY_CLASSES,
  GATEWAYS,
  type KubeObject,
  PODS,
  type Pod,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "#lib/kube/types.ts";
import { LogRoot } from "#lib/log.ts";
import { ADDRESS_TYPE } from "#lib/xds/types.ts";
import { KubeAnnotator } from "../../agent/src/enroll/annotator.ts";
import { PodWatch } from "../../agent/src/enroll/pod-watch.ts";
import { VALIDATING_WEBHOOKS } from "../../control/src/admission/webhook-controller.ts";
import { DeltaClient } from "../helpers/delta-client.ts";
import { TcpSwitch } from "../helpers/tcp-switch.ts";
import { weftHere } from "../helpers/weft-here.ts";
import { ApiServer, freePorts, kind } from "./api-server.ts";
import { ControlProcess } from "./control-process.ts";
import { account, apply, namespace, runPod } from "./fixtures.ts";

const DEPLOY = resolve(import.meta.dirname, "../../deploy");
const SYSTEM = "istio-system";
const LEASES = kind("coordination.k8s.io", "Lease", "leases");
/** A watch that was cut comes again after half a minute at the latest. */
const CATCH_UP_MS = 120_000;
/** Longer than a lease, on a machine that does other things as well. */
const TAKEOVER_MS = 60_000;

let api: ApiServer;
let admin: KubeClient;
let way: TcpSwitch;
let first: ControlProcess;
let agentPod: Pod;
let roots: string;

async function accountClient(name: string, port = api.port): Promise<string> {
  return api.kubeconfigOf(name, await api.token({ namespace: SYSTEM, name }), port);
}

beforeAll(async () => {
  api = await ApiServer.start();
  admin = api.client();
  for (const folder of ["crds", "manifests"]) {
    const { code, stderr } = await api.kubectl(["apply", "--server-side", "-f", resolve(DEPLOY, folder)]);
    if (code !== 0) throw new Error(stderr);
  }
  const established = await api.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
  if (established.code !== 0) throw new Error(established.stderr);
  for (const name of ["node-1", "node-2"]) await apply(api, { apiVersion: "v1", kind: "Node", metadata: { name } });
  await apply(api, namespace("shop", "ambient"), namespace("default"), account(SYSTEM, "default"));
  await apply(api, account("shop", "web"), account("shop", "db"));
  agentPod = await runPod(api, {
    namespace: SYSTEM,
    name: "weft-agent-1",
    account: "weft-agent",
    node: "node-1",
    ip: "10.0.0.1",
  });
  await runPod(api, { namespace: "shop", name: "web-1", account: "web", node: "node-1", ip: "10.244.1.2" });
  await runPod(api, { namespace: "shop", name: "db-1", account: "db", node: "node-2", ip: "10.244.2.2" });
  way = await TcpSwitch.start(api.port);
  first = await ControlProcess.start("control-1", await accountClient("weft-control", way.port));
  roots = await eventually("the root certificate", async () => {
    const map = await admin.get(CONFIG_MAPS, { namespace: "shop", name: "istio-ca-root-cert" });
    return map.data?.["root-cert.pem"];
  });
}, 300_000);

afterAll(async () => {
  admin?.close();
  await first?.kill();
  await way?.stop();
  await api?.stop();
});

describe("the definitions", () => {
  test("are structural, and say so to the API server", async () => {
    const { stdout } = await api.kubectl(["get", "crd", "-o", "json"]);
    const { items } = JSON.parse(stdout) as {
      items: { metadata: { name: string }; status: { conditions: { type: string; status: string }[] } }[];
    };
    expect(items.length).toBeGreaterThan(12);
    for (const { metadata, status } of items) {
      const wrong = status.conditions.filter(({ type, status: value }) =>
        type === "NonStructuralSchema"
          ? value === "True"
          : value !== "True" && type !== "KubernetesAPIApprovalPolicyConformant",
      );
      expect([metadata.name, wrong]).toEqual([metadata.name, []]);
    }
  });

  test("take every example, and name what is wrong with a typing mistake", async () => {
    const examples = resolve(import.meta.dirname, "../../examples");
    // Namespaces come first, as in each example's guide.
    for (const files of [
      ["bookinfo/bookinfo.yaml", "hello/hello.yaml"],
      ["bookinfo", "hello"],
    ]) {
      const named = files.flatMap((file) => ["-f", resolve(examples, file)]);
      expect(await api.kubectl(["apply", "--server-side", "-R", ...named])).toMatchObject({ code: 0, stderr: "" });
    }
    const policy = {
      apiVersion: "security.istio.io/v1",
      kind: "AuthorizationPolicy",
      metadata: { name: "x" },
      spec: { action: "ALOW" },
    };
    const refused = await api.kubectl(["create", "-n", "shop", "-f", "-"], JSON.stringify(policy));
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain("spec.action");
  });
});

describe("the control plane", () => {
  test("makes its authority, and hands the root out in every namespace", async () => {
    const secret = await admin.get(kind("", "Secret", "secrets"), { namespace: SYSTEM, name: "istio-ca-secret" });
    expect(Object.keys((secret as KubeObject & { data: object }).data)).toContain("ca-cert.pem");
    await eventually("a root in the default namespace", () =>
      admin.get(CONFIG_MAPS, { namespace: "default", name: "istio-ca-root-cert" }),
    );
  });

  test("writes what became of a policy into its status", async () => {
    await apply(
      api,
      policy("allow-web", { action: "ALLOW", rules: [{ from: [{ source: { namespaces: ["shop"] } }] }] }),
    );
    const condition = await eventually(
      "a status",
      async () => {
        const object = await admin.get(AUTHORIZATION_POLICIES, { namespace: "shop", name: "allow-web" });
        return object.status?.conditions?.find(({ type }) => type === "ZtunnelAccepted");
      },
      TAKEOVER_MS,
    );
    expect(condition).toMatchObject({ status: "True" });
  });

  test("makes a waypoint of a Gateway, and takes it away when the Gateway goes", async () => {
    await eventually("the class", () => admin.get(GATEWAY_CLASSES, { name: "weft-waypoint" }), TAKEOVER_MS);
    await apply(api, gateway("way"));
    const made = { namespace: "shop", name: "way" };
    await eventually("a Deployment", () => admin.get(DEPLOYMENTS, made));
    await eventually("a Service", () => admin.get(SERVICES, made));
    await eventually("an account", () => admin.get(SERVICE_ACCOUNTS, made));
    await eventually("a status", async () => {
      const { status } = await admin.get(GATEWAYS, made);
      return status?.conditions?.some(({ type, status: value }) => type === "Accepted" && value === "True");
    });
    // The API server answers for what it is given: defaults, owners, labels.
    const deployment = await admin.get(DEPLOYMENTS, made);
    expect(deployment.metadata.ownerReferences?.[0]).toMatchObject({ kind: "Gateway", name: "way" });
    await apply(api, { ...gateway("way"), spec: { ...gateway("way").spec, gatewayClassName: "somebody-elses" } });
    await eventually("no Deployment", () => admin.get(DEPLOYMENTS, made).then(() => false, isMissing));
    await eventually("no account", () => admin.get(SERVICE_ACCOUNTS, made).then(() => false, isMissing));
  });
});

describe("the admission webhook", () => {
  const NAME = "weft-validator-istio-system";

  /** There are no pods and no Services' addresses here: the API server is told where the control plane listens. */
  async function pointAt(port: number): Promise<void> {
    const config = await eventually(
      "our roots in the configuration",
      async () => {
        const { items } = await admin.list(VALIDATING_WEBHOOKS);
        const own = items.find(({ metadata }) => metadata.name === NAME);
        return own?.webhooks?.[0]?.clientConfig.caBundle === undefined ? undefined : own;
      },
      TAKEOVER_MS,
    );
    const webhooks = (config.webhooks ?? []).map((each) => ({
      ...each,
      clientConfig: { url: `https://localhost:${port}/validate`, caBundle: each.clientConfig.caBundle ?? "" },
    }));
    await admin.update(VALIDATING_WEBHOOKS, { ...config, webhooks });
  }

  const create = (object: object) => api.kubectl(["create", "-n", "shop", "-f", "-"], JSON.stringify(object));
  const denyNothing = (name: string) => ({
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name },
    spec: { action: "DENY" },
  });

  test("refuses what a schema cannot, and warns of what is not there, in the words of weft analyze", async () => {
    await pointAt(first.admissionPort);
    // API servers hear of a configuration a moment later.
    const refused = await eventually("a refusal", async () => {
      const answer = await create(denyNothing("deny-nothing"));
      if (answer.code !== 0) return answer;
      await api.kubectl(["delete", "-n", "shop", "authorizationpolicy", "deny-nothing"]);
      return undefined;
    });
    expect(refused.stderr).toContain(
      'admission webhook "validation.weft.dev" denied the request: IST0106: spec.rules: a DENY policy needs rules',
    );
    const rule = {
      apiVersion: "networking.istio.io/v1",
      kind: "DestinationRule",
      metadata: { name: "nobody" },
      spec: { host: "nobody", trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } },
    };
    expect(await create(rule)).toMatchObject({
      code: 0,
      stderr: 'Warning: [IST0174] No service has the host "nobody.shop.svc.cluster.local"\n',
    });
  });

  test("stops nobody while no control plane is there", async () => {
    const [free = 0] = await freePorts(1);
    await pointAt(free);
    const taken = await eventually("no answer, and no refusal", async () => {
      const answer = await create(denyNothing("deny-nothing"));
      return answer.code === 0 ? answer : undefined;
    });
    expect(taken.stdout).toContain("created");
    await pointAt(first.admissionPort);
  });

  test("stops nobody for longer than its time-out while the control plane hangs, and refuses again when it goes on", async () => {
    const hanging = await TcpSwitch.start(first.admissionPort);
    hanging.hold();
    try {
      await pointAt(hanging.port);
      const name = "slow-webhook";
      const taken = await eventually("no answer, and no refusal", async () => {
        const answer = await create(denyNothing(name));
        return answer.code === 0 ? answer : undefined;
      });
      expect(taken.stdout).toContain("created");
      await api.kubectl(["delete", "-n", "shop", "authorizationpolicy", name]);
      hanging.release();
      await eventually("a refusal", async () => (await create(denyNothing(name))).code !== 0);
    } finally {
      await pointAt(first.admissionPort);
      await hanging.stop();
    }
  });
});

describe("agents", () => {
  const audience = "istio-ca";

  function connect(token: string): DeltaClient {
    return new DeltaClient({ port: first.grpcPort, roots, token });
  }

  async function agentToken(): Promise<string> {
    const { name, uid = "" } = agentPod.metadata;
    return api.token({ namespace: SYSTEM, name: "weft-agent", audience, pod: { name, uid } });
  }

  test("are let in by a token for the mesh, and get the identities of their own node alone", async () => {
    const client = connect(await agentToken())
      .open()
      .subscribe(ADDRESS_TYPE, { resourceNamesSubscribe: ["*"] });
    try {
      await eventually("the pods", () => client.names(ADDRESS_TYPE).some((name) => name.includes("web-1")));
      const request = await csr();
      const chain = await client.createCertificate(request, "spiffe://cluster.local/ns/shop/sa/web");
      const [leaf = ""] = chain;
      expect(new x509.X509Certificate(leaf).getExtension(x509.SubjectAlternativeNameExtension)?.names.toJSON()).toEqual(
        [{ type: "url", value: "spiffe://cluster.local/ns/shop/sa/web" }],
      );
      await expect(client.createCertificate(request, "spiffe://cluster.local/ns/shop/sa/db")).rejects.toMatchObject({
        code: grpcStatus.UNAUTHENTICATED,
      });
    } finally {
      client.close();
    }
  });

  test("are kept out with a token for the API server, and with one whose pod is gone", async () => {
    const forApi = connect(await api.token({ namespace: SYSTEM, name: "weft-agent" }))
      .open()
      .subscribe(ADDRESS_TYPE);
    expect((await forApi.end()).code).toBe(grpcStatus.UNAUTHENTICATED);
    forApi.close();
    const pod = await runPod(api, {
      namespace: SYSTEM,
      name: "gone",
      account: "weft-agent",
      node: "node-1",
      ip: "10.0.0.9",
    });
    const token = await api.token({
      namespace: SYSTEM,
      name: "weft-agent",
      audience,
      pod: { name: "gone", uid: pod.metadata.uid ?? "" },
    });
    await api.kubectl(["-n", SYSTEM, "delete", "pod", "gone", "--force", "--grace-period=0"]);
    const ofNobody = connect(token).open().subscribe(ADDRESS_TYPE);
    expect((await ofNobody.end()).code).toBe(grpcStatus.UNAUTHENTICATED);
    ofNobody.close();
  });

  /** A kubeconfig of the agent of node-1. */
  async function asAgent(): Promise<string> {
    const { name, uid = "" } = agentPod.metadata;
    return api.kubeconfigOf("agent", await api.token({ namespace: SYSTEM, name: "weft-agent", pod: { name, uid } }));
  }

  test.each([
    ["a pod of another node", "db-1", { metadata: { annotations: { [REDIRECTION]: "enabled" } } }, "own node"],
    ["another annotation", "web-1", { metadata: { annotations: { other: "x" } } }, "redirection only"],
    ["a label", "web-1", { metadata: { labels: { app: "x" } } }, "redirection only"],
    ["the status itself", "web-1", { status: { podIP: "10.9.9.9", podIPs: [{ ip: "10.9.9.9" }] } }, "redirection only"],
  ])("cannot write to %s", async (_what, name, patch, message) => {
    const client = api.client(await asAgent());
    try {
      const written = client.patch(PODS, { namespace: "shop", name }, "merge", patch, { subresource: "status" });
      await expect(written).rejects.toThrow(message);
    } finally {
      client.close();
    }
  });

  test("follow the pods of their node and annotate them, by their own account", async () => {
    const client = api.client(await asAgent());
    const stop = new AbortController();
    const log = new LogRoot({ format: "plain", filter: "error" }).logger("test");
    const seen = new Set<string>();
    const watch = new PodWatch({
      client,
      nodeName: "node-1",
      onPod: (uid) => seen.add(uid),
      onNamespace: () => {},
      log,
    });
    const running = watch.run(stop.signal);
    try {
      await watch.synced;
      const pods = [...watch.pods()].map(({ metadata }) => metadata.name).sort();
      expect(pods).toEqual(["web-1", "weft-agent-1"]);
      expect(watch.namespaceLabels("shop")?.["istio.io/dataplane-mode"]).toBe("ambient");
      const web = [...watch.pods()].find(({ metadata }) => metadata.name === "web-1");
      if (web === undefined) throw new Error("no pod");
      new KubeAnnotator(client, log, stop.signal).set(web, "enabled");
      await eventually("the annotation", async () => {
        const { metadata } = await admin.get(PODS, { namespace: "shop", name: "web-1" });
        return metadata.annotations?.[REDIRECTION] === "enabled";
      });
    } finally {
      stop.abort();
      await running;
      client.close();
    }
  });
});

describe("weft", () => {
  const say = (kubeconfig: string, ...args: readonly string[]) => weftHere([...args, "-n", "shop"], { kubeconfig });

  test("works out of a real API server's objects, whatever definitions it lacks", async () => {
    await apply(api, {
      apiVersion: "networking.istio.io/v1",
      kind: "DestinationRule",
      metadata: { name: "nowhere", namespace: "shop" },
      spec: { host: "nowhere", trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } },
    });
    const found = await say(api.kubeconfig, "analyze");
    expect(found.stdout).toContain(
      'Warning [IST0174] (DestinationRule shop/nowhere) No service has the host "nowhere.shop.svc.cluster.local"\n',
    );
    expect(found.stdout).not.toContain("IST0001");
    const traced = await say(api.kubeconfig, "trace", "192.0.2.7", "pod/db-1:5432");
    expect([traced.code, traced.stdout.split("\n", 1)]).toEqual([
      0,
      ["P0 (untouched) to 10.244.2.2:5432, plaintext: reached"],
    ]);
    expect((await say(api.kubeconfig, "describe", "pod", "db-1")).stdout).toContain(
      "spiffe://cluster.local/ns/shop/sa/db",
    );
  });

  test("says in one line what its user may not do", async () => {
    const { code, stderr } = await say(await accountClient("default"), "analyze");
    expect(code).toBe(3);
    expect(stderr).toMatch(/\nweft: not allowed: .*\n$/);
  });
});

describe("least privilege", () => {
  test.each([
    ["weft-control", "get secrets -n kube-system"],
    ["weft-control", "list secrets -n istio-system"],
    ["weft-control", "delete pods -n shop"],
    ["weft-control", "create pods --subresource=exec -n shop"],
    ["weft-control", "update nodes"],
    ["weft-control", "create clusterrolebindings"],
    ["weft-control", "create serviceaccounts --subresource=token -n shop"],
    ["weft-control", "impersonate users"],
    ["weft-agent", "get secrets -n istio-system"],
    ["weft-agent", "patch pods -n shop"],
    ["weft-agent", "create pods --subresource=exec -n shop"],
    ["weft-agent", "list configmaps -n istio-system"],
    ["weft-agent", "create tokenreviews"],
    ["weft-agent", "create serviceaccounts --subresource=token -n shop"],
  ])("%s may not %s", async (who, what) => {
    const asked = await api.kubectl([
      "auth",
      "can-i",
      ...what.split(" "),
      `--as=system:serviceaccount:${SYSTEM}:${who}`,
    ]);
    expect(asked.stdout.trim()).toBe("no");
  });
});

describe("when the API server goes", () => {
  test("and its watch history with it, the control plane catches up with what it has missed", async () => {
    const agent = agentPod.metadata;
    const token = await api.token({
      namespace: SYSTEM,
      name: "weft-agent",
      audience: "istio-ca",
      pod: { name: agent.name, uid: agent.uid ?? "" },
    });
    const client = new DeltaClient({ port: first.grpcPort, roots, token })
      .open()
      .subscribe(ADDRESS_TYPE, { resourceNamesSubscribe: ["*"] });
    const lists = () =>
      api
        .audit(SYSTEM, "weft-control")
        .filter(({ verb, objectRef }) => verb === "list" && objectRef?.resource === "pods").length;
    const has = (name: string) => client.names(ADDRESS_TYPE).some((each) => each.includes(name));
    try {
      await eventually("the pod", () => has("db-1"));
      const before = lists();
      way.turn();
      await api.kubectl(["-n", "shop", "delete", "pod", "db-1", "--force", "--grace-period=0"]);
      await runPod(api, { namespace: "shop", name: "new-1", account: "db", node: "node-2", ip: "10.244.2.3" });
      await api.down();
      await api.up();
      way.turn(api.port);
      await eventually("what came", () => has("new-1"), CATCH_UP_MS);
      await eventually("nothing of what went", () => !has("db-1"), CATCH_UP_MS);
      expect(client.ended).toBeUndefined();
      // Where the history is still there, a watch goes on and nothing is listed again.
      expect(lists()).toBeGreaterThan(before);
    } finally {
      client.close();
    }
  });

  test("another replica takes the lease, and statuses are written again", async () => {
    const holder = async () => {
      const lease = (await admin.get(LEASES, { namespace: SYSTEM, name: "weft-control-leader" })) as KubeObject & {
        spec?: { holderIdentity?: string };
      };
      return lease.spec?.holderIdentity;
    };
    await eventually("the first replica's lease", async () => (await holder()) === "control-1", TAKEOVER_MS);
    const second = await ControlProcess.start("control-2", await accountClient("weft-control"));
    try {
      expect(await holder()).toBe("control-1");
      await first.kill();
      await apply(api, policy("later", { action: "DENY", rules: [{ to: [{ operation: { ports: ["1"] } }] }] }));
      await eventually("the second replica's lease", async () => (await holder()) === "control-2", TAKEOVER_MS);
      await eventually(
        "a status",
        async () => {
          const { status } = await admin.get(AUTHORIZATION_POLICIES, { namespace: "shop", name: "later" });
          return status?.conditions?.length;
        },
        TAKEOVER_MS,
      );
    } finally {
      await second.kill();
    }
  });
});

describe("in all of this", () => {
  test.each(["weft-control", "weft-agent"])("%s was refused nothing", (name) => {
    const refused = api.audit(SYSTEM, name).filter(({ responseStatus }) => responseStatus?.code === 403);
    expect(refused.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([]);
  });
});

function policy(name: string, spec: object): object {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { namespace: "shop", name },
    spec,
  };
}

function gateway(name: string) {
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { namespace: "shop", name, labels: { "istio.io/waypoint-for": "service" } },
    spec: { gatewayClassName: "weft-waypoint", listeners: [{ name: "mesh", port: 15_008, protocol: "HBONE" }] },
  };
}

function isMissing(error: unknown): boolean {
  return (error as { status?: number }).status === 404;
}

async function csr(): Promise<string> {
  const keys = (await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify",
  ])) as webcrypto.CryptoKeyPair;
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
  });
  return request.toString("pem");
}
