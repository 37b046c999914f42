/** Services: virtual addresses, node ports, defaults and validation. */

import { isIpv4 } from "#lib/address.ts";
import { ApiError, type FieldErrors } from "../api/errors.ts";
import { isRecord, type Obj } from "../api/objects.ts";
import { type NetworkPlan, SERVICE_COUNT } from "../network/plan.ts";
import type { KindRules } from "./rules.ts";
import type { Service } from "./types.ts";

/** Numbers below this are set by hand (the API, DNS), those above are given out. */
const FIRST_DYNAMIC = 256;
const NODE_PORTS = { first: 30_000, last: 32_767 } as const;

export function serviceRules(plan: NetworkPlan, services: () => Iterable<Obj>): KindRules {
  return {
    defaults(object) {
      const { spec } = object as Service;
      if (!isRecord(spec)) return;
      spec.type ??= "ClusterIP";
      spec.sessionAffinity ??= "None";
      if (spec.type !== "ExternalName") spec.internalTrafficPolicy ??= "Cluster";
      for (const port of spec.ports ?? []) {
        port.protocol ??= "TCP";
        port.targetPort ??= port.port;
      }
    },
    admit(object) {
      allocate(object as Service, plan, services);
    },
    carry(object, old) {
      const [spec, before] = [(object as Service).spec, (old as Service).spec];
      if (spec.type === "ExternalName") return;
      if (before.clusterIP !== undefined && spec.clusterIP === undefined) spec.clusterIP = before.clusterIP;
      if (before.clusterIPs !== undefined) spec.clusterIPs ??= before.clusterIPs;
      if (before.ipFamilyPolicy !== undefined) spec.ipFamilyPolicy ??= before.ipFamilyPolicy;
      if (before.ipFamilies !== undefined) spec.ipFamilies ??= before.ipFamilies;
      for (const port of spec.ports ?? []) {
        const same = before.ports?.find((each) => each.port === port.port && each.protocol === port.protocol);
        if (same?.nodePort !== undefined && needsNodePorts(spec.type)) port.nodePort ??= same.nodePort;
      }
      allocate(object as Service, plan, services);
    },
    validate: validateService,
  };
}

function needsNodePorts(type: string | undefined): boolean {
  return type === "NodePort" || type === "LoadBalancer";
}

function allocate(service: Service, plan: NetworkPlan, services: () => Iterable<Obj>): void {
  const { spec } = service;
  if (!isRecord(spec) || spec.type === "ExternalName") return;
  if (needsNodePorts(spec.type)) allocateNodePorts(service, services);
  if (spec.ipFamilies === undefined) {
    const given = spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : []);
    const first = given[0] === undefined || given[0] === "None" || isIpv4(given[0]) ? "IPv4" : "IPv6";
    // Pods have both families, so a headless service with no wish has both, as Kubernetes does without a selector.
    const isDual = spec.ipFamilyPolicy?.endsWith("DualStack") || given.length > 1;
    const other = first === "IPv4" ? "IPv6" : "IPv4";
    spec.ipFamilies = isDual ? [first, other] : [first];
  } else if (spec.ipFamilyPolicy?.endsWith("DualStack") && spec.ipFamilies.length === 1) {
    spec.ipFamilies = [...spec.ipFamilies, spec.ipFamilies[0] === "IPv4" ? "IPv6" : "IPv4"];
  }
  spec.ipFamilyPolicy ??= spec.ipFamilies.length > 1 ? "RequireDualStack" : "SingleStack";
  if (spec.clusterIP === "None") {
    spec.clusterIPs = ["None"];
    return;
  }
  const have = (spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : [])).filter((ip) => ip !== "");
  if (have.length < spec.ipFamilies.length) {
    const free = freeNumber(plan, services);
    for (const family of spec.ipFamilies.slice(have.length)) {
      have.push(family === "IPv4" ? plan.service(free).v4 : plan.service(free).v6);
    }
  }
  spec.clusterIPs = have;
  spec.clusterIP = have[0] ?? "";
}

function freeNumber(plan: NetworkPlan, services: () => Iterable<Obj>): number {
  const used = new Set<string>();
  for (const each of services()) for (const ip of (each as Service).spec.clusterIPs ?? []) used.add(ip);
  for (let k = FIRST_DYNAMIC; k < SERVICE_COUNT; k++) {
    const pair = plan.service(k);
    if (!used.has(pair.v4) && !used.has(pair.v6)) return k;
  }
  throw new ApiError(500, "InternalError", "no service address is left");
}

function allocateNodePorts(service: Service, services: () => Iterable<Obj>): void {
  const used = new Set<number>();
  for (const each of services()) {
    for (const port of (each as Service).spec.ports ?? []) if (port.nodePort !== undefined) used.add(port.nodePort);
  }
  let next: number = NODE_PORTS.first;
  for (const port of service.spec.ports ?? []) {
    if (port.nodePort) continue;
    while (used.has(next)) next += 1;
    if (next > NODE_PORTS.last) throw new ApiError(500, "InternalError", "no node port is left");
    port.nodePort = next;
    used.add(next);
  }
}

function validateService(object: Obj, old: Obj | undefined, errors: FieldErrors): void {
  const { spec } = object as Service;
  if (!isRecord(spec)) {
    errors.required("spec");
    return;
  }
  const types = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
  if (!types.includes(spec.type ?? "")) errors.unsupported("spec.type", spec.type, types);
  if (spec.type === "ExternalName") {
    if (!spec.externalName) errors.required("spec.externalName");
    return;
  }
  const ports = spec.ports ?? [];
  if (ports.length === 0 && spec.clusterIP !== "None") errors.required("spec.ports");
  const names = new Set<string>();
  ports.forEach((port, i) => {
    const at = `spec.ports[${i}]`;
    if (!Number.isInteger(port.port) || port.port < 1 || port.port > 65_535) {
      errors.invalid(`${at}.port`, port.port, "must be between 1 and 65535, inclusive");
    }
    if (ports.length > 1 && !port.name) errors.required(`${at}.name`);
    if (port.name !== undefined && names.has(port.name)) errors.duplicate(`${at}.name`, port.name);
    names.add(port.name ?? "");
    if (!["TCP", "UDP", "SCTP"].includes(port.protocol ?? "")) {
      errors.unsupported(`${at}.protocol`, port.protocol, ["SCTP", "TCP", "UDP"]);
    }
  });
  const before = (old as Service | undefined)?.spec;
  if (before?.clusterIP && before.type !== "ExternalName" && before.clusterIP !== spec.clusterIP) {
    errors.invalid("spec.clusterIPs[0]", spec.clusterIP, "may not change once set");
  }
}
