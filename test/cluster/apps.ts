/** What runs in the pods of the cluster tests: Node scripts in Weft's own image, for there is no registry to have others from. */

const IMAGE = "weft:test";

const SERVER = `
require("node:http").createServer((request, response) => {
  response.setHeader("x-pod", process.env.HOSTNAME);
  response.end(request.socket.remoteAddress);
}).listen(8080, "::");
process.on("SIGTERM", () => process.exit(0));`;

const IDLE = `setInterval(() => {}, 1000); process.on("SIGTERM", () => process.exit(0));`;

export interface PodOptions {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly script?: string;
}

export function namespace(name: string, labels: Readonly<Record<string, string>> = {}): object {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

/** An account and a pod of that name. */
export function client({ namespace, name, node, script = IDLE }: PodOptions): object[] {
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name } },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { namespace, name, labels: { app: name } },
      spec: {
        nodeSelector: { "kubernetes.io/hostname": node },
        serviceAccountName: name,
        terminationGracePeriodSeconds: 1,
        containers: [{ name: "app", image: IMAGE, command: ["node", "-e", script] }],
      },
    },
  ];
}

/** The same with a Service, and a probe of the kubelet's. */
export function server(options: PodOptions): object[] {
  const [account = {}, pod = {}] = client({ ...options, script: SERVER });
  const { spec } = pod as { spec: { containers: object[] } };
  const readinessProbe = { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 };
  const { namespace, name } = options;
  return [
    account,
    { ...pod, spec: { ...spec, containers: [{ ...spec.containers[0], readinessProbe }] } },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { namespace, name },
      spec: { selector: { app: name }, ports: [{ name: "http", port: 80, targetPort: 8080, appProtocol: "http" }] },
    },
  ];
}

/** Prints the status and the body, or why there is none. */
export function fetchScript(url: string, method = "GET"): string {
  return `fetch(${JSON.stringify(url)}, { method: "${method}", signal: AbortSignal.timeout(10000) })
    .then(async (answer) => console.log(answer.status, await answer.text()),
          (error) => console.log("failed", error.cause?.code ?? error.name))`;
}
