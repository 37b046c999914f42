/** A playground for one test file, and kubectl for it. */
import { accessFromKubeconfig } from "#lib/kube/access.ts";
import { KubeClient } from "#lib/kube/client.ts";
import { type Playground, type PlaygroundOptions, startPlayground } from "../../playground/src/playground.ts";
import { type KubectlResult, kubectl, kubectlInTerminal } from "../helpers/kubectl.ts";

export class Bed {
  readonly playground: Playground;
  readonly client: KubeClient;
  readonly reports: string[];

  static async start(name: string, options: Omit<PlaygroundOptions, "name"> = {}): Promise<Bed> {
    const reports: string[] = [];
    const playground = await startPlayground({ name, report: (message) => reports.push(message), ...options });
    return new Bed(playground, reports);
  }

  protected constructor(playground: Playground, reports: string[]) {
    this.playground = playground;
    this.reports = reports;
    this.client = new KubeClient(accessFromKubeconfig(playground.kubeconfig));
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.playground.stop();
  }

  try(...args: string[]): Promise<KubectlResult> {
    return kubectl(this.playground.kubeconfig, args);
  }

  /** Fails with what kubectl says when it does not succeed. */
  async kubectl(...args: string[]): Promise<string> {
    return succeeded(args, await this.try(...args));
  }

  async apply(manifest: string, ...args: string[]): Promise<string> {
    const all = ["apply", ...args, "-f", "-"];
    return succeeded(all, await kubectl(this.playground.kubeconfig, all, manifest));
  }

  inTerminal(...args: string[]): Promise<KubectlResult> {
    return kubectlInTerminal(this.playground.kubeconfig, args);
  }

  async withInput(input: string, ...args: string[]): Promise<KubectlResult> {
    return kubectl(this.playground.kubeconfig, args, input);
  }
}

function succeeded(args: readonly string[], result: KubectlResult): string {
  if (result.code !== 0) throw new Error(`kubectl ${args.join(" ")}: exit ${result.code}: ${result.stderr}`);
  return result.stdout;
}

/** A Deployment of small HTTP servers that answer with their pod's name and the client's address. */
export function webDeployment(name: string, replicas: number, extra = ""): string {
  return `apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: web
        image: node
        command:
        - node
        - -e
        - |
          const http = require("node:http");
          console.log("listening");
          http.createServer((q, r) => r.end(process.env.HOSTNAME + " " + q.socket.remoteAddress)).listen(8080, "::");
          process.on("SIGTERM", () => process.exit(0));
        ports: [{name: web, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: web}, periodSeconds: 1}
${extra}---
`;
}

export function service(name: string, app: string, spec = ""): string {
  return `apiVersion: v1
kind: Service
metadata: {name: ${name}}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {app: ${app}}
  ports: [{name: http, port: 80, targetPort: web}]
${spec}---
`;
}
