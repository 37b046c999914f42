/** A playground with the mesh, an application in it, and `weft` for it: one for all tests of a file. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { deployMesh } from "../../playground/src/mesh.ts";
import { type WeftOptions, type WeftResult, weft, weftInTerminal } from "../helpers/weft.ts";
import { Bed } from "../playground/bed.ts";

/** A server that keeps connections, and a client that holds one. */
const APP = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: node
        command: [node, -e, 'require("node:net").createServer((s) => s.on("error", () => {})).listen(8080, "::")']
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: tcp, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: site}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: site}
spec:
  hosts: [site]
  http:
  - match: [{uri: {prefix: /api}, headers: {x-user: {exact: jo}}}]
    route: [{destination: {host: site}}]
  - match: [{uri: {exact: /}, method: {exact: GET}}]
    redirect: {uri: /api}
  - route: [{destination: {host: site}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec:
  replicas: 1
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: client
        image: node
        command:
        - node
        - -e
        - |
          const net = require("node:net");
          const open = () => net.connect(80, "web").on("error", () => {}).on("close", () => setTimeout(open, 200));
          open();
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: anyone}
spec: {rules: [{}]}
`;

export class CliWorld {
  readonly bed: Bed;

  static async start(name: string): Promise<CliWorld> {
    const bed = await Bed.start(name);
    await deployMesh(bed.playground);
    await bed.kubectl("label", "namespace", "default", "istio.io/dataplane-mode=ambient");
    await bed.apply(APP);
    for (const each of ["web", "client"]) {
      await bed.kubectl("rollout", "status", `deployment/${each}`, "--timeout=40s");
    }
    return new CliWorld(bed);
  }

  private constructor(bed: Bed) {
    this.bed = bed;
  }

  stop(): Promise<void> {
    return this.bed.stop();
  }

  try(args: readonly string[], options: Omit<WeftOptions, "kubeconfig"> = {}): Promise<WeftResult> {
    return weft(args, { ...options, kubeconfig: this.bed.playground.kubeconfig });
  }

  /** Fails with what `weft` says when it does not succeed. */
  async weft(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.try(args);
    if (code !== 0) throw new Error(`weft ${args.join(" ")}: exit ${code}: ${stderr}${stdout}`);
    return stdout;
  }

  async json<T = never>(...args: string[]): Promise<T> {
    return JSON.parse(await this.weft(...args, "-o", "json")) as T;
  }

  async inTerminal(...args: string[]): Promise<string> {
    return (await weftInTerminal(args, { kubeconfig: this.bed.playground.kubeconfig })).stdout;
  }

  /** A kubeconfig of a service account that nobody has given a role. */
  async powerless(): Promise<string> {
    const token = (await this.bed.kubectl("create", "token", "default")).trim();
    const { kubeconfig } = this.bed.playground;
    const config = parse(readFileSync(kubeconfig, "utf8"));
    config.users[0].user = { token };
    const path = join(kubeconfig, "..", "powerless");
    writeFileSync(path, stringify(config), { mode: 0o600 });
    return path;
  }
}
