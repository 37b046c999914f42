/** A playground with a namespace `shop` in the mesh, the service `web` of it behind a waypoint, and a client. */
import { eventually } from "#lib/eventually.ts";
import { deployMesh } from "../../playground/src/mesh.ts";
import { Bed } from "../playground/bed.ts";

/** How long what somebody applied may take until requests see it: machines of tests are busy. */
const SETTLE_MS = 30_000;

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the mirror saw of a request. */
export interface Mirrored {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: number;
}

export interface AppOptions {
  /** Names and numbers of the ports of its service. */
  readonly ports: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly namespace?: string;
}

export class WaypointBed extends Bed {
  static override async start(name: string): Promise<WaypointBed> {
    const { playground, reports } = await Bed.start(name);
    const bed = new WaypointBed(playground, reports);
    try {
      await bed.#prepare();
    } catch (error) {
      await bed.stop();
      throw error;
    }
    return bed;
  }

  async #prepare(): Promise<void> {
    await deployMesh(this.playground);
    await this.apply(`apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: all}}
spec:
  gatewayClassName: weft-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
`);
    await this.app("web", [program("mirror"), "8080", "9000", "9001"], {
      ports: { http: 8080, grpc: 9000, tcp: 9001 },
      labels: { version: "v1" },
    });
    await this.app("client", ["sleep", "infinity"], { ports: {}, labels: { version: "v7" } });
    await this.ready("web", "client");
    await this.kubectl("wait", "-n", "shop", "--for=condition=Programmed", "gateway/waypoint", "--timeout=60s");
    await this.kubectl("label", "service", "-n", "shop", "web", "istio.io/use-waypoint=waypoint");
    await eventually(
      "the way by the waypoint",
      async () => (await this.ask("/")).headers.server !== undefined,
      SETTLE_MS,
    );
  }

  /** A Deployment of one pod with an account and, if it has ports, a service of its name. */
  async app(
    name: string,
    argv: readonly string[],
    { ports, labels = {}, namespace = "shop" }: AppOptions,
  ): Promise<void> {
    const command = argv[0]?.endsWith(".ts") === true ? ["node", ...argv] : argv;
    const list = Object.entries(ports).map(([port, number]) => `{name: ${port}, port: ${number}}`);
    const all = Object.entries({ app: name, ...labels }).map(([key, value]) => `${key}: ${value}`);
    const [probed] = Object.values(ports);
    const probe =
      probed === undefined ? "" : `\n        readinessProbe: {tcpSocket: {port: ${probed}}, periodSeconds: 1}`;
    await this.apply(`apiVersion: v1
kind: ServiceAccount
metadata: {name: ${name}, namespace: ${namespace}}
---
${
  list.length === 0
    ? ""
    : `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  selector: {app: ${name}}
  ports: [${list.join(", ")}]
---
`
}apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {${all.join(", ")}}}
    spec:
      serviceAccountName: ${name}
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: node
        command: ${JSON.stringify(command)}${probe}
`);
  }

  async ready(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      await this.kubectl("rollout", "status", `deployment/${name}`, "-n", "shop", "--timeout=60s");
    }
  }

  /** MeshConfig, as YAML. */
  async meshConfig(yaml: string): Promise<void> {
    const indented = yaml.split("\n").map((line) => `    ${line}`);
    await this.apply(
      `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n${indented.join("\n")}\n`,
    );
  }

  /** Runs a program in the client's pod. */
  async run(...argv: readonly string[]): Promise<string> {
    const { stdout } = await this.try("exec", "-n", "shop", "deployment/client", "--", ...argv);
    return stdout;
  }

  /** Asks `web` for a path, or another host for a whole URL. */
  async ask(path: string, ...curl: readonly string[]): Promise<Answer> {
    const url = path.startsWith("/") ? `http://web:8080${path}` : path;
    const text = await this.run("curl", "-s", "-m", "15", "-i", "--path-as-is", ...curl, url);
    return parseAnswer(text);
  }

  async mirrored(path: string, ...curl: readonly string[]): Promise<Mirrored> {
    const { status, body } = await this.ask(path, ...curl);
    if (status === 0) throw new Error(`no answer to ${path}`);
    return JSON.parse(body) as Mirrored;
  }

  /** Waits until `path` is answered so. */
  async becomes(
    what: string,
    fits: (answer: Answer) => boolean,
    path: string,
    ...curl: readonly string[]
  ): Promise<Answer> {
    let last: Answer | undefined;
    await eventually(
      what,
      async () => {
        last = await this.ask(path, ...curl);
        return fits(last);
      },
      SETTLE_MS,
    ).catch((error: unknown) => {
      throw new Error(`${what}: the last answer was ${JSON.stringify(last)}`, { cause: error });
    });
    return last as Answer;
  }

  async lines(app: string): Promise<string[]> {
    return (await this.kubectl("logs", "-n", "shop", `deployment/${app}`)).split("\n").filter((line) => line !== "");
  }

  /** The first line of a pod's log that fits, as soon as there is one. */
  async line(what: string, app: string, fits: (line: string) => boolean): Promise<string> {
    let last: string[] = [];
    const found = eventually(
      what,
      async () => {
        last = await this.lines(app);
        return last.find(fits);
      },
      SETTLE_MS,
    );
    return found.catch((error: unknown) => {
      throw new Error(`${what}: the log of ${app} ends in\n${last.slice(-20).join("\n")}`, { cause: error });
    });
  }

  /** The waypoint's metrics. */
  async scrape(): Promise<string> {
    const curl = ["curl", "-s", "http://127.0.0.1:15020/stats/prometheus"];
    return this.kubectl("exec", "-n", "shop", "deployment/waypoint", "--", ...curl);
  }
}

/** Path of one of the programs beside this file. */
export function program(name: string): string {
  return new URL(`programs/${name}.ts`, import.meta.url).pathname;
}

/** Of what `curl -i` prints; interim responses are left out. */
function parseAnswer(text: string): Answer {
  let rest = text;
  while (/^HTTP\/\S+ 1\d\d/.test(rest)) rest = rest.slice(rest.indexOf("\r\n\r\n") + 4);
  const end = rest.indexOf("\r\n\r\n");
  if (end < 0) return { status: 0, headers: {}, body: rest };
  const [first = "", ...lines] = rest.slice(0, end).split("\r\n");
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`;
  }
  return { status: Number(first.split(" ")[1]), headers, body: rest.slice(end + 4) };
}
