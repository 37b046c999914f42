/** What a waypoint's Gateway says of itself, from what it asks for and what has come of it. */
import type { Condition, GatewayObject, ListenerStatus } from "#lib/kube/types.ts";
import { L7_TYPE_PREFIX } from "#lib/xds/types.ts";
import { type GatewayFacts, type GatewayListener, gatewayProblem, listenerProblem } from "../model/gateway.ts";
import type { WantedCondition } from "../status/status-writer.ts";
import { PROGRAM_ACCEPTED } from "./program-accepted.ts";
import type { ProgramState } from "./program-answers.ts";

/** What has come of a Gateway. */
export interface Deployed {
  /** Of its Service: host name first, then IPs. */
  readonly addresses: readonly { readonly type: "Hostname" | "IPAddress"; readonly value: string }[];
  readonly readyPods: number;
  /** Why its objects could not be made. */
  readonly failure?: string;
  /** Routes that are accepted for a listener. */
  readonly attachedRoutes: (listener: string) => number;
  readonly program: ProgramState;
  /** `ResolvedRefs`. */
  readonly references: WantedCondition;
}

type GatewayStatus = NonNullable<GatewayObject["status"]>;

/** Longer messages are of no use to a reader. */
const MAX_MESSAGE = 1_000;
const GROUP = "gateway.networking.k8s.io";
const ROUTE_KINDS = ["GRPCRoute", "HTTPRoute", "TCPRoute", "TLSRoute"];

/** `before` is what the object says now: conditions of others and times of unchanged ones stay. */
export function gatewayStatus(
  gateway: GatewayFacts,
  deployed: Deployed,
  before: GatewayStatus | undefined,
  now: string,
): GatewayStatus {
  const problem = gatewayProblem(gateway);
  const merge = (old: readonly Condition[] | undefined, wanted: readonly WantedCondition[]) =>
    mergedConditions(old, wanted, gateway.generation, now);
  const listeners = gateway.listeners.map((listener): ListenerStatus => {
    const old = listOf<ListenerStatus>(before?.listeners).find(({ name }) => name === listener.name);
    const { kinds, conditions } = listenerConditions(listener, problem === undefined, deployed.readyPods > 0);
    return {
      name: listener.name,
      supportedKinds: kinds.map((kind) => ({ group: GROUP, kind })),
      attachedRoutes: deployed.attachedRoutes(listener.name),
      conditions: merge(old?.conditions, conditions),
    };
  });
  // Once a client may have been told an address it stays, whatever becomes of the pods.
  const had = listOf<{ readonly type?: string; readonly value?: string }>(before?.addresses);
  const addresses = problem === undefined && (deployed.readyPods > 0 || had.length > 0) ? deployed.addresses : [];
  return {
    addresses: addresses.length > 0 || problem !== undefined ? addresses : had,
    listeners,
    conditions: merge(before?.conditions, [
      accepted(gateway, problem),
      programmed(deployed, problem !== undefined),
      deployed.references,
      programAccepted(deployed.program),
    ]),
  };
}

function accepted(gateway: GatewayFacts, problem: ReturnType<typeof gatewayProblem>): WantedCondition {
  if (problem !== undefined) return { type: "Accepted", status: "False", ...problem };
  const wrong = gateway.listeners.filter((listener) => listenerProblem(listener) !== undefined);
  if (wrong.length === 0) {
    return { type: "Accepted", status: "True", reason: "Accepted", message: "it is a waypoint of this mesh" };
  }
  const message = `not served: listeners ${wrong.map(({ name }) => name).join(", ")}`;
  return { type: "Accepted", status: "True", reason: "ListenersNotValid", message };
}

function programmed({ readyPods, failure }: Deployed, invalid: boolean): WantedCondition {
  const type = "Programmed";
  if (invalid) return { type, status: "False", reason: "Invalid", message: "it is not accepted" };
  if (failure !== undefined) return { type, status: "False", reason: "NoResources", message: failure };
  if (readyPods === 0) {
    return { type, status: "False", reason: "Pending", message: "no pod of the waypoint is ready" };
  }
  return { type, status: "True", reason: "Programmed", message: "the waypoint takes traffic" };
}

/** Whether the pods run all of the program that was compiled for them. */
function programAccepted({ pods, refusals }: ProgramState): WantedCondition {
  const type = PROGRAM_ACCEPTED;
  if (pods === 0) return { type, status: "Unknown", reason: "Pending", message: "no pod has asked for its program" };
  if (refusals.length === 0) {
    return { type, status: "True", reason: "Accepted", message: "its pods run all of their program" };
  }
  const told = refusals.map(
    ({ client, type: url, name, reason }) => `${client} refused ${url.slice(L7_TYPE_PREFIX.length)} ${name}: ${reason}`,
  );
  const message = `${told.join("; ")}; what was in force under these names stays`;
  return { type, status: "False", reason: "ResourcesRefused", message: message.slice(0, MAX_MESSAGE) };
}

function listenerConditions(
  listener: GatewayListener,
  accepted: boolean,
  ready: boolean,
): { kinds: readonly string[]; conditions: readonly WantedCondition[] } {
  const problem = listenerProblem(listener);
  const isKnown = ({ group, kind }: { group: string; kind: string }) => group === GROUP && ROUTE_KINDS.includes(kind);
  const wrong = listener.kinds.filter((kind) => !isKnown(kind));
  const named = listener.kinds.filter(isKnown).map(({ kind }) => kind);
  const kinds = problem !== undefined ? [] : listener.kinds.length === 0 ? ROUTE_KINDS : named;
  const conditions: WantedCondition[] = [
    problem === undefined
      ? { type: "Accepted", status: "True", reason: "Accepted", message: "it is served" }
      : { type: "Accepted", status: "False", ...problem },
    wrong.length === 0
      ? { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "all kinds of routes are known" }
      : {
          type: "ResolvedRefs",
          status: "False",
          reason: "InvalidRouteKinds",
          message: `unknown kinds: ${wrong.map(({ group, kind }) => `${group}/${kind}`).join(", ")}`,
        },
    { type: "Conflicted", status: "False", reason: "NoConflicts", message: "no other listener is in its way" },
  ];
  if (problem !== undefined || !accepted) {
    conditions.push({ type: "Programmed", status: "False", reason: "Invalid", message: "it is not accepted" });
  } else if (ready) {
    conditions.push({ type: "Programmed", status: "True", reason: "Programmed", message: "it takes traffic" });
  } else {
    conditions.push({ type: "Programmed", status: "False", reason: "Pending", message: "no pod is ready" });
  }
  return { kinds, conditions };
}

/** Those of others first, as they are; ours with the generation that they speak of. */
export function mergedConditions(
  before: readonly Condition[] | undefined,
  wanted: readonly WantedCondition[],
  generation: number,
  now: string,
): Condition[] {
  const old = listOf<Condition>(before);
  const others = old.filter(({ type }) => !wanted.some((condition) => condition.type === type));
  const ours = wanted.map((condition): Condition => {
    const same = old.find(({ type, status }) => type === condition.type && status === condition.status);
    return { ...condition, observedGeneration: generation, lastTransitionTime: same?.lastTransitionTime ?? now };
  });
  return [...others, ...ours];
}

/** The schema of a status may be open: anybody may have written anything. */
function listOf<T extends object>(value: unknown): T[] {
  return Array.isArray(value) ? value.filter((each): each is T => typeof each === "object" && each !== null) : [];
}
