/** Compares what a connection did with what it should have done: from both ends, the access logs and the counters. */
import type { AccessLine } from "../../demo/src/access-log.ts";
import type { MetricSample } from "../../demo/src/metrics-text.ts";
import type { StagePod } from "../../demo/src/stage.ts";
import type { Case, Expected, ExpectedLine } from "./matrix-table.ts";
import { caseId, podIp, SERVER_PORT, SERVICE_PORT, serverOf, type World } from "./matrix-world.ts";
import type { DialResult } from "./programs/dial.ts";

const OUTBOUND_PORT = 15001;
const POLICY_NAMES = { strict: "istio-system/istio_converted_static_strict", deny: "inside/rules" } as const;
const IDENTITY = "spiffe://cluster.local/ns/inside/sa/";

/** One connection: the case, what must be, what was, and the length of its request. */
export interface Dialled {
  readonly one: Case;
  readonly must: Expected;
  readonly result: DialResult;
  readonly bytes: number;
}

/** Everything that is not as it should be at the two ends, as `case: what`. */
export function endComplaints(dialled: Dialled, world: World): string[] {
  const { one, must, result } = dialled;
  const found: Finding[] = [["outcome", must.outcome, result.outcome]];
  const client = world.clients[one.source];
  const own = one.family === "IPv6" ? client.ip6 : client.ip;
  if (result.outcome === "reached" && must.outcome === "reached") {
    const { greeting } = result;
    const { namespace, name } = serverOf(one);
    const asked = `${one.family === "mapped" ? "::ffff:" : ""}${result.ip} ${askedPort(one)}`;
    found.push(
      ["server", `${namespace}/${name}`, greeting?.server],
      ["agent at the source", must.agentAtSource, result.remote === `${own} ${OUTBOUND_PORT}`],
      ...(must.path === "P3" ? endOfWaypoint(greeting?.client, world) : endOfClient(dialled, own, world)),
      ["getpeername() at the client", asked, result.peername],
    );
    // The node's own NAT of service addresses may give a connection from outside another port on its way.
    if (one.source === "enrolled" && !must.agentAtSource && !must.agentAtDestination) {
      found.push(["one connection from end to end", result.local, greeting?.remote]);
    }
  }
  return found
    .filter(([, wanted, seen]) => wanted !== seen)
    .map(
      ([what, wanted, seen]) => `${caseId(one)} (${must.path}): ${what}: ${seen} instead of ${wanted}${why(result)}`,
    );
}

type Finding = [what: string, wanted: unknown, seen: unknown];

function endOfClient({ one, must, result: { greeting } }: Dialled, own: string | undefined, world: World): Finding[] {
  return [
    ["agent at the destination", must.agentAtDestination, greeting?.remote?.split(" ")[0] === podIp(one, world)],
    ["client's address at the server", own, greeting?.client.split(" ")[0]],
  ];
}

/** The waypoint dials as itself, by a family of its own choice. */
function endOfWaypoint(client: string | undefined, { waypoint }: World): Finding[] {
  const ip = client?.split(" ")[0]?.replace(/^::ffff:/, "");
  return [["the waypoint dials the server", true, ip === waypoint.ip || ip === waypoint.ip6]];
}

function why({ error }: DialResult): string {
  return error === undefined ? "" : ` (${error})`;
}

function askedPort(one: Case): number {
  return one.target === "VIP" || one.target === "bound VIP" ? SERVICE_PORT : SERVER_PORT;
}

/** New lines of each node's log, the source's first. */
export type NewLines = Readonly<Record<ExpectedLine["node"], readonly AccessLine[]>>;

/** Each expected line must be there once, and no line that nobody expects. */
export function lineComplaints(
  all: readonly Dialled[],
  lines: ReadonlyMap<string, readonly AccessLine[]>,
  world: World,
): string[] {
  const complaints: string[] = [];
  const left = new Map([...lines].map(([node, found]) => [node, [...found]]));
  for (const dialled of all) {
    for (const want of dialled.must.lines) {
      const node = nodeOf(dialled.one, want.node, world);
      const found = left.get(node) ?? [];
      const at = found.findIndex((line) => fits(line, want, dialled, world));
      if (at >= 0) found.splice(at, 1);
      else complaints.push(`${caseId(dialled.one)} (${dialled.must.path}): no ${want.direction} line on ${node}`);
    }
  }
  for (const [node, rest] of left) {
    for (const line of rest) complaints.push(`unexpected line on ${node}: ${JSON.stringify(line)}`);
  }
  return complaints;
}

export function nodeOf(one: Case, end: "source" | "destination", world: World): string {
  const { node } = world.clients[one.source];
  if (end === "source" || one.place === "same node") return node;
  return world.servers.find((pod) => pod.node !== node)?.node ?? "";
}

function fits(line: AccessLine, want: ExpectedLine, { one, must, result, bytes }: Dialled, world: World): boolean {
  const { namespace, name } = serverOf(one);
  const client = world.clients[one.source];
  const identity = (present: boolean, account: string): string | undefined =>
    present ? `${IDENTITY}${account}` : undefined;
  const reached = must.outcome === "reached";
  const server = world.servers.find((pod) => pod.namespace === namespace && pod.name === name);
  const source = { pod: want.waypoint === "source" ? world.waypoint : client, account: "client" };
  const destination = { pod: want.waypoint === "destination" ? world.waypoint : server, account: name };
  const account = (end: { pod: StagePod | undefined; account: string }) =>
    end.pod === world.waypoint ? "waypoint" : end.account;
  // Behind a waypoint it is the waypoint that picks the family.
  const families =
    want.waypoint === "source" ? (["ip", "ip6"] as const) : ([one.family === "IPv6" ? "ip6" : "ip"] as const);
  // That the server's end closed a connection is no failure of the tunnel to the waypoint.
  const mayEndWell = want.waypoint === "destination";
  return (
    line.direction === want.direction &&
    line.source.pod === source.pod.name &&
    line.source.namespace === source.pod.namespace &&
    families.some((ip) => line.source.ip === source.pod[ip] && line.destination.ip === destination.pod?.[ip]) &&
    line.destination.pod === destination.pod?.name &&
    line.destination.namespace === destination.pod?.namespace &&
    line.source.identity === identity(want.sourceIdentity, account(source)) &&
    line.destination.identity === identity(want.destinationIdentity, account(destination)) &&
    (line.tunnelTo !== undefined) === want.tunnel &&
    (reached
      ? line.requestBytes === bytes && line.responseBytes === result.answerBytes && line.error === undefined
      : mayEndWell || line.error !== undefined) &&
    (want.denied.length === 0
      ? line.policy === undefined
      : want.denied.some((each) => line.policy === POLICY_NAMES[each]))
  );
}

type Counts = Map<string, number>;

/** What the counters of all nodes must have gone up by, by `node, reporter, source -> destination, ...`. */
export function expectedCounts(all: readonly Dialled[], world: World): Counts {
  const counts: Counts = new Map();
  for (const { one, must } of all) {
    const { namespace, name } = serverOf(one);
    const client = world.clients[one.source];
    for (const { node, reporter, toWaypoint, identities, security } of must.counts) {
      const account = toWaypoint ? "waypoint" : name;
      const principals = identities ? `${IDENTITY}client ${IDENTITY}${account}` : "unknown unknown";
      const ends = `${client.namespace}/client -> ${toWaypoint ? world.waypoint.namespace : namespace}/${account}`;
      const key = `${nodeOf(one, node, world)}, ${reporter}, ${ends}, ${principals}, ${security}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  return counts;
}

/** The same of a scrape of one node. */
export function seenCounts(node: string, samples: readonly MetricSample[]): Counts {
  const counts: Counts = new Map();
  for (const { name, labels, value } of samples) {
    if (name !== "istio_tcp_connections_opened_total" || labels.source_workload !== "client") continue;
    const ends = `${labels.source_workload_namespace}/client -> ${labels.destination_workload_namespace}/${labels.destination_workload}`;
    const principals = `${labels.source_principal} ${labels.destination_principal}`;
    const key = `${node}, ${labels.reporter}, ${ends}, ${principals}, ${labels.connection_security_policy}`;
    counts.set(key, (counts.get(key) ?? 0) + value);
  }
  return counts;
}

export function countComplaints(want: Counts, before: Counts, after: Counts): string[] {
  return [...new Set([...want.keys(), ...after.keys()])]
    .map((key) => ({ key, must: want.get(key) ?? 0, is: (after.get(key) ?? 0) - (before.get(key) ?? 0) }))
    .filter(({ must, is }) => must !== is)
    .map(({ key, must, is }) => `connections opened, ${key}: ${is} instead of ${must}`);
}
