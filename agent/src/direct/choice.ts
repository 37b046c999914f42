/**
 * Which endpoints of a route BPF may choose from by itself, and how each is then reached. Pure.
 *
 * The set of endpoints and their weights are the route's, so that the balance is the same whoever draws. What BPF
 * cannot carry out, it leaves to the agent with the choice kept (`agent`). A route of which no endpoint is BPF's to
 * carry out is none: there is nothing to gain.
 */
import { isIpv4 } from "#lib/address.ts";
import { firstAddress, type LocalPod, type LocalPodView, localKey, podAddressKey } from "../enroll/local-pods.ts";
import type { DirectEndpoint, SocketAddress } from "../native.ts";
import { type Workload, workloadIdentity } from "../state/model.ts";

/** Ports of the agent in every pod: connections to them are its own business. */
const RESERVED_PORTS: ReadonlySet<number> = new Set([15001, 15006, 15008, 15053]);

/**
 * Endpoints of one set. Each pod has a set for each service port that it talks to, and all share the kernel's 262,144
 * slots; a service this large spreads its load well enough through the agent.
 */
export const MAX_CHOICES = 1024;

/** One endpoint of a route, as the compiler has found it. */
export interface Candidate {
  readonly workload: Workload;
  readonly weight: number;
  /** Where the application listens. */
  readonly address: SocketAddress;
  /** Reached over HBONE. */
  readonly tunnelled: boolean;
}

/** What a route says apart from its form for the engine. */
export type Offer =
  /** The destination itself, of which the mesh knows nothing or which it leaves alone. */
  | { readonly kind: "passthrough" }
  | { readonly kind: "endpoints"; readonly candidates: readonly Candidate[] }
  /** Waypoints, refusals, and whatever else the agent must see. */
  | { readonly kind: "none" };

export interface ChoiceInput {
  /** The captured pod that asks. */
  readonly source: LocalPod;
  readonly sourceWorkload: Workload;
  readonly destination: SocketAddress;
  readonly offer: Offer;
  readonly pods: LocalPodView;
  /** The workload of this node of that name; tells whether a workload is one of this node. */
  readonly localWorkload: (namespace: string, name: string) => Workload | undefined;
  /** Gets keys of pods that would change the answer by coming or going. */
  readonly dependencies: Set<string>;
}

/** Empty: BPF asks the agent. */
export function chooseDirect(input: ChoiceInput): readonly DirectEndpoint[] {
  const { destination, offer } = input;
  if (offer.kind === "none" || RESERVED_PORTS.has(destination.port)) return [];
  if (offer.kind === "passthrough") return passthrough(input);
  const { candidates } = offer;
  if (candidates.length > MAX_CHOICES) return [];
  if (candidates.some(({ address }) => RESERVED_PORTS.has(address.port))) return [];
  const endpoints = candidates.map((candidate) => classify(input, candidate));
  return endpoints.some(({ path }) => path !== "agent") ? endpoints : [];
}

/** A pod of this node that the mesh has not told us of yet must not be taken for somebody outside. */
function passthrough({ source, destination, pods, dependencies }: ChoiceInput): readonly DirectEndpoint[] {
  dependencies.add(podAddressKey(destination.ip));
  if (pods.owns(destination.ip) || firstAddress(source, familyOf(destination)) === undefined) return [];
  return [{ key: 0, weight: 1, address: destination, path: "plain" }];
}

function classify(input: ChoiceInput, candidate: Candidate): DirectEndpoint {
  const { workload, weight, address } = candidate;
  const common = { key: workload.key, weight, address };
  if (candidate.tunnelled) {
    const pod = localPeer(input, candidate);
    return pod === undefined ? { ...common, path: "agent" } : { ...common, path: "direct", pod: pod.cookie };
  }
  return { ...common, path: isPlain(input, candidate) ? "plain" : "agent" };
}

/** The pod of this node behind an endpoint, when nothing but the policies stands between the two. */
function localPeer(input: ChoiceInput, { workload, address }: Candidate): LocalPod | undefined {
  const { source, sourceWorkload, destination, pods, localWorkload, dependencies } = input;
  if (localWorkload(workload.namespace, workload.name) !== workload) return undefined;
  dependencies.add(localKey(workload));
  const pod = pods.captured(workload);
  if (pod === undefined) return undefined;
  // Its own waypoint or an application that expects to be tunnelled to.
  if (workload.waypoint !== undefined || (workload.applicationTunnel?.port ?? 0) !== 0) return undefined;
  // A tunnel between two trust domains would not be opened either.
  if (workload.trustDomain !== sourceWorkload.trustDomain || workloadIdentity(workload) !== pod.identity) {
    return undefined;
  }
  // A socket cannot change its family, and verdicts are about the first address of each family.
  const family = familyOf(destination);
  if (familyOf(address) !== family || firstAddress(source, family) === undefined) return undefined;
  return firstAddress(pod, family) === address.ip ? pod : undefined;
}

/** A name's addresses are good for a time only that BPF does not know; the agent looks again. */
function isPlain({ source, destination, pods, dependencies }: ChoiceInput, { workload, address }: Candidate): boolean {
  dependencies.add(podAddressKey(address.ip));
  if (pods.owns(address.ip) || !workload.ips.includes(address.ip) || workload.waypoint !== undefined) return false;
  const family = familyOf(destination);
  return familyOf(address) === family && firstAddress(source, family) !== undefined;
}

export function familyOf(address: SocketAddress): 4 | 6 {
  return isIpv4(address.ip) ? 4 : 6;
}
