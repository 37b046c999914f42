import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "#lib/eventually.ts";
import { Bed, service, webDeployment } from "./bed.ts";

const HEADLESS = `apiVersion: v1
kind: Service
metadata: {name: peers}
spec:
  clusterIP: None
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: web}]
---
apiVersion: v1
kind: Pod
metadata: {name: named, labels: {app: named}}
spec:
  hostname: first
  subdomain: named
  containers: [{name: sleep, image: busybox, command: [sleep, "1000"]}]
---
apiVersion: v1
kind: Service
metadata: {name: named}
spec: {clusterIP: None, selector: {app: named}, ports: [{name: x, port: 99}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
---
`;

describe("the playground's network", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.start("t-network");
    await bed.apply(webDeployment("web", 3) + webDeployment("client", 1) + service("web", "web") + HEADLESS);
    for (const name of ["web", "client"]) await bed.kubectl("rollout", "status", `deployment/${name}`, "--timeout=20s");
    await bed.kubectl("wait", "--for=condition=Ready", "pod/named", "--timeout=20s");
  });
  afterAll(() => bed?.stop());

  const inPod = (script: string) => bed.kubectl("exec", "deployment/client", "--", "sh", "-c", script);
  const vips = async (): Promise<string[]> =>
    JSON.parse(await bed.kubectl("get", "service", "web", "-o", "json")).spec.clusterIPs;

  it("reaches a service from a pod over IPv4 and IPv6, spread over its pods", async () => {
    const [v4, v6] = await vips();
    for (const host of [v4, `[${v6}]`]) {
      const answers = await inPod(`for i in $(seq 40); do curl -sg -m 2 http://${host}/; echo; done`);
      const pods = new Set(
        answers
          .trim()
          .split("\n")
          .map((line) => line.split(" ")[0]),
      );
      expect(pods.size).toBe(3);
    }
  });

  it("shows servers the pod's own address", async () => {
    const { items } = JSON.parse(await bed.kubectl("get", "pods", "-l", "app=client", "-o", "json"));
    const [v4, v6] = items[0].status.podIPs.map((each: { ip: string }) => each.ip);
    const [vip4, vip6] = await vips();
    expect(await inPod(`curl -s -m 2 http://${vip4}/`)).toContain(`::ffff:${v4}`);
    expect(await inPod(`curl -sg -m 2 http://[${vip6}]/`)).toContain(v6);
  });

  it("reaches a service from a node's own network", async () => {
    for (const vip of await vips()) {
      const url = `http://${vip.includes(":") ? `[${vip}]` : vip}/`;
      for (const node of ["node1", "node2"]) {
        expect(await bed.playground.runOnNode(node, "curl", "-sg", "-m", "2", url)).toMatch(/^web-/);
      }
    }
  });

  it("lets a pod reach itself through its service", async () => {
    await bed.apply(webDeployment("alone", 1) + service("alone", "alone"));
    await bed.kubectl("rollout", "status", "deployment/alone", "--timeout=20s");
    expect(await bed.kubectl("exec", "deployment/alone", "--", "curl", "-s", "-m", "2", "http://alone/")).toMatch(
      /^alone-/,
    );
  });

  it("refuses connections to a service without endpoints at once", async () => {
    const result = await bed.try("exec", "deployment/client", "--", "curl", "-s", "-m", "2", "http://nobody/");
    // 7: refused; 28 would be the timeout.
    expect(result.code).toBe(7);
  });

  it("takes unready pods out of a service and their end too", async () => {
    await bed.kubectl("scale", "deployment/web", "--replicas=1");
    await eventually(
      "one endpoint is left",
      async () => {
        const slices = JSON.parse(
          await bed.kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "json"),
        );
        return slices.items.every((slice: { endpoints: unknown[] }) => slice.endpoints.length === 1);
      },
      15_000,
    );
    const answers = await inPod("for i in $(seq 20); do curl -s -m 2 http://web/; echo; done");
    expect(
      new Set(
        answers
          .trim()
          .split("\n")
          .map((line) => line.split(" ")[0]),
      ).size,
    ).toBe(1);
    await bed.kubectl("scale", "deployment/web", "--replicas=3");
    await bed.kubectl("rollout", "status", "deployment/web", "--timeout=20s");
  });

  it("resolves services by short and full names, in both families", async () => {
    const [v4, v6] = await vips();
    expect(await inPod("getent ahostsv4 web")).toContain(v4);
    expect(await inPod("getent ahostsv6 web.default")).toContain(v6);
    expect(await inPod("getent hosts web.default.svc.cluster.local")).toContain("web.default.svc.cluster.local");
    expect(await inPod("getent ahostsv4 alias")).toContain(v4);
    expect(await inPod(`getent hosts ${v4}`)).toContain("web.default.svc.cluster.local");
    expect(await inPod("getent ahostsv4 kubernetes.default")).toContain(bed.playground.plan.kubernetesService.v4);
  });

  it("resolves a headless service to its pods, and a pod with a host name by it", async () => {
    const addresses = await inPod("getent ahostsv4 peers | cut -d' ' -f1 | sort -u");
    expect(addresses.trim().split("\n")).toHaveLength(3);
    expect(await inPod("getent ahostsv4 first.named")).toMatch(/^10\./);
    const srv = await inPod(
      "node -e 'require(`node:dns`).promises.resolveSrv(`_http._tcp.peers.default.svc.cluster.local`).then((r) => console.log(r.length, r[0].port))'",
    );
    // Three pods, each by its IPv4 and by its IPv6 name.
    expect(srv.trim()).toBe("6 8080");
  });

  it("says at once that other names do not exist, over UDP and TCP", async () => {
    const begun = performance.now();
    expect((await bed.try("exec", "deployment/client", "--", "getent", "hosts", "example.com")).code).toBe(2);
    expect((await bed.try("exec", "deployment/client", "--", "getent", "hosts", "nothing.default")).code).toBe(2);
    expect(performance.now() - begun).toBeLessThan(2000);
  });

  it("gives pods a resolv.conf, hosts and hostname of their own", async () => {
    const files = await inPod("cat /etc/resolv.conf /etc/hosts; hostname");
    expect(files).toContain("search default.svc.cluster.local svc.cluster.local cluster.local");
    expect(files).toContain("options ndots:5");
    expect(files).toMatch(/10\.\d+\.\d+\.\d+\s+client-/);
  });

  it("reaches the API from a pod with its account's token, as itself and nobody else", async () => {
    const folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    const call = (path: string) =>
      inPod(
        `curl -s -m 3 --cacert ${folder}/ca.crt -H "authorization: Bearer $(cat ${folder}/token)" https://kubernetes.default.svc${path}`,
      );
    expect(JSON.parse(await call("/api/v1/namespaces/default/pods")).message).toContain(
      "system:serviceaccount:default:default",
    );
    expect(JSON.parse(await call("/version")).gitVersion).toContain("weft-playground");
  });

  it("exposes a node's port on this machine", async () => {
    const [vip = ""] = await vips();
    const { host, port } = await bed.playground.expose("node1", { host: vip, port: 80 }, "web");
    const response = await fetch(`http://${host}:${port}/`);
    expect(await response.text()).toMatch(/^web-/);
  });
});
