/** Who talked to whom: the access logs of all agents, summed up for people. */
import type { AccessLine, Peer } from "./access-log.ts";
import { bytes, type Cell } from "./layout.ts";

export interface Conversation {
  readonly from: string;
  readonly fromIdentity: string;
  readonly to: string;
  readonly toIdentity: string;
  readonly nodes: string;
  readonly path: "tunnel" | "direct" | "plaintext in" | "plaintext out";
  connections: number;
  refused: number;
  requestBytes: number;
  responseBytes: number;
}

/** Node of a pod by its name, to show which calls left their node. */
export type NodeOf = (pod: string) => string | undefined;

/**
 * One entry per pair of workloads, their nodes and the path. Tunnels are told by the end that opened them (the other end's line says the same
 * again); plaintext that came in has no other reporter than the end that took it.
 */
export function conversations(lines: readonly AccessLine[], nodeOf: NodeOf): Conversation[] {
  const found = new Map<string, Conversation>();
  for (const line of lines) {
    const path = pathOf(line);
    if (path === "tunnel" && line.direction === "inbound") continue;
    const [source, destination] = [nameOf(line.source), nameOf(line.destination)];
    const [from, to] = [workloadOf(source), workloadOf(destination)];
    const nodes = `${nodeOf(source) ?? "?"} → ${nodeOf(destination) ?? "?"}`;
    const key = `${from}|${to}|${path}|${nodes}`;
    const entry = found.get(key) ?? {
      from,
      fromIdentity: shortIdentity(line.source.identity),
      to,
      toIdentity: shortIdentity(line.destination.identity),
      nodes,
      path,
      connections: 0,
      refused: 0,
      requestBytes: 0,
      responseBytes: 0,
    };
    entry.connections++;
    if (line.error !== undefined) entry.refused++;
    entry.requestBytes += line.requestBytes;
    entry.responseBytes += line.responseBytes;
    found.set(key, entry);
  }
  return [...found.values()].sort((a, b) => a.from.localeCompare(b.from) || a.to.localeCompare(b.to));
}

export const CONVERSATION_HEAD = ["from", "as", "to", "as", "nodes", "path", "conns", "sent", "received"];

export function conversationRows(all: readonly Conversation[]): (Cell | string)[][] {
  return all.map((entry) => [
    entry.from,
    identityCell(entry.fromIdentity),
    entry.to,
    identityCell(entry.toIdentity),
    entry.nodes,
    PATH_CELLS[entry.path],
    { text: `${entry.connections}${entry.refused > 0 ? ` (${entry.refused} failed)` : ""}`, align: "right" },
    { text: bytes(entry.requestBytes), align: "right" },
    { text: bytes(entry.responseBytes), align: "right" },
  ]);
}

/** Green where both ends have proved who they are. */
const PATH_CELLS: Readonly<Record<Conversation["path"], Cell>> = {
  tunnel: { text: "tunnel, mTLS", style: "green" },
  direct: { text: "direct, kernel", style: "green" },
  "plaintext in": { text: "plaintext in", style: "yellow" },
  "plaintext out": { text: "plaintext out", style: "yellow" },
};

function identityCell(identity: string): Cell {
  return identity === "" ? { text: "nobody", style: "dim" } : { text: identity, style: "cyan" };
}

function pathOf(line: AccessLine): Conversation["path"] {
  if (line.direction === "direct") return "direct";
  if (line.tunnelTo !== undefined) return "tunnel";
  return line.direction === "outbound" ? "plaintext out" : "plaintext in";
}

function nameOf(peer: Peer): string {
  return peer.pod ?? peer.ip;
}

/** Without what a Deployment's pods have in their names beyond the Deployment's. */
function workloadOf(pod: string): string {
  return pod.replace(/-[a-z0-9]{10}-[a-z0-9]{5}$/, "");
}

/** What most identities of the demo begin with. */
export const USUAL_IDENTITY = "spiffe://cluster.local/ns/bookinfo/sa/";

/** An identity of the demo's namespace by its account alone, any other in full. */
export function shortIdentity(identity: string | undefined): string {
  return identity === undefined ? "" : identity.replace(USUAL_IDENTITY, "");
}
