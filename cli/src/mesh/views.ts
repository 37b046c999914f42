/** What of agents is shown as tables: columns, and how the answers of several agents become one. */
import { isIP } from "node:net";
import type { Column } from "../output/table.ts";
import type { AgentAnswers, AgentPart, CertificateJson, PolicyJson, ServiceJson, WorkloadJson } from "./agent-dump.ts";

/** One kind of objects that agents hold. */
export interface View<T> {
  readonly part: AgentPart;
  readonly columns: readonly Column<T>[];
  /** Rows of all agents together. */
  readonly rows: (answers: AgentAnswers<AgentPart>) => readonly T[];
  readonly namespaceOf: (row: T) => string | undefined;
  /** What a table without rows says. */
  readonly nothing: string;
}

export const WORKLOADS: View<WorkloadJson> = {
  part: "workloads",
  columns: [
    { title: "NAMESPACE", of: ({ namespace }) => namespace },
    { title: "POD NAME", of: ({ name }) => name },
    { title: "ADDRESS", of: ({ workloadIps }) => workloadIps.join(",") },
    { title: "NODE", of: ({ node }) => node },
    { title: "WAYPOINT", of: ({ waypoint }) => waypointName(waypoint?.destination) },
    { title: "PROTOCOL", of: ({ protocol }) => protocol },
    { title: "STATUS", of: ({ status }) => status, wide: true },
    { title: "SERVICE ACCOUNT", of: ({ serviceAccount }) => serviceAccount, wide: true },
    { title: "WORKLOAD", of: ({ workloadType, workloadName }) => `${workloadType}/${workloadName}`, wide: true },
    { title: "SERVICES", of: ({ services = [] }) => services.length, wide: true },
    { title: "POLICIES", of: ({ authorizationPolicies = [] }) => authorizationPolicies.join(","), wide: true },
  ],
  rows: ({ agents }) =>
    merged(
      agents.flatMap(({ dump }) => dump.workloads),
      ({ uid }) => uid,
      byNamespaceAndName,
    ),
  namespaceOf: ({ namespace }) => namespace,
  nothing: "no workloads are known",
};

export const SERVICES: View<ServiceJson> = {
  part: "services",
  columns: [
    { title: "NAMESPACE", of: ({ namespace }) => namespace },
    { title: "SERVICE NAME", of: ({ name }) => name },
    { title: "SERVICE VIP", of: ({ vips }) => vips.map(afterSlash).join(",") },
    { title: "WAYPOINT", of: ({ waypoint }) => waypointName(waypoint?.destination) },
    { title: "ENDPOINTS", of: endpointsText },
    { title: "HOSTNAME", of: ({ hostname }) => hostname, wide: true },
    {
      title: "PORTS",
      of: ({ ports }) =>
        Object.entries(ports)
          .map((pair) => pair.join(":"))
          .join(","),
      wide: true,
    },
  ],
  rows: ({ agents }) =>
    merged(
      agents.flatMap(({ dump }) => dump.services),
      ({ namespace, hostname }) => `${namespace}/${hostname}`,
      byNamespaceAndName,
    ),
  namespaceOf: ({ namespace }) => namespace,
  nothing: "no services are known",
};

export const POLICIES: View<PolicyJson> = {
  part: "policies",
  columns: [
    { title: "NAMESPACE", of: ({ namespace }) => namespace },
    { title: "POLICY NAME", of: ({ name }) => name },
    { title: "ACTION", of: ({ action, dryRun }) => (dryRun === true ? `${action} (dry run)` : action) },
    { title: "SCOPE", of: ({ scope }) => scope },
    { title: "RULES", of: ({ rules }) => rules.length, wide: true },
  ],
  rows: ({ agents }) =>
    merged(
      agents.flatMap(({ dump }) => dump.policies),
      ({ namespace, name }) => `${namespace}/${name}`,
      byNamespaceAndName,
    ),
  namespaceOf: ({ namespace }) => namespace,
  nothing: "no policies are in force",
};

export interface CertificateRow {
  readonly node: string;
  readonly identity: string;
  readonly type: "Leaf" | "Intermediate" | "Root";
  readonly state: string;
  readonly valid: boolean;
  readonly serialNumber: string;
  readonly notAfter: string;
  readonly notBefore: string;
}

export const CERTIFICATES: View<CertificateRow> = {
  part: "certificates",
  columns: [
    { title: "CERTIFICATE NAME", of: ({ identity }) => identity },
    { title: "TYPE", of: ({ type }) => type },
    { title: "STATUS", of: ({ state }) => state },
    { title: "VALID CERT", of: ({ valid }) => String(valid) },
    { title: "SERIAL NUMBER", of: ({ serialNumber }) => serialNumber },
    { title: "NOT AFTER", of: ({ notAfter }) => notAfter },
    { title: "NOT BEFORE", of: ({ notBefore }) => notBefore },
    { title: "NODE", of: ({ node }) => node },
  ],
  rows: ({ agents }) =>
    agents.flatMap(({ agent, dump }) => dump.certificates.flatMap((each) => certificateRows(each, agent.node))),
  namespaceOf: ({ identity }) => /\/ns\/([^/]+)\//.exec(identity)?.[1],
  nothing: "no certificates are held: no pod of these nodes is in the mesh",
};

/** Leaf, what is between, and roots of one identity. An identity that waits for its certificate is a row, too. */
export function certificateRows(
  { identity, state, certChain, rootCerts }: CertificateJson,
  node: string,
  now = Date.now(),
): CertificateRow[] {
  const row = (
    type: CertificateRow["type"],
    pem: CertificateJson["certChain"][number] | undefined,
  ): CertificateRow => ({
    node,
    identity,
    type,
    state,
    valid: pem !== undefined && Date.parse(pem.validFrom) <= now && now < Date.parse(pem.expirationTime),
    serialNumber: pem?.serialNumber ?? "",
    notAfter: pem?.expirationTime ?? "",
    notBefore: pem?.validFrom ?? "",
  });
  const [leaf, ...between] = certChain;
  return [
    row("Leaf", leaf),
    ...between.map((pem) => row("Intermediate", pem)),
    ...rootCerts.map((pem) => row("Root", pem)),
  ];
}

/** One row per key: agents know the same. */
function merged<T>(rows: readonly T[], keyOf: (row: T) => string, order: (a: T, b: T) => number): readonly T[] {
  return [...new Map(rows.map((row) => [keyOf(row), row])).values()].sort(order);
}

interface Named {
  readonly namespace: string;
  readonly name: string;
}

function byNamespaceAndName(a: Named, b: Named): number {
  return a.namespace.localeCompare(b.namespace) || a.name.localeCompare(b.name);
}

function endpointsText({ endpoints }: ServiceJson): string {
  const all = Object.values(endpoints);
  return `${all.filter(({ status }) => status === "Healthy").length}/${all.length}`;
}

/** `namespace/host` or `network/ip` as the name that people gave it. */
function waypointName(destination: string | undefined): string {
  if (destination === undefined) return "None";
  const name = afterSlash(destination);
  return isIP(name) === 0 ? (name.split(".")[0] ?? name) : name;
}

function afterSlash(text: string): string {
  return text.slice(text.indexOf("/") + 1);
}
