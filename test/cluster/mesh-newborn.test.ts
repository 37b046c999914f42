/** Pods that a real kubelet and runtime start, and whose first act is to connect: all are in the mesh. WEFT_BIRTHS says how many. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { namespace, server } from "./apps.ts";
import { apply, install, kubectl, must, NODES, on } from "./cluster.ts";

const WAIT_MS = 180_000;
const BIRTHS = Number(process.env.WEFT_BIRTHS ?? 50);
/** At a time, on both nodes. */
const BATCH = 10;
const NAMESPACE = "births";
const ACCOUNT = `cluster.local/ns/${NAMESPACE}/sa/newborn`;

interface PodStatus {
  readonly metadata: { readonly name: string };
  readonly status: { readonly phase: string; readonly podIP?: string };
}

beforeAll(async () => {
  await install();
  await apply(
    namespace(NAMESPACE, { "istio.io/dataplane-mode": "ambient" }),
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace: NAMESPACE, name: "newborn" } },
    ...server({ namespace: NAMESPACE, name: "far", node: "node2" }),
    // Lets in who proves to be one of the newborn, and nobody else.
    {
      apiVersion: "security.istio.io/v1",
      kind: "AuthorizationPolicy",
      metadata: { namespace: NAMESPACE, name: "newborn-only" },
      spec: { selector: { matchLabels: { app: "far" } }, rules: [{ from: [{ source: { principals: [ACCOUNT] } }] }] },
    },
  );
  await kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/far", "--timeout=120s");
  await eventually(
    "the server is captured",
    async () => (await kubectl("-n", NAMESPACE, "get", "pod", "far", "-o", "yaml")).includes("redirection: enabled"),
    WAIT_MS,
  );
}, 600_000);

afterAll(async () => {
  await kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false");
});

function newborn(name: string, node: string, vip: string): object {
  const script = `exec 3<>/dev/tcp/${vip}/80 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: NAMESPACE, name, labels: { app: "newborn" } },
    spec: {
      nodeSelector: { "kubernetes.io/hostname": node },
      serviceAccountName: "newborn",
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 0,
      containers: [{ name: "app", image: "weft:test", command: ["bash", "-c", script] }],
    },
  };
}

async function newborns(): Promise<PodStatus[]> {
  return JSON.parse(await kubectl("-n", NAMESPACE, "get", "pods", "-l", "app=newborn", "-o", "json")).items;
}

test(`the first connection of ${BIRTHS} pods is in the mesh, each of them`, { timeout: 30_000 * BIRTHS }, async () => {
  const vip = await kubectl("-n", NAMESPACE, "get", "service", "far", "-o", "jsonpath={.spec.clusterIP}");
  const wrong: string[] = [];
  for (let from = 0; from < BIRTHS; from += BATCH) {
    const names = Array.from({ length: Math.min(BATCH, BIRTHS - from) }, (_, i) => `born-${from + i}`);
    await apply(...names.map((name, i) => newborn(name, NODES[i % 2] ?? NODES[0], vip)));
    const over = await eventually(
      "all have done what they were born for",
      async () => {
        const pods = await newborns();
        return pods.every(({ status }) => /Succeeded|Failed/.test(status.phase)) && pods.length === names.length
          ? pods
          : undefined;
      },
      WAIT_MS,
    );
    for (const { metadata, status } of over) {
      const said = await kubectl("-n", NAMESPACE, "logs", metadata.name);
      // The server says who it was asked by.
      if (!said.endsWith(`::ffff:${status.podIP}`)) wrong.push(`${metadata.name}: ${status.phase}: ${said}`);
    }
    await kubectl("-n", NAMESPACE, "delete", "pods", "-l", "app=newborn", "--wait=true");
  }
  expect(wrong).toEqual([]);
  // A connection that went past the mesh would have been refused at the server's end, as nobody's.
  const metrics = await must(on("node2", ["curl", "-s", "http://127.0.0.1:15020/metrics"]));
  expect(
    metrics.split("\n").filter((line) => line.includes('response_flags="DENY"') && line.includes('"far"')),
  ).toEqual([]);
});
