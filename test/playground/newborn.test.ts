/**
 * Pods that a kubelet starts and whose first act is to connect. WEFT_BIRTHS says how many; 500 take some minutes:
 * `WEFT_BIRTHS=500 npx vitest run --project system test/playground/newborn.test.ts`.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { Bed, service, webDeployment } from "./bed.ts";

const BIRTHS = Number(process.env.WEFT_BIRTHS ?? 50);
/** At a time. */
const BATCH = 10;
const ACCOUNT = "cluster.local/ns/default/sa/newborn";

/** Lets in who proves to be one of the newborn, and nobody else. */
const POLICY = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: newborn-only}
spec:
  selector: {matchLabels: {app: web}}
  action: ALLOW
  rules: [{from: [{source: {principals: [${ACCOUNT}]}}]}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: newborn}
---
`;

interface PodStatus {
  readonly metadata: { readonly name: string };
  readonly status: { readonly phase: string; readonly podIP?: string };
}

let bed: Bed;
let vip: string;

beforeAll(async () => {
  bed = await Bed.start("t-newborn");
  await deployMesh(bed.playground);
  await bed.kubectl("label", "namespace", "default", "istio.io/dataplane-mode=ambient");
  await bed.apply(POLICY + webDeployment("web", 2) + service("web", "web"));
  await bed.kubectl("rollout", "status", "deployment/web", "--timeout=60s");
  await eventually(
    "the servers are captured, on both nodes",
    async () => {
      const pods = await bed.kubectl("get", "pods", "-o", "json");
      return pods.split('"ambient.istio.io/redirection": "enabled"').length === 3;
    },
    30_000,
  );
  vip = (await bed.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")).trim();
});

afterAll(() => bed?.stop());

function newborn(name: string): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: newborn}}
spec:
  serviceAccountName: newborn
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: busybox
    command:
    - bash
    - -c
    - exec 3<>/dev/tcp/${vip}/80 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3
---
`;
}

async function finished(names: readonly string[]): Promise<readonly PodStatus[]> {
  const pods = async (): Promise<PodStatus[]> =>
    JSON.parse(await bed.kubectl("get", "pods", "-l", "app=newborn", "-o", "json")).items;
  await eventually(
    "all have done what they were born for",
    async () => {
      const over = (await pods()).filter(({ status }) => status.phase === "Succeeded" || status.phase === "Failed");
      return over.length === names.length;
    },
    60_000,
  );
  return pods();
}

it(`the first connection of ${BIRTHS} pods is in the mesh, each of them`, { timeout: 30_000 * BIRTHS }, async () => {
  const wrong: string[] = [];
  for (let from = 0; from < BIRTHS; from += BATCH) {
    const names = Array.from({ length: Math.min(BATCH, BIRTHS - from) }, (_, i) => `born-${from + i}`);
    await bed.apply(names.map(newborn).join(""));
    for (const { metadata, status } of await finished(names)) {
      const said = await bed.kubectl("logs", metadata.name);
      // The server says who it was asked by.
      if (!said.includes("web-") || (!said.includes(` ${status.podIP}`) && !said.includes(`::ffff:${status.podIP}`))) {
        wrong.push(`${metadata.name}: ${status.phase}: ${said}`);
      }
    }
    await bed.kubectl("delete", "pods", "-l", "app=newborn", "--wait=true");
  }
  expect(wrong).toEqual([]);
  const logs = await bed.kubectl("-n", "istio-system", "logs", "daemonset/weft-agent", "--all-pods=true");
  // A connection that went past the mesh would have been refused at the server's end, as nobody's.
  expect(logs.split("\n").filter((line) => line.includes("policy rejection"))).toEqual([]);
});
