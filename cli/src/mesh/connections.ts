/** Open connections of the pods that agents look after. */
import type { Column } from "../output/table.ts";
import type { AgentAnswers, ConnectionJson, ServiceJson, WorkloadJson } from "./agent-dump.ts";

export interface ConnectionRow {
  readonly node: string;
  readonly namespace: string;
  readonly pod: string;
  readonly direction: "Inbound" | "Outbound";
  readonly local: string;
  readonly remote: string;
  /** What was asked for, where the agent knows it. */
  readonly target: string;
  readonly protocol: string;
}

export const CONNECTION_COLUMNS: readonly Column<ConnectionRow>[] = [
  { title: "WORKLOAD", of: ({ namespace, pod }) => `${pod}.${namespace}` },
  { title: "DIRECTION", of: ({ direction }) => direction },
  { title: "LOCAL", of: ({ local }) => local },
  { title: "REMOTE", of: ({ remote }) => remote },
  { title: "REMOTE TARGET", of: ({ target }) => target },
  { title: "PROTOCOL", of: ({ protocol }) => protocol },
  { title: "NODE", of: ({ node }) => node, wide: true },
];

/** By its text: what makes a connection the same one in two answers. */
export function connectionKey(row: ConnectionRow): string {
  return [row.node, row.namespace, row.pod, row.direction, row.local, row.remote, row.target, row.protocol].join(" ");
}

export function connectionRows({ agents }: AgentAnswers<"workloadState">, names: AddressNames): ConnectionRow[] {
  const rows: ConnectionRow[] = [];
  for (const { agent, dump } of agents) {
    for (const { info, connections } of Object.values(dump.workloadState)) {
      if (info === undefined || connections === undefined) continue;
      const own = { node: agent.node, namespace: info.namespace, pod: info.name };
      for (const each of connections.inbound) rows.push({ ...own, ...inbound(each, names) });
      for (const each of connections.outbound) rows.push({ ...own, ...outbound(each, names) });
    }
  }
  return rows.sort((a, b) => connectionKey(a).localeCompare(connectionKey(b)));
}

function inbound({ src, originalDst, actualDst, protocol }: ConnectionJson, names: AddressNames) {
  const local = actualDst === "" ? originalDst : actualDst;
  return { direction: "Inbound", local: names.of(local), remote: names.of(src), target: "", protocol } as const;
}

function outbound({ src, originalDst, actualDst, protocol }: ConnectionJson, names: AddressNames) {
  const remote = actualDst === "" ? originalDst : actualDst;
  const target = originalDst === remote ? "" : names.of(originalDst);
  return { direction: "Outbound", local: names.of(src), remote: names.of(remote), target, protocol } as const;
}

/** Names of addresses: pods and services. */
export class AddressNames {
  readonly #names = new Map<string, string>();

  add({ agents }: AgentAnswers<"workloads" | "services">): void {
    for (const { dump } of agents) {
      for (const workload of dump.workloads) this.#addWorkload(workload);
      for (const service of dump.services) this.#addService(service);
    }
  }

  /** `name.namespace:port` for `ip:port`; what has no name stays an address. */
  of(address: string): string {
    const [, host = "", port = ""] = /^\[?(.+?)\]?:(\d+)$/.exec(address) ?? [];
    const name = this.#names.get(host);
    return name === undefined ? address : `${name}:${port}`;
  }

  #addWorkload({ workloadIps, name, namespace }: WorkloadJson): void {
    for (const ip of workloadIps) this.#names.set(ip, `${name}.${namespace}`);
  }

  #addService({ vips, name, namespace }: ServiceJson): void {
    for (const vip of vips) this.#names.set(vip.slice(vip.indexOf("/") + 1), `${name}.${namespace}.svc`);
  }
}
