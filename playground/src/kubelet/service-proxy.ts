/** Virtual addresses of services on one node: DNAT rules in the node's own network namespace, exchanged as a whole. */
import { isIpv4, joinHostPort } from "#lib/address.ts";
import { SERVICE_NAME_LABEL } from "../controllers/endpointslice.ts";
import type { EndpointSlice, Service, ServicePort } from "../kinds/types.ts";
import type { NetworkPlan } from "../network/plan.ts";
import { run } from "../system/command.ts";

const TABLE = "weft-playground";
/** Changes within this time are one exchange. */
const SETTLE_MS = 10;

export class ServiceProxy {
  readonly #plan: NetworkPlan;
  readonly #node: string;
  readonly #report: (message: string) => void;
  readonly services = new Map<string, Service>();
  readonly slices = new Map<string, EndpointSlice>();
  #timer: NodeJS.Timeout | undefined;
  #applied = "";
  #isApplying = false;

  constructor(plan: NetworkPlan, node: string, report: (message: string) => void) {
    this.#plan = plan;
    this.#node = node;
    this.#report = report;
  }

  changed(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.apply();
    }, SETTLE_MS);
  }

  async apply(): Promise<void> {
    if (this.#isApplying) return this.changed();
    const rules = serviceRules(this.#plan, this.#node, [...this.services.values()], [...this.slices.values()]);
    if (rules === this.#applied) return;
    this.#isApplying = true;
    try {
      await run("nft", ["-f", "-"], rules);
      this.#applied = rules;
    } catch (error) {
      this.#report(
        `service addresses on ${this.#node} were not updated: ${error instanceof Error ? error.message : error}`,
      );
    } finally {
      this.#isApplying = false;
    }
  }
}

interface Target {
  ip: string;
  port: number;
}

/** The whole table as nft text. Pure, for its test. */
export function serviceRules(
  plan: NetworkPlan,
  node: string,
  services: readonly Service[],
  slices: readonly EndpointSlice[],
): string {
  const byService = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const key = `${slice.metadata.namespace}/${slice.metadata.labels?.[SERVICE_NAME_LABEL]}`;
    byService.set(key, [...(byService.get(key) ?? []), slice]);
  }
  const chains: string[] = [];
  const dispatch: Record<"v4" | "v6" | "nodePort", string[]> = { v4: [], v6: [], nodePort: [] };
  const locals = { v4: new Set<string>(), v6: new Set<string>() };
  const ordered = [...services].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
  for (const service of ordered) {
    const own = byService.get(idOf(service)) ?? [];
    for (const port of service.spec.ports ?? []) {
      const protocol = (port.protocol ?? "TCP").toLowerCase();
      if (protocol !== "tcp" && protocol !== "udp") continue;
      for (const vip of service.spec.clusterIPs ?? []) {
        if (vip === "None") continue;
        const targets = targetsOf(service, port, own, isIpv4(vip), node);
        if (targets.length === 0) continue;
        const chain = `svc-${chains.length}`;
        chains.push(chainText(chain, service, protocol, targets));
        const family = isIpv4(vip) ? "v4" : "v6";
        for (const target of targets) locals[family].add(target.ip);
        dispatch[family].push(`${protocol} . ${vip} . ${port.port} : goto ${chain}`);
        if (port.nodePort !== undefined && family === "v4") {
          dispatch.nodePort.push(`${protocol} . ${port.nodePort} : goto ${chain}`);
        }
      }
    }
  }
  return [
    `add table inet ${TABLE}`,
    `delete table inet ${TABLE}`,
    `table inet ${TABLE} {`,
    map("services4", "inet_proto . ipv4_addr . inet_service", dispatch.v4),
    map("services6", "inet_proto . ipv6_addr . inet_service", dispatch.v6),
    map("nodeports", "inet_proto . inet_service", dispatch.nodePort),
    ...chains,
    "  chain services {",
    "    meta l4proto . ip daddr . th dport vmap @services4",
    "    meta l4proto . ip6 daddr . th dport vmap @services6",
    "    fib daddr type local meta l4proto . th dport vmap @nodeports",
    "  }",
    "  chain prerouting {",
    "    type nat hook prerouting priority dstnat; policy accept;",
    "    jump services",
    "  }",
    "  chain output {",
    "    type nat hook output priority -100; policy accept;",
    "    jump services",
    "  }",
    "  chain postrouting {",
    "    type nat hook postrouting priority srcnat; policy accept;",
    // A pod that reaches itself through a service must see another source, or its answer would not pass here.
    ...hairpin("ip", locals.v4),
    ...hairpin("ip6", locals.v6),
    "  }",
    // An address of the service range that nobody answers for is refused at once.
    ...["forward", "outgoing"].flatMap((name) => [
      `  chain ${name} {`,
      `    type filter hook ${name === "outgoing" ? "output" : "forward"} priority 0; policy accept;`,
      `    ip daddr ${plan.serviceRange.v4} meta l4proto tcp reject with tcp reset`,
      `    ip daddr ${plan.serviceRange.v4} reject`,
      `    ip6 daddr ${plan.serviceRange.v6} meta l4proto tcp reject with tcp reset`,
      `    ip6 daddr ${plan.serviceRange.v6} reject`,
      "  }",
    ]),
    "}",
    "",
  ].join("\n");
}

function idOf(service: Service): string {
  return `${service.metadata.namespace}/${service.metadata.name}`;
}

function map(name: string, type: string, elements: readonly string[]): string {
  const content = elements.length === 0 ? "" : `\n    elements = { ${elements.join(", ")} }`;
  return `  map ${name} {\n    type ${type} : verdict${content}\n  }`;
}

function hairpin(family: string, ips: ReadonlySet<string>): string[] {
  if (ips.size === 0) return [];
  const pairs = [...ips].sort().map((ip) => `${ip} . ${ip}`);
  return [`    ct status dnat ${family} saddr . ${family} daddr { ${pairs.join(", ")} } masquerade`];
}

function chainText(name: string, service: Service, protocol: string, targets: readonly Target[]): string {
  const family = isIpv4(targets[0]?.ip ?? "") ? "ip" : "ip6";
  const [only] = targets;
  const choice =
    service.spec.sessionAffinity === "ClientIP"
      ? `jhash ${family} saddr mod ${targets.length}`
      : `numgen random mod ${targets.length}`;
  const to =
    targets.length === 1 && only !== undefined
      ? joinHostPort(only.ip, only.port)
      : `${choice} map { ${targets.map((each, i) => `${i} : ${each.ip} . ${each.port}`).join(", ")} }`;
  return `  chain ${name} {\n    meta l4proto ${protocol} dnat ${family} to ${to}\n  }`;
}

/** Endpoints that may be chosen: the ready ones, or those that still serve while they end when there are no others. */
function targetsOf(
  service: Service,
  port: ServicePort,
  slices: readonly EndpointSlice[],
  isV4: boolean,
  node: string,
): Target[] {
  const isLocalOnly = service.spec.internalTrafficPolicy === "Local";
  const candidates = slices
    .filter((slice) => (slice.addressType === "IPv4") === isV4)
    .flatMap((slice) => {
      const number = slice.ports?.find((each) => (each.name ?? "") === (port.name ?? ""))?.port;
      if (number === undefined) return [];
      return (slice.endpoints ?? [])
        .filter((endpoint) => !isLocalOnly || endpoint.nodeName === node)
        .map((endpoint) => ({ endpoint, number }));
    });
  const ready = candidates.filter(({ endpoint }) => endpoint.conditions.ready !== false);
  const ending = candidates.filter(({ endpoint }) => endpoint.conditions.serving && endpoint.conditions.terminating);
  return (ready.length > 0 ? ready : ending).flatMap(({ endpoint, number }) =>
    endpoint.addresses.slice(0, 1).map((ip) => ({ ip, port: number })),
  );
}
