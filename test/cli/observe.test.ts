/** Commands that look at a mesh, by their output. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { run } from "../../playground/src/system/command.ts";
import { weft } from "../helpers/weft.ts";
import { CliWorld } from "./world.ts";

const WAIT_MS = 30_000;

const MAY_LIST_PODS = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: may-list, namespace: istio-system}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: may-list, namespace: istio-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: may-list}
subjects: [{kind: ServiceAccount, name: default, namespace: default}]
`;

/** Things that must not leave the cluster. */
const SECRETIVE = `apiVersion: v1
kind: Secret
metadata: {name: s, namespace: istio-system}
stringData: {key: hunter2}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: secretive}
spec:
  hosts: [elsewhere.test]
  http:
  - headers: {request: {set: {authorization: Bearer hunter2-hunter2}}}
    route: [{destination: {host: site}}]
`;

describe("weft and a mesh", () => {
  let world: CliWorld;
  beforeAll(async () => {
    world = await CliWorld.start("t-cli");
  });
  afterAll(() => world?.stop());

  it("makes a waypoint, waits for it and sends a namespace through it", async () => {
    expect(await world.weft("waypoint", "list")).toBe("no waypoints in namespace default\n");
    const { code, stdout, stderr } = await world.try(["waypoint", "apply", "--enroll-namespace", "--wait"]);
    expect(stdout).toBe(
      [
        "✔ waypoint default/waypoint applied",
        "✔ waypoint default/waypoint is ready",
        "✔ namespace default labelled with istio.io/use-waypoint=waypoint\n",
      ].join("\n"),
    );
    expect([code, stderr]).toEqual([0, "waiting for waypoint default/waypoint\n"]);
    expect(await world.weft("waypoint", "list", "-A")).toMatch(
      /^NAMESPACE +NAME +REVISION +TRAFFIC TYPE +PROGRAMMED\ndefault +waypoint +default +service +True\n$/,
    );
    expect(await world.weft("waypoint", "status")).toMatch(/default +waypoint +Programmed +True +Programmed/);
  });

  it("does not take a namespace from another waypoint unless told to", async () => {
    const refused = await world.try(["waypoint", "apply", "--name", "other", "--enroll-namespace"]);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      'weft: namespace default uses waypoint "waypoint"; give --overwrite to change that\n',
    ]);
    expect((await world.try(["waypoint", "delete", "other"])).stderr).toBe(
      'there is no waypoint "other" in namespace default\n',
    );
  });

  it("shows who is connected, and in sync", async () => {
    await eventually("everybody in sync", async () => (await world.try(["status"])).code === 0, WAIT_MS);
    const table = await world.weft("status");
    expect(table).toMatch(/^NAME +KIND +NODE +SYNC +CONTROL +VERSION\n/);
    expect(table.match(/weft-agent-\S+\.istio-system +agent +node[12] +synced +weft-control-\S+ +\d/g)).toHaveLength(2);
    expect(table).toMatch(/waypoint-\S+\.default +waypoint +node[12] +synced/);
    expect(await world.weft("ps", "-o", "wide")).toMatch(/Authorization \d+\/\d+, Address \d+\/\d+/);
    const rows = await world.json<{ name: string; types: { sent: number; answered: number }[] }[]>("proxy-status");
    for (const { types } of rows) for (const { sent, answered } of types) expect(answered).toBe(sent);
  });

  it("shows what agents know: workloads, services, policies, certificates", async () => {
    expect(await world.weft("workloads", "-n", "default")).toMatch(
      /default +client-\S+ +10\S+ +node[12] +\S+ +HBONE\n/,
    );
    expect(await world.weft("services", "-o", "wide")).toMatch(
      /default +web +10\.\S+ +waypoint +2\/2 +web\.default\.svc\.cluster\.local +80:8080\n/,
    );
    expect(await world.weft("policies")).toMatch(
      /^NAMESPACE +POLICY NAME +ACTION +SCOPE\ndefault +anyone +Allow +Namespace\n$/,
    );
    expect(await world.weft("certs")).toMatch(
      /spiffe:\/\/cluster\.local\/ns\/default\/sa\/default +Leaf +Available +true +\d+ +20\S+Z +20\S+Z +node[12]/,
    );
    const all = await world.json<{ uid: string }[]>("workloads");
    expect(new Set(all.map(({ uid }) => uid)).size).toBe(all.length);
    expect(await world.weft("workloads", "-n", "nowhere")).toBe("no workloads are known\n");
  });

  it("takes the words of istioctl for the same", async () => {
    expect(await world.weft("zc", "workload", "--workload-namespace", "default")).toBe(
      await world.weft("workloads", "-n", "default"),
    );
    expect(await world.weft("ztunnel-config", "policy")).toBe(await world.weft("policies"));
    const dump = JSON.parse(await world.weft("zc", "all", "--node", "node1"));
    expect(Object.keys(dump)).toEqual(expect.arrayContaining(["workloads", "services", "policies", "certificates"]));
  });

  it("shows open connections by name, and as they come and go", async () => {
    await eventually(
      "the client's connection",
      async () => /client-\S+\.default +Outbound +client-\S+ +\S+/.test(await world.weft("connections")),
      WAIT_MS,
    );
    const rows = await world.json<{ pod: string; direction: string; remote: string }[]>("zc", "connections", "--raw");
    expect(rows.find(({ pod, direction }) => pod.startsWith("client-") && direction === "Outbound")?.remote).toMatch(
      /^10\./,
    );
    const stop = new AbortController();
    const watching = world.try(["connections", "--watch", "--interval", "0.3"], {
      signal: stop.signal,
      onOutput: (text) => {
        if (/^- client-/m.test(text)) stop.abort();
      },
    });
    await eventually(
      "its end",
      async () => {
        await world.bed.kubectl("rollout", "restart", "deployment/client");
        await world.bed.kubectl("rollout", "status", "deployment/client", "--timeout=30s");
        return stop.signal.aborted;
      },
      WAIT_MS,
    );
    const { code, stdout } = await watching;
    expect(stdout).toMatch(/^\+ client-\S+\.default {2}Outbound/m);
    expect(code).toBe(0);
  });

  it("shows what a waypoint executes", async () => {
    const site = "site.default.svc.cluster.local";
    await eventually("the service is bound", async () => (await world.weft("pc", "l")).includes(site), WAIT_MS);
    expect(await world.weft("pc", "listeners", "waypoint", "--port", "80")).toMatch(
      /LISTENER +CHAIN +MATCH +PROTOCOL\n(?:.*\n)*mesh +default\/site\.default\.svc\.cluster\.local +10\.\S+:80 +HTTP\n/,
    );
    expect(await world.weft("proxy-config", "route", "waypoint.default", "--name", `${site}:80`)).toMatch(
      /\/api\*, header x-user jo +VirtualService\/default\/site\n.*GET, \/ +VirtualService\/default\/site\n.* \/\* +VirtualService\/default\/site\n$/,
    );
    expect(await world.weft("pc", "clusters", "--fqdn", site)).toMatch(/\nsite\S+ +80 +- +outbound +EDS\n$/);
    const endpoints = await world.json<{ workload: string; protocol: string; cluster: string }[]>(
      "pc",
      "ep",
      "--port",
      "8080",
    );
    expect(endpoints.filter(({ cluster }) => cluster.includes("site."))).toEqual([
      expect.objectContaining({ workload: "default/web", protocol: "HBONE", outlierCheck: "OK" }),
      expect.objectContaining({ workload: "default/web", protocol: "HBONE", outlierCheck: "OK" }),
    ]);
    expect(await world.weft("pc", "secret")).toMatch(
      /spiffe:\/\/cluster\.local\/ns\/default\/sa\/waypoint +Cert Chain +Available +true[\s\S]*ROOTCA +CA +Available +true/,
    );
    const whole = await world.weft("pc", "all");
    expect(whole).toContain('"sent"');
    expect(whole).not.toContain("PRIVATE KEY");
    expect((await world.try(["pc", "routes", "nothing"])).stderr).toBe(
      'weft: there is no waypoint "nothing" in namespace default; weft waypoint list -A shows all\n',
    );
  });

  it("shows traffic without a Prometheus", async () => {
    await eventually(
      "the client's connection is counted",
      async () => /source +client\.default +\S+ +[1-9]/.test(await world.weft("metrics")),
      WAIT_MS,
    );
    expect(await world.weft("metrics", "-n", "nowhere")).toBe("no traffic was counted\n");
    expect(await world.weft("metrics", "--raw", "--node", "node1")).toMatch(
      /^# pod istio-system\/weft-agent-\S+\n# HELP [\s\S]*istio_tcp_connections_opened_total/,
    );
  });

  it("makes an admin page reachable until Ctrl-C", async () => {
    const stop = new AbortController();
    let page: Promise<string> | undefined;
    const running = world.try(["dashboard", "agent", "--node", "node2"], {
      signal: stop.signal,
      onOutput: (text) => {
        const url = /^(http:\/\/127\.0\.0\.1:\d+\/)\n/.exec(text)?.[1];
        if (url !== undefined)
          page ??= fetch(url)
            .then((answer) => answer.text())
            .finally(() => stop.abort());
      },
    });
    expect((await running).code).toBe(0);
    expect(await page).toMatch(/^weft-agent\n/);
    expect((await world.try(["dashboard", "grafana"])).stderr).toBe(
      "weft: there is no ready pod of grafana in namespace istio-system; say where it is by --namespace\n",
    );
  });

  it("collects a report without a secret in it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "weft-report-test-"));
    try {
      const file = join(folder, "report.tar.gz");
      await world.bed.apply(SECRETIVE);
      const { code, stdout, stderr } = await world.try(["bug-report", "--output-file", file]);
      expect([code, stdout]).toEqual([0, `${file}\n`]);
      expect(stderr).toContain("reading agents, 2 of 2\n");
      const names = await run("tar", ["-tzf", file]);
      for (const part of [
        "cluster/virtualservices.networking.istio.io.json",
        "cluster/envoyfilters.networking.istio.io.json",
        "cluster/backendtlspolicies.gateway.networking.k8s.io.json",
        "cluster/nodes.json",
        "debug/syncz.json",
        "config_dump.json",
        "clusters.txt",
        "current.log",
        "missing.txt",
      ]) {
        expect(names).toContain(`/${part}\n`);
      }
      expect(names).not.toContain("secrets");
      const text = await run("tar", ["-xzOf", file]);
      expect(text).toContain("web.default.svc.cluster.local");
      for (const secret of ["hunter2", "PRIVATE KEY", "eyJhbG"]) expect(text).not.toContain(secret);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("shows and sets log levels", async () => {
    expect(await world.weft("log-level")).toMatch(/istio-system +weft-control-\S+ +node[12] +info\n/);
    expect(await world.weft("zc", "log", "--node", "node1", "--level", "info,access:debug")).toMatch(
      /weft-agent-\S+ +node1 +\S*access=debug/,
    );
    expect(await world.weft("log-level", "agents", "--reset")).not.toContain("debug");
    expect(await world.weft("log-level", "control", "--level", "debug")).toMatch(/weft-control-\S+ +\S+ +debug/);
    expect((await world.try(["log-level", "control", "--level", "loud"])).stderr).toMatch(
      /^weft: port 15000 of istio-system\/weft-control-\S+ answers 400 to POST \/logging\?level=loud: level: one of trace/,
    );
  });

  it("prints logs, with the pod's name where there are several", async () => {
    expect(await world.weft("logs", "control", "--grep", "xds client connected", "--tail", "all")).toMatch(
      /^\{"level":/,
    );
    expect(await world.weft("logs", "agents", "--tail", "1")).toMatch(
      /^\[weft-agent-\S+\] .+\n\[weft-agent-\S+\] .+\n$/,
    );
    expect((await world.try(["logs", "nobody"])).stderr).toBe(
      "weft: there is no nobody; weft status shows who there is\n",
    );
  });

  it("shows versions of everything", async () => {
    expect(await world.weft("version")).toMatch(
      /client +(\S+) +1\ncontrol plane +\1 +1\nagent +\1 +2\nwaypoint +\1 +1\n$/,
    );
  });

  it("uses colours on a terminal only, and not where they are not wanted", async () => {
    expect(await world.weft("status")).not.toContain("\x1b[");
    expect(await world.inTerminal("status")).toContain("\x1b[32msynced\x1b[39m");
    expect(await world.inTerminal("status", "--no-color")).not.toContain("\x1b[32m");
  });

  it("says in one line what is wrong with a cluster, and what to do", async () => {
    const wrong = async (kubeconfig: string | undefined, ...args: string[]) => {
      const { code, stderr } = await weft(args, kubeconfig === undefined ? {} : { kubeconfig });
      expect(stderr.split("\n")).toHaveLength(2);
      return [code, stderr.trim()];
    };
    const { kubeconfig } = world.bed.playground;
    expect(await wrong(undefined, "status")).toEqual([
      3,
      "weft: no cluster is named: give --kubeconfig, set KUBECONFIG, or have ~/.kube/config",
    ]);
    expect(await wrong(kubeconfig, "status", "--context", "nope")).toEqual([
      3,
      `weft: ${kubeconfig}: no entry "nope" in contexts; there are: weft-t-cli`,
    ]);
    expect(await wrong(kubeconfig, "workloads", "--node", "node9")).toEqual([
      1,
      'weft: there is no agent on node "node9"; nodes with one: node1, node2',
    ]);
    expect(await wrong(kubeconfig, "workloads", "-i", "elsewhere")).toEqual([
      1,
      "weft: there is no agent in namespace elsewhere; is the mesh installed, and is it there (--mesh-namespace)?",
    ]);
    expect(await wrong(await world.powerless(), "workloads")).toEqual([
      3,
      expect.stringMatching(/^weft: not allowed: pods is forbidden: User "system:.*; ask for a role that allows it/),
    ]);
    await world.bed.apply(MAY_LIST_PODS);
    expect(await wrong(await world.powerless(), "workloads", "--node", "node1")).toEqual([
      3,
      expect.stringMatching(
        /^weft: not allowed: pods "weft-agent-\S+" is forbidden: .*"pods\/portforward".*; ask for a role/,
      ),
    ]);
  });

  it("deletes waypoints", async () => {
    expect(await world.weft("waypoint", "delete", "--all")).toBe("waypoint default/waypoint deleted\n");
    expect(await world.weft("waypoint", "list", "-A")).toBe("no waypoints anywhere\n");
  });
});
