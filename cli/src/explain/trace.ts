/**
 * The way that a connection would take, hop by hop, and what is asked on it: the table of ARCHITECTURE.md ("Life of a
 * connection"), carried out by the agent's own route compiler on what the control plane would tell it.
 */
import { joinHostPort, networkAddressKey } from "#lib/address.ts";
import type { Pod } from "#lib/kube/types.ts";
import { AppProtocol } from "#proto/workload_pb.ts";
import type { DirectEndpoint, Route, RouteEndpoint } from "../../../agent/src/native.ts";
import { type Compiled, compileRoute } from "../../../agent/src/route/compile.ts";
import { type Service, type Workload, workloadIdentity } from "../../../agent/src/state/model.ts";
import type { HttpRequest, HttpSubject } from "../../../control/src/l7/security/evaluate-policies.ts";
import type { Target } from "../../../control/src/l7/security/policy-target.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { gatewayTargets, serviceTargets } from "./in-force.ts";
import { checkAtAgent } from "./l4-check.ts";
import { checkAtWaypoint } from "./l7-check.ts";
import type { Destination, Source } from "./parties.ts";
import { type AgentView, addressesOf, keyOf, type MeshPicture } from "./picture.ts";

export const PATHS = {
  P0: "untouched",
  P1: "direct",
  P2: "tunnel",
  P3: "by way of a waypoint",
  P4: "plaintext out",
  P5: "plaintext in",
  P6: "probe",
  P7: "DNS",
} as const;
export type PathName = keyof typeof PATHS;

export type Protection = "mutual TLS" | "kernel" | "plaintext";

export interface Hop {
  readonly at: string;
  readonly what: string;
  readonly why: string;
}

/** One of the ways that there are: a service may have endpoints of several sorts. */
export interface Way {
  readonly path: PathName;
  /** The pod or address at its end. */
  readonly to: string;
  /** How its bytes are protected, on each part of it. */
  readonly protection: readonly Protection[];
  readonly hops: readonly Hop[];
  readonly checkpoints: readonly Checkpoint[];
  readonly outcome: "reached" | "denied" | "refused" | "depends";
}

export interface TraceInput {
  readonly picture: MeshPicture;
  readonly source: Source;
  readonly destination: Destination;
  /** Undefined: only the connection is asked about. */
  readonly request: HttpRequest | undefined;
}

const DNS_PORT = 53;

export function trace(input: TraceInput): Way[] {
  const { picture, source, destination } = input;
  if (source.kind === "kubelet") return [probe(input)];
  if (source.kind === "address") return [fromOutside(input, `address ${source.ip} belongs to no pod`, source.ip)];
  const { pod } = source;
  const enrolment = picture.enrolment(pod);
  const ip = source.ips[0] ?? "";
  if (enrolment.state === "outside")
    return [fromOutside(input, `pod ${keyOf(pod)} is outside the mesh: ${enrolment.why}`, ip)];
  if (enrolment.state === "waiting") {
    return [fromOutside(input, `pod ${keyOf(pod)} is meant to be in the mesh, but no agent has captured it yet`, ip)];
  }
  return new Tracer(input, pod, ip, destination).ways();
}

/** The kubelet of the pod's own node: known by its cgroup, asked by nobody. */
function probe({ picture, destination }: TraceInput): Way {
  const pod = [...picture.pods()].find((each) => addressesOf(each).includes(destination.ip));
  const to = pod === undefined ? addressText(destination) : `pod ${keyOf(pod)}`;
  const isCaptured = pod !== undefined && picture.enrolment(pod).state === "captured";
  const hops = [
    {
      at: `kubelet of ${pod?.spec?.nodeName ?? "the node"}`,
      what: `connects to ${addressText(destination)}`,
      why: "it probes the pods of its node",
    },
    isCaptured
      ? {
          at: `pod ${keyOf(pod)}`,
          what: "lets it pass to the application",
          why: "BPF knows the kubelet by its cgroup, also under STRICT and while no agent runs",
        }
      : { at: "network", what: "plaintext", why: `${destination.ip} is no captured pod` },
  ];
  const path = isCaptured ? "P6" : "P0";
  return { path, to, protection: ["plaintext"], hops, checkpoints: [], outcome: "reached" };
}

/** Nobody steers the source's connections. */
function fromOutside(input: TraceInput, why: string, sourceIp: string): Way {
  const { picture, destination } = input;
  const view = picture.agent("");
  const target = plainTarget(picture, view, destination);
  const start: Hop = { at: "source", what: `connects to ${addressText(destination)}`, why };
  if (target === undefined) {
    const hop = { at: "network", what: "plaintext", why: `${destination.ip} is no pod of the mesh` };
    return {
      path: "P0",
      to: addressText(destination),
      protection: ["plaintext"],
      hops: [start, hop],
      checkpoints: [],
      outcome: "reached",
    };
  }
  const { pod, workload, port } = target;
  const checkpoint = checkAtAgent(
    picture,
    view,
    workload,
    { sourceIp, destinationIp: workload.ips[0] ?? destination.ip, port },
    workload.node,
  );
  const open = checkpoint.policies.length === 0;
  const hop: Hop = {
    at: `node ${workload.node}`,
    what: open ? "passes to the application" : "is steered to the agent (15006), which asks the policies",
    why: open
      ? "no policy is in force for the pod: there is nothing to ask"
      : "plaintext from somebody without an identity",
  };
  return {
    path: "P5",
    to: `pod ${keyOf(pod)}`,
    protection: ["plaintext"],
    hops: [start, hop, verdictHop(checkpoint)],
    checkpoints: [checkpoint],
    outcome: outcomeOf(checkpoint),
  };
}

interface PlainTarget {
  readonly pod: Pod;
  readonly workload: Workload;
  readonly port: number;
}

/** The captured pod that plain TCP to an address ends at; kube-proxy chooses among those of a service. */
function plainTarget(
  picture: MeshPicture,
  view: AgentView,
  { ip, port, service }: Destination,
): PlainTarget | undefined {
  const named = service === undefined ? undefined : `${service.namespace}/${service.hostname}`;
  const key = named ?? view.state.services.byAddress(picture.snapshot.model.network, ip, "")?.key;
  for (const pod of picture.pods()) {
    if (picture.enrolment(pod).state !== "captured") continue;
    const workload = picture.workloadOf(pod, view);
    if (workload === undefined) continue;
    if (addressesOf(pod).includes(ip)) return { pod, workload, port };
    const mapped = workload.services.find((each) => each.service === key)?.ports.get(port);
    if (mapped !== undefined) return { pod, workload, port: mapped };
  }
  return undefined;
}

class Tracer {
  readonly #input: TraceInput;
  readonly #pod: Pod;
  readonly #ip: string;
  readonly #destination: Destination;
  readonly #view: AgentView;
  readonly #node: string;

  constructor(input: TraceInput, pod: Pod, ip: string, destination: Destination) {
    this.#input = input;
    this.#pod = pod;
    this.#ip = ip;
    this.#destination = destination;
    this.#node = pod.spec?.nodeName ?? "";
    this.#view = input.picture.agent(this.#node);
  }

  ways(): Way[] {
    const { picture } = this.#input;
    const destination = this.#destination;
    const workload = picture.workloadOf(this.#pod, this.#view);
    if (addressesOf(this.#pod).includes(destination.ip) || isLoopback(destination.ip)) {
      return [this.#untouched("a pod that talks to itself is not steered")];
    }
    if (destination.port === DNS_PORT) return [this.#dns()];
    if (workload === undefined) return [this.#refused("the control plane has not told its agent of the source yet")];
    const local = this.#view.pods.captured(workload);
    const compiled = compileRoute(
      workload,
      destination,
      this.#view.state,
      () => [],
      local === undefined ? undefined : { pod: local, pods: this.#view.pods },
    );
    const { route } = compiled;
    if (route === undefined || route.kind === "refuse") return [this.#refused(refusalText(route))];
    if (route.kind === "passthrough") return [this.#passthrough()];
    const waypoint = this.#waypoint(workload);
    if (waypoint !== undefined) return [this.#byWaypoint(workload, route, waypoint)];
    return this.#toEndpoints(workload, route, compiled);
  }

  #start(what: string, why: string): Hop {
    return { at: `pod ${keyOf(this.#pod)}`, what, why };
  }

  #untouched(why: string): Way {
    const hops = [this.#start(`connects to ${addressText(this.#destination)}`, why)];
    return {
      path: "P0",
      to: addressText(this.#destination),
      protection: ["plaintext"],
      hops,
      checkpoints: [],
      outcome: "reached",
    };
  }

  #dns(): Way {
    const hops = [
      this.#start(`asks ${addressText(this.#destination)}`, "port 53 of a captured pod goes to its agent (15053)"),
      {
        at: `agent of ${this.#node}`,
        what: "answers",
        why: "names of the mesh from its own state; others from the node's resolvers",
      },
    ];
    return {
      path: "P7",
      to: `agent of ${this.#node}`,
      protection: ["kernel"],
      hops,
      checkpoints: [],
      outcome: "reached",
    };
  }

  #refused(why: string): Way {
    const hops = [this.#captured(), { at: `agent of ${this.#node}`, what: "refuses", why }];
    return {
      path: "P2",
      to: addressText(this.#destination),
      protection: [],
      hops,
      checkpoints: [],
      outcome: "refused",
    };
  }

  #captured(): Hop {
    return this.#start(
      `connects to ${addressText(this.#destination)}`,
      "the pod is captured: BPF looks the route up, and asks the agent of the node where it has none",
    );
  }

  #passthrough(): Way {
    const why =
      "the mesh knows nothing of this address: the first connection goes through the agent, later ones past it";
    const hops = [this.#captured(), { at: `node ${this.#node}`, what: "lets it out as it is", why }];
    return {
      path: "P4",
      to: addressText(this.#destination),
      protection: ["plaintext"],
      hops,
      checkpoints: [],
      outcome: "reached",
    };
  }

  // ---- waypoints ------------------------------------------------------------------------------------------------

  /** Key of the Gateway; as the compiler decides: a workload's own address wins over a VIP. */
  #waypoint(source: Workload): Waypoint | undefined {
    const { ip } = this.#destination;
    const { state } = this.#view;
    const { model } = this.#input.picture.snapshot;
    const workload = state.workloads.byAddress(networkAddressKey(source.network, ip));
    const service = state.services.byAddress(source.network, ip, source.namespace);
    if (workload === undefined && service?.waypoint !== undefined) {
      const gateway = model.bound.gatewayOfService(service.key);
      return gateway === undefined ? undefined : { gateway, service };
    }
    if (service !== undefined || workload?.waypoint === undefined) return undefined;
    const gateway = [...model.gateways.keys()].find((key) => model.bound.workloads(key).has(workload.uid));
    return gateway === undefined ? undefined : { gateway, workload };
  }

  #byWaypoint(source: Workload, route: Extract<Route, { kind: "endpoints" }>, waypoint: Waypoint): Way {
    const { gateway, service, workload } = waypoint;
    const what = service === undefined ? `pod ${workload?.namespace}/${workload?.name}` : `service ${service.hostname}`;
    const identities = [...new Set(route.endpoints.flatMap(({ tunnel }) => tunnel?.identities ?? []))];
    const hops: Hop[] = [
      this.#captured(),
      {
        at: `agent of ${this.#node}`,
        what: `opens a tunnel (HBONE, 15008) to waypoint ${gateway}`,
        why: `${what} is bound to it; its certificate must say ${identities.join(" or ")}`,
      },
    ];
    const checkpoint = checkAtWaypoint(
      this.#input.picture,
      gateway,
      this.#targets(waypoint),
      this.#subject(source),
      this.#isHttp(waypoint),
    );
    hops.push(verdictHop(checkpoint));
    const common = { path: "P3", to: what } as const;
    if (checkpoint.verdict === "denied") {
      return { ...common, protection: ["mutual TLS"], hops, checkpoints: [checkpoint], outcome: "denied" };
    }
    return this.#behindWaypoint(hops, checkpoint, waypoint, route, common);
  }

  /** From the waypoint on, as itself. */
  #behindWaypoint(
    hops: readonly Hop[],
    checkpoint: Checkpoint,
    { gateway, service, workload }: Waypoint,
    route: Extract<Route, { kind: "endpoints" }>,
    common: { readonly path: "P3"; readonly to: string },
  ): Way {
    const { state } = this.#view;
    const port = this.#destination.port;
    const members =
      service === undefined ? (workload === undefined ? [] : [workload]) : [...state.workloads.members(service.key)];
    const healthy = members.filter((each) => each.healthy || service?.allowUnhealthy === true);
    const proxy = state.workloads.byKey(route.endpoints[0]?.key ?? 0);
    const identity = proxy === undefined ? "" : workloadIdentity(proxy);
    if (healthy.length === 0) {
      const hop = { at: `waypoint ${gateway}`, what: "answers 503", why: "there is no healthy endpoint" };
      return {
        ...common,
        protection: ["mutual TLS"],
        hops: [...hops, hop],
        checkpoints: [checkpoint],
        outcome: "refused",
      };
    }
    const checks = healthy.filter(isMeshed).map((each) => {
      const mapped =
        service === undefined
          ? port
          : (each.services.find((own) => own.service === service.key)?.ports.get(port) ??
            service.ports.get(port) ??
            port);
      const peer = {
        sourceIp: proxy?.ips[0] ?? this.#ip,
        destinationIp: each.ips[0] ?? "0.0.0.0",
        port: mapped,
        ...(identity === "" ? {} : { identity }),
      };
      return checkAtAgent(this.#input.picture, this.#view, each, peer, each.node);
    });
    const plain = healthy.length - checks.length;
    const names = healthy.map((each) => `${each.namespace}/${each.name}`).join(", ");
    const onwards: Hop[] = [
      {
        at: `waypoint ${gateway}`,
        what: `picks one of ${healthy.length} endpoint(s) and opens ${plain === healthy.length ? "plain TCP" : "a tunnel (HBONE)"} to it, as itself`,
        why: `${names}${plain > 0 && plain < healthy.length ? `; ${plain} of them outside the mesh, in plaintext` : ""}`,
      },
      ...distinct(checks.map(verdictHop)),
    ];
    const denied = checks.length > 0 && checks.every(({ verdict }) => verdict === "denied") && plain === 0;
    return {
      ...common,
      protection: ["mutual TLS", plain === healthy.length ? "plaintext" : "mutual TLS"],
      hops: [...hops, ...onwards],
      checkpoints: [checkpoint, ...checks],
      outcome: denied ? "denied" : outcomeOf(checkpoint),
    };
  }

  #targets({ gateway, service }: Waypoint): Target[] {
    const { snapshot } = this.#input.picture;
    const definition = service === undefined ? undefined : snapshot.model.definition(service.key);
    return definition === undefined
      ? gatewayTargets(snapshot, gateway)
      : serviceTargets(this.#input.picture, definition);
  }

  /** A port that says nothing is looked at by its first bytes. */
  #isHttp({ service }: Waypoint): boolean {
    const definition = service === undefined ? undefined : this.#input.picture.snapshot.model.definition(service.key);
    const port = definition?.ports.find(({ number }) => number === this.#destination.port);
    return port?.appProtocol !== AppProtocol.TCP && port?.appProtocol !== AppProtocol.TLS;
  }

  #subject(source: Workload): HttpSubject {
    const { ip, port } = this.#destination;
    const { request } = this.#input;
    return {
      identity: workloadIdentity(source),
      sourceIp: this.#ip,
      remoteIp: this.#ip,
      destinationIp: ip,
      port,
      sni: "",
      request,
      token: undefined,
    };
  }

  // ---- endpoints ------------------------------------------------------------------------------------------------

  #toEndpoints(source: Workload, route: Extract<Route, { kind: "endpoints" }>, { direct }: Compiled): Way[] {
    const kernel = new Map(direct.map((each) => [each.key, each]));
    return route.endpoints.map((endpoint) => this.#toEndpoint(source, endpoint, kernel.get(endpoint.key)));
  }

  #toEndpoint(source: Workload, endpoint: RouteEndpoint, kernel: DirectEndpoint | undefined): Way {
    const target = this.#view.state.workloads.byKey(endpoint.key);
    const name =
      target === undefined
        ? joinHostPort(endpoint.dial.ip, endpoint.dial.port)
        : `pod ${target.namespace}/${target.name}`;
    if (endpoint.tunnel === undefined || target === undefined) {
      const why = `${name} is outside the mesh`;
      const hop = {
        at: `node ${this.#node}`,
        what: `plain TCP to ${joinHostPort(endpoint.dial.ip, endpoint.dial.port)}`,
        why,
      };
      return {
        path: "P4",
        to: name,
        protection: ["plaintext"],
        hops: [this.#captured(), hop],
        checkpoints: [],
        outcome: "reached",
      };
    }
    const { authority } = endpoint.tunnel;
    const port = Number(authority.slice(authority.lastIndexOf(":") + 1));
    const peer = { identity: workloadIdentity(source), sourceIp: this.#ip, destinationIp: endpoint.dial.ip, port };
    const checkpoint = checkAtAgent(this.#input.picture, this.#view, target, peer, target.node);
    const isDirect = kernel?.path === "direct";
    const hop: Hop = isDirect
      ? {
          at: `node ${this.#node}`,
          what: `BPF connects the two pods directly, at ${joinHostPort(endpoint.dial.ip, port)}`,
          why: "both are captured on this node and no waypoint is between them (the first connection of a pair goes through the agent)",
        }
      : {
          at: `agent of ${this.#node}`,
          what: `opens a tunnel (HBONE) to ${joinHostPort(endpoint.dial.ip, endpoint.dial.port)}`,
          why:
            target.node === this.#node
              ? 'on this node, but not for BPF to connect: see "Left to the agent" in ARCHITECTURE.md'
              : `the endpoint is on node ${target.node}; its certificate must say ${endpoint.tunnel.identities.join(" or ")}`,
        };
    return {
      path: isDirect ? "P1" : "P2",
      to: name,
      protection: [isDirect ? "kernel" : "mutual TLS"],
      hops: [this.#captured(), hop, verdictHop(checkpoint)],
      checkpoints: [checkpoint],
      outcome: outcomeOf(checkpoint),
    };
  }
}

interface Waypoint {
  readonly gateway: string;
  /** One of both. */
  readonly service?: Service;
  readonly workload?: Workload;
}

function isMeshed({ protocol }: Workload): boolean {
  return protocol === "HBONE";
}

const VERDICTS = { allowed: "allows it", denied: "denies it", depends: "looks at each request" } as const;

function verdictHop({ at, verdict, why }: Checkpoint): Hop {
  return { at, what: VERDICTS[verdict], why };
}

function outcomeOf({ verdict }: Checkpoint): Way["outcome"] {
  return verdict === "allowed" ? "reached" : verdict;
}

function distinct(hops: readonly Hop[]): Hop[] {
  return [...new Map(hops.map((hop) => [JSON.stringify(hop), hop])).values()];
}

function refusalText(route: Route | undefined): string {
  if (route === undefined) return "the host name of the endpoint is looked up first";
  if (route.kind === "refuse" && route.reason === "no_waypoint")
    return "no_waypoint: it is bound to a waypoint of which no pod is ready";
  return "no_healthy_upstream: no endpoint is ready that could be reached";
}

function addressText({ ip, port }: Destination): string {
  return joinHostPort(ip, port);
}

function isLoopback(ip: string): boolean {
  return ip === "::1" || ip.startsWith("127.");
}
