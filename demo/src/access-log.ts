/** Reading an agent's access log, in both forms that it writes. */

export interface AccessLine {
  readonly direction: "inbound" | "outbound" | "direct";
  /** Pod names, where the agent knew them. */
  readonly source: Peer;
  readonly destination: Peer;
  /** Host name of the service that was addressed. */
  readonly service: string | undefined;
  /** How the identities are known (`connection_security_policy`), where the line says so. */
  readonly security: string | undefined;
  /** What the tunnel's CONNECT asked for; absent: no tunnel. */
  readonly tunnelTo: string | undefined;
  /** Client to server, whichever end reports. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly error: string | undefined;
  /** The policy named in `error`, as `namespace/name`. */
  readonly policy: string | undefined;
}

export interface Peer {
  readonly ip: string;
  readonly pod: string | undefined;
  readonly namespace: string | undefined;
  /** SPIFFE id; absent on plaintext. */
  readonly identity: string | undefined;
}

type Fields = Readonly<Record<string, string>>;

const FIELD = /([\w.]+)=("(?:[^"\\]|\\.)*"|\S+)/g;

/** Connections of a log text, in its order; lines that are no access lines are left out. */
export function parseAccessLog(text: string): AccessLine[] {
  const lines: AccessLine[] = [];
  for (const line of text.split("\n")) {
    const fields = line.startsWith("{") ? jsonFields(line) : plainFields(line);
    if (fields !== undefined) lines.push(accessLine(fields));
  }
  return lines;
}

function jsonFields(line: string): Fields | undefined {
  try {
    const fields = JSON.parse(line) as Fields;
    return fields.scope === "access" && fields.direction !== undefined ? fields : undefined;
  } catch {
    return undefined; // A line that is still being written.
  }
}

function plainFields(line: string): Fields | undefined {
  const [, , scope, , rest] = line.split("\t");
  if (scope !== "access" || rest === undefined) return undefined;
  const pairs = [...rest.matchAll(FIELD)].map(([, key = "", value = ""]) => [key, unquoted(value)] as const);
  return Object.fromEntries(pairs);
}

function accessLine(fields: Fields): AccessLine {
  // A direct connection has one line for both ends, told as its source would.
  const { direction } = fields;
  const outbound = direction !== "inbound";
  const sent = Number(fields.bytes_sent);
  const received = Number(fields.bytes_recv);
  return {
    direction: direction === "outbound" || direction === "direct" ? direction : "inbound",
    source: peer(fields, "src"),
    destination: peer(fields, "dst"),
    service: fields["dst.service"],
    security: fields.connection_security_policy,
    tunnelTo: fields["dst.hbone_addr"],
    requestBytes: outbound ? sent : received,
    responseBytes: outbound ? received : sent,
    error: fields.error,
    policy: /explicitly denied by: (\S+)/.exec(fields.error ?? "")?.[1],
  };
}

function peer(fields: Fields, prefix: "src" | "dst"): Peer {
  return {
    ip: (fields[`${prefix}.addr`] ?? "").replace(/:\d+$/, "").replace(/^\[|\]$/g, ""),
    pod: fields[`${prefix}.workload`],
    namespace: fields[`${prefix}.namespace`],
    identity: fields[`${prefix}.identity`],
  };
}

function unquoted(value: string): string {
  return value.startsWith('"') ? (JSON.parse(value) as string) : value;
}
