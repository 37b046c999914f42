/** Two clients on the first node, servers on both, each with a service and a headless one, in and outside the mesh. */
import { eventually } from "#lib/eventually.ts";
import type { Stage, StagePod } from "../../demo/src/stage.ts";
import type { Case } from "./matrix-table.ts";
import { clientText, namespaceText, serverText, serviceText, waypointText } from "./pod-manifests.ts";
import { programArgv } from "./pod-program.ts";
import type { DialResult, DialTarget } from "./programs/dial.ts";

export const SERVER_PORT = 8080;
export const SERVICE_PORT = 80;
/** More than the dialler waits for each. */
const DIAL_MS = 30_000;
const NAMESPACES = { enrolled: "inside", outside: "outside" } as const;
const SERVERS = { "same node": "near", "other node": "far" } as const;

export function serverOf(one: Case): { readonly namespace: string; readonly name: string } {
  return { namespace: NAMESPACES[one.destination], name: SERVERS[one.place] };
}

const WAYPOINT = "waypoint";
const BOUND = `istio.io/use-waypoint: ${WAYPOINT}, istio.io/use-waypoint-namespace: ${NAMESPACES.enrolled}`;

export interface World {
  readonly clients: Readonly<Record<Case["source"], StagePod>>;
  readonly servers: readonly StagePod[];
  readonly waypoint: StagePod;
}

export async function buildWorld(stage: Stage): Promise<World> {
  const [first, second] = stage.nodes.map(({ name }) => name);
  if (first === undefined || second === undefined) throw new Error("two nodes are needed");
  await stage.apply(
    Object.values(NAMESPACES)
      .flatMap((namespace) => [
        namespaceText(namespace, namespace === NAMESPACES.enrolled),
        clientText({ namespace, name: "client", node: first }),
        ...serverTexts(namespace, "near", first),
        ...serverTexts(namespace, "far", second),
      ])
      .concat(waypointText(NAMESPACES.enrolled, WAYPOINT))
      .join("---\n"),
  );
  return eventually("every pod is ready and enrolled where it should be", () => look(stage), 60_000);
}

async function look(stage: Stage): Promise<World> {
  const inside = await stage.pods(NAMESPACES.enrolled);
  const outside = await stage.pods(NAMESPACES.outside);
  const all = [...inside, ...outside];
  const isWaypoint = ({ name }: StagePod) => name.startsWith(`${WAYPOINT}-`);
  const late = all.filter((pod) => !pod.ready || pod.enrolled !== (inside.includes(pod) && !isWaypoint(pod)));
  if (all.length < 7 || late.length > 0) throw new Error(late.map(({ name }) => name).join(", "));
  const isClient = ({ name }: StagePod) => name === "client";
  const one = (pods: StagePod[], fits: (pod: StagePod) => boolean): StagePod => {
    const found = pods.find(fits);
    if (found === undefined) throw new Error("a pod is missing");
    return found;
  };
  return {
    clients: { enrolled: one(inside, isClient), outside: one(outside, isClient) },
    servers: all.filter((pod) => !isClient(pod) && !isWaypoint(pod)),
    waypoint: one(inside, isWaypoint),
  };
}

function serverTexts(namespace: string, name: string, node: string): string[] {
  return [
    serverText({ namespace, name, node }, name, SERVER_PORT),
    serviceText(namespace, name, `app: ${name}`, { port: SERVICE_PORT, targetPort: SERVER_PORT }),
    serviceText(namespace, `${name}-bound`, `app: ${name}`, { port: SERVICE_PORT, targetPort: SERVER_PORT }, "", BOUND),
    serviceText(
      namespace,
      `${name}-headless`,
      `app: ${name}`,
      { port: SERVER_PORT, targetPort: SERVER_PORT },
      "  clusterIP: None\n",
    ),
  ];
}

/** PeerAuthentication and AuthorizationPolicy of both namespaces; at the one outside the mesh they must mean nothing. */
export async function setRules(stage: Stage, world: World, mtls: Case["mtls"], policy: Case["policy"]): Promise<void> {
  const { enrolled, outside } = world.clients;
  for (const namespace of Object.values(NAMESPACES)) {
    await stage.apply(`apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: rules, namespace: ${namespace}}
spec: {mtls: {mode: ${mtls}}}
`);
    const rules = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: rules, namespace: ${namespace}}
spec:
  action: ${policy === "deny" ? "DENY" : "ALLOW"}
  rules:
    - from: [{source: {principals: [cluster.local/ns/${enrolled.namespace}/sa/client]}}]
    - from: [{source: {ipBlocks: [${outside.ip}/32, "${outside.ip6}/128"]}}]
`;
    if (policy === "none") await stage.remove(rules);
    else await stage.apply(rules);
  }
}

/** Addresses of the services, by `namespace/name`, IPv4 and IPv6. */
export type Vips = ReadonlyMap<string, readonly string[]>;

/** What a dialler must do for this case. `bytes` tells the connection from all others in the logs. */
export function targetOf(one: Case, world: World, vips: Vips, bytes: number): DialTarget {
  const { namespace, name } = serverOf(one);
  const family = one.family === "IPv6" ? 6 : 4;
  const common = { id: caseId(one), family, mapped: one.family === "mapped", bytes, looks: true } as const;
  if (one.target === "headless") {
    return { ...common, host: `${name}-headless.${namespace}.svc.cluster.local`, port: SERVER_PORT };
  }
  if (one.target === "pod IP") return { ...common, host: podIp(one, world), port: SERVER_PORT };
  const service = one.target === "bound VIP" ? `${name}-bound` : name;
  const vip = vips.get(`${namespace}/${service}`)?.find((ip) => ip.includes(":") === (family === 6));
  if (vip === undefined) throw new Error(`service ${namespace}/${service} has no IPv${family} address`);
  return { ...common, host: vip, port: SERVICE_PORT };
}

export function podIp(one: Case, world: World): string {
  const { namespace, name } = serverOf(one);
  const pod = world.servers.find((each) => each.namespace === namespace && each.name === name);
  const ip = one.family === "IPv6" ? pod?.ip6 : pod?.ip;
  if (ip === undefined) throw new Error(`${namespace}/${name} has no ${one.family} address`);
  return ip;
}

export function caseId(one: Case): string {
  return Object.values(one).join(", ");
}

/** Dials all targets at once from the pod. */
export async function dial(stage: Stage, from: StagePod, targets: readonly DialTarget[]): Promise<DialResult[]> {
  const argv = programArgv("dialler", JSON.stringify(targets));
  const { code, stdout, stderr } = await stage.exec(from, argv, DIAL_MS);
  if (code !== 0) throw new Error(`the dialler in ${from.namespace}/${from.name} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as DialResult[];
}
