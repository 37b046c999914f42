import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { Bed, webDeployment } from "./bed.ts";

function pod(name: string, containers: string, spec = ""): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${name}}, annotations: {note: hello}}
spec:
  terminationGracePeriodSeconds: 2
${spec}  containers:
${containers}---
`;
}

interface Status {
  phase: string;
  podIP: string;
  containerStatuses: {
    ready: boolean;
    restartCount: number;
    state: { waiting?: { reason: string; message: string }; terminated?: { exitCode: number } };
  }[];
}

describe("workloads on a playground", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.start("t-workloads");
  });
  afterAll(() => bed?.stop());

  const status = async (name: string): Promise<Status> =>
    JSON.parse(await bed.kubectl("get", "pod", name, "-o", "json")).status;
  const until = (what: string, name: string, test: (status: Status) => boolean, withinMs = 15_000) =>
    eventually(`${name}: ${what}`, async () => test(await status(name)), withinMs);

  it("replaces pods step by step and never has too few", async () => {
    await bed.apply(webDeployment("rolling", 4));
    await bed.kubectl("rollout", "status", "deployment/rolling", "--timeout=20s");
    await bed.kubectl("set", "env", "deployment/rolling", "VERSION=2");
    let fewest = 4;
    const done = bed.kubectl("rollout", "status", "deployment/rolling", "--timeout=30s");
    let isOver = false;
    void done.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      const { available = 0 } = {
        available: JSON.parse(await bed.kubectl("get", "deployment", "rolling", "-o", "json")).status.availableReplicas,
      };
      fewest = Math.min(fewest, available);
    }
    await done;
    expect(fewest).toBeGreaterThanOrEqual(3);
    const sets = JSON.parse(await bed.kubectl("get", "replicasets", "-l", "app=rolling", "-o", "json")).items;
    expect(sets.map((set: { spec: { replicas: number } }) => set.spec.replicas).sort()).toEqual([0, 4]);
    expect(sets[0].metadata.labels["pod-template-hash"]).toBeTruthy();
    await bed.kubectl("rollout", "undo", "deployment/rolling");
    await bed.kubectl("rollout", "status", "deployment/rolling", "--timeout=30s");
    await bed.kubectl("delete", "deployment", "rolling", "--cascade=foreground", "--timeout=20s");
    expect(await bed.kubectl("get", "pods", "-l", "app=rolling", "-o", "name")).toBe("");
  });

  it("spreads replicas over nodes and honours a node selector", async () => {
    await bed.apply(webDeployment("spread", 4));
    await bed.kubectl("rollout", "status", "deployment/spread", "--timeout=20s");
    const nodes = await bed.kubectl("get", "pods", "-l", "app=spread", "-o", "jsonpath={.items[*].spec.nodeName}");
    expect(nodes.split(" ").sort()).toEqual(["node1", "node1", "node2", "node2"]);
    await bed.kubectl("delete", "deployment", "spread");
    const here = '  nodeSelector: {"topology.kubernetes.io/zone": zone2}\n';
    await bed.apply(pod("zoned", "  - {name: c, image: busybox, command: [sleep, '100']}\n", here));
    await bed.kubectl("wait", "--for=condition=Ready", "pod/zoned", "--timeout=15s");
    expect(await bed.kubectl("get", "pod", "zoned", "-o", "jsonpath={.spec.nodeName}")).toBe("node2");
    await bed.apply(pod("nowhere", "  - {name: c, image: busybox}\n", "  nodeSelector: {no: where}\n"));
    await eventually("the scheduler says why", async () =>
      (await bed.kubectl("get", "events", "--field-selector", "reason=FailedScheduling")).includes("0/2 nodes"),
    );
  });

  it("runs a DaemonSet on every node", async () => {
    await bed.apply(webDeployment("everywhere", 1).replace("Deployment", "DaemonSet").replace("  replicas: 1\n", ""));
    await bed.kubectl("rollout", "status", "daemonset/everywhere", "--timeout=20s");
    const nodes = await bed.kubectl("get", "pods", "-l", "app=everywhere", "-o", "jsonpath={.items[*].spec.nodeName}");
    expect(nodes.split(" ").sort()).toEqual(["node1", "node2"]);
    await bed.kubectl("set", "env", "daemonset/everywhere", "VERSION=2");
    await bed.kubectl("rollout", "status", "daemonset/everywhere", "--timeout=30s");
    await bed.kubectl("delete", "daemonset", "everywhere");
  });

  it("probes readiness over http, tcp and exec", async () => {
    const probes = [
      "httpGet: {path: /ok, port: 8080}",
      "tcpSocket: {port: 8080}",
      "exec: {command: [test, -e, /tmp/ready]}",
    ];
    for (const [i, probe] of probes.entries()) {
      const program = `require("node:http").createServer((q, r) => { r.statusCode = q.url === "/ok" ? 200 : 500; r.end(); }).listen(8080)`;
      await bed.apply(
        pod(
          `probe-${i}`,
          `  - name: c\n    image: node\n    command: [sh, -c, 'echo begun; sleep 0.5; touch /tmp/ready; exec node -e "$0"', '${program}']\n    readinessProbe: {${probe}, periodSeconds: 1}\n`,
        ),
      );
    }
    for (const i of probes.keys())
      await bed.kubectl("wait", "--for=condition=Ready", `pod/probe-${i}`, "--timeout=15s");
    await bed.kubectl("exec", "probe-2", "--", "rm", "/tmp/ready");
    await until("not ready any more", "probe-2", (now) => now.containerStatuses[0]?.ready === false);
    await bed.kubectl("delete", "pod", "probe-0", "probe-1", "probe-2", "--now");
  });

  it("restarts a container whose liveness probe fails", async () => {
    await bed.apply(
      pod(
        "dies",
        "  - name: c\n    image: busybox\n    command: [sh, -c, 'touch /tmp/alive; sleep 1000']\n    livenessProbe: {exec: {command: [test, -e, /tmp/alive]}, periodSeconds: 1, failureThreshold: 1}\n",
      ),
    );
    await bed.kubectl("wait", "--for=condition=Ready", "pod/dies", "--timeout=15s");
    await bed.kubectl("exec", "dies", "--", "rm", "/tmp/alive");
    await until("restarted", "dies", (now) => (now.containerStatuses[0]?.restartCount ?? 0) > 0);
    expect(await bed.kubectl("describe", "pod", "dies")).toContain("Liveness probe failed");
  });

  it("backs off from a container that keeps failing and keeps its last log", async () => {
    await bed.apply(pod("crash", "  - {name: c, image: busybox, command: [sh, -c, 'echo broken; exit 4']}\n"));
    await until(
      "in back-off",
      "crash",
      (now) => now.containerStatuses[0]?.state.waiting?.reason === "CrashLoopBackOff",
    );
    expect(await bed.kubectl("logs", "crash")).toBe("broken\n");
    expect(await bed.kubectl("get", "pods")).toContain("CrashLoopBackOff");
  });

  it("names an unknown image in the pod's state and event", async () => {
    await bed.apply(pod("unknown", "  - {name: c, image: 'registry.example/no/such:v1'}\n"));
    await until("says so", "unknown", (now) => now.containerStatuses[0]?.state.waiting?.reason === "ErrImagePull");
    expect(await bed.kubectl("describe", "pod", "unknown")).toContain("is not known to the playground");
  });

  it("ends a pod with SIGTERM, and with SIGKILL after its grace period", async () => {
    const stubborn = "trap '' TERM; while :; do sleep 0.1; done";
    await bed.apply(
      pod(
        "polite",
        "  - {name: c, image: busybox, command: [sh, -c, 'trap \"exit 0\" TERM; while :; do sleep 0.1; done']}\n",
      ) + pod("stubborn", `  - {name: c, image: busybox, command: [sh, -c, "${stubborn}"]}\n`),
    );
    for (const name of ["polite", "stubborn"])
      await bed.kubectl("wait", "--for=condition=Ready", `pod/${name}`, "--timeout=15s");
    const timed = async (name: string) => {
      const begun = performance.now();
      await bed.kubectl("delete", "pod", name, "--timeout=15s");
      return performance.now() - begun;
    };
    expect(await timed("polite")).toBeLessThan(1900);
    const took = await timed("stubborn");
    expect(took).toBeGreaterThan(1900);
    expect(took).toBeLessThan(8000);
  });

  it("runs init containers first, to their end", async () => {
    const init =
      "  initContainers:\n  - {name: i, image: busybox, command: [sh, -c, 'echo done >/data/file'], volumeMounts: [{name: d, mountPath: /data}]}\n  volumes: [{name: d, emptyDir: {}}]\n";
    await bed.apply(
      pod(
        "begun",
        "  - {name: c, image: busybox, command: [sh, -c, 'cat /data/file; sleep 100'], volumeMounts: [{name: d, mountPath: /data}]}\n",
        init,
      ),
    );
    await bed.kubectl("wait", "--for=condition=Ready", "pod/begun", "--timeout=15s");
    await eventually("the log tells", async () => (await bed.kubectl("logs", "begun")) === "done\n");
  });

  it("fills environment and volumes, and follows changes of a config map", async () => {
    await bed.kubectl("create", "configmap", "settings", "--from-literal=colour=blue");
    await bed.kubectl("create", "secret", "generic", "keys", "--from-literal=key=s3cret");
    await bed.apply(
      pod(
        "filled",
        `  - name: c
    image: busybox
    command: [sh, -c, "sleep 1000"]
    env:
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: NOTE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note']"}}}
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: KEY, valueFrom: {secretKeyRef: {name: keys, key: key}}}
    - {name: BOTH, value: "$(COLOUR)-$(KEY)"}
    volumeMounts:
    - {name: settings, mountPath: /etc/settings}
    - {name: keys, mountPath: /etc/keys}
    - {name: all, mountPath: /all}
`,
        `  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: keys, secret: {secretName: keys}}
  - name: all
    projected:
      sources:
      - {serviceAccountToken: {path: token, audience: somebody, expirationSeconds: 600}}
      - {configMap: {name: settings, items: [{key: colour, path: a/colour}]}}
      - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
`,
      ),
    );
    await bed.kubectl("wait", "--for=condition=Ready", "pod/filled", "--timeout=15s");
    const shell = (script: string) => bed.kubectl("exec", "filled", "--", "sh", "-c", script);
    const { podIP } = await status("filled");
    expect(await shell("echo $NODE $IP $NOTE $BOTH")).toMatch(new RegExp(`^node[12] ${podIP} hello blue-s3cret`));
    expect(await shell("cat /etc/settings/colour /etc/keys/key /all/a/colour /all/labels")).toBe(
      'blues3cretblueapp="filled"',
    );
    const claims = JSON.parse(Buffer.from((await shell("cat /all/token")).split(".")[1] ?? "", "base64url").toString());
    expect(claims.aud).toEqual(["somebody"]);
    expect(claims["kubernetes.io"].pod.name).toBe("filled");
    await bed.kubectl("patch", "configmap", "settings", "-p", '{"data":{"colour":"red"}}');
    await eventually("the file has changed", async () => (await shell("cat /etc/settings/colour")) === "red");
    // What a container writes outside its volumes is its own.
    await shell("echo mine >/usr/weft-test");
    await expect(bed.playground.runOnNode("node1", "cat", "/usr/weft-test")).rejects.toThrow();
  });

  it("keeps ordinary pods from the kernel's levers", async () => {
    const result = await bed.try("exec", "filled", "--", "ip", "link", "add", "x", "type", "dummy");
    expect(result.stderr).toContain("Operation not permitted");
    expect((await bed.try("exec", "filled", "--", "touch", "/sys/fs/cgroup/x")).code).not.toBe(0);
  });
});
