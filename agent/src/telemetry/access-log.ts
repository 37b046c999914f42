/** One line per connection at its end. Plain form by hand, since it is written thousands of times a second. */
import { joinHostPort } from "#lib/address.ts";
import { type LogFields, type Logger, type LogRoot, timestamp } from "#lib/log.ts";
import type { Reason } from "#lib/reasons.ts";
import type { ConnectionRecord, SocketAddress } from "../native.ts";
import type { Attribution } from "./attribution.ts";

export const ACCESS_SCOPE = "access";
const HBONE_PORT = 15008;
/** Ends that a peer brings about in ordinary life. */
const ORDINARY: ReadonlySet<Reason> = new Set(["none", "peer_reset", "drained", "idle_timeout"]);

export class AccessLog {
  readonly #root: LogRoot;
  readonly #logger: Logger;

  constructor(root: LogRoot) {
    this.#root = root;
    this.#logger = root.logger(ACCESS_SCOPE);
  }

  write(record: ConnectionRecord, attribution: Attribution): void {
    const level = endLevel(record.reason);
    if (!this.#root.enabled(ACCESS_SCOPE, level)) return;
    if (this.#root.format === "json") this.#logger[level]("connection complete", jsonFields(record, attribution));
    else this.#root.writeLine(plainLine(level, record, attribution));
  }
}

export function plainLine(level: string, record: ConnectionRecord, attribution: Attribution): string {
  const { outbound, service, sourceText, destinationText } = attribution;
  let line = `${timestamp(record.openedAtMs + record.durationMs)}\t${level}\t${ACCESS_SCOPE}\tconnection complete\tsrc.addr=${addressText(record.source)}`;
  line += sourceText;
  line += ` dst.addr=${addressText(dialled(record))}`;
  if (record.authority !== undefined) line += ` dst.hbone_addr=${bare(record.authority)}`;
  if (service !== undefined) line += ` dst.service="${service.hostname}"`;
  line += destinationText;
  line += outbound ? ' direction="outbound"' : ' direction="inbound"';
  line += ` bytes_sent=${outbound ? record.requestBytes : record.responseBytes}`;
  line += ` bytes_recv=${outbound ? record.responseBytes : record.requestBytes}`;
  line += ` duration="${Math.round(record.durationMs)}ms"`;
  const error = errorOf(record);
  if (error !== undefined) line += ` error=${JSON.stringify(error)}`;
  return `${line}\n`;
}

function jsonFields(record: ConnectionRecord, { outbound, source, destination, service }: Attribution): LogFields {
  return {
    "src.addr": addressText(record.source),
    "src.workload": source.name,
    "src.namespace": source.namespace,
    "src.identity": source.identity,
    "src.cluster": source.cluster,
    "dst.addr": addressText(dialled(record)),
    "dst.hbone_addr": record.authority,
    "dst.service": service?.hostname,
    "dst.workload": destination.name,
    "dst.namespace": destination.namespace,
    "dst.identity": destination.identity,
    "dst.cluster": destination.cluster,
    direction: outbound ? "outbound" : "inbound",
    bytes_sent: outbound ? record.requestBytes : record.responseBytes,
    bytes_recv: outbound ? record.responseBytes : record.requestBytes,
    duration: `${Math.round(record.durationMs)}ms`,
    error: errorOf(record),
  };
}

/** What the tunnel was opened to; the application's own address is in the authority. */
function dialled(record: ConnectionRecord): SocketAddress {
  if (record.path === "inbound-hbone") return { ip: record.destination.ip, port: HBONE_PORT };
  if (record.path === "outbound") return record.upstream ?? record.destination;
  return record.destination;
}

export function endLevel(reason: Reason): "info" | "error" {
  return ORDINARY.has(reason) ? "info" : "error";
}

/** Why the connection ended, for people; undefined for an orderly end. */
export function errorOf(record: Pick<ConnectionRecord, "reason" | "policy" | "detail">): string | undefined {
  switch (record.reason) {
    case "none":
      return undefined;
    case "policy_denied":
      return `connection closed due to policy rejection: ${decider(record.policy)}`;
    case "policy_changed":
      return `connection closed due to policy change: ${decider(record.policy)}`;
    default:
      return record.detail === undefined || record.detail === "" ? record.reason : `${record.reason}: ${record.detail}`;
  }
}

function decider(policy: string | undefined): string {
  return policy === undefined || policy === ""
    ? "allow policies exist, but none allowed"
    : `explicitly denied by: ${policy}`;
}

/** A peer chose this text: it must not be able to end the value. */
function bare(text: string): string {
  return /^[\w.:[\]-]+$/.test(text) ? text : JSON.stringify(text);
}

function addressText(address: SocketAddress): string {
  return joinHostPort(address.ip, address.port);
}
