/** A waypoint's program as the control plane sends it (`/debug/program`), as far as it is shown. */

import { AdminPort } from "../cluster/admin-port.ts";
import { askAll } from "../cluster/ask.ts";
import { controlPods, type MeshPod, waypointPods } from "../cluster/mesh-pods.ts";
import type { Context } from "../frame/context.ts";
import { Failure } from "../frame/errors.ts";
import type { CertificateJson } from "./agent-dump.ts";
import { isMeant } from "./parts.ts";

export const WAYPOINT_ARGUMENT = {
  name: "WAYPOINT",
  optional: true,
  about: "NAME, POD or deploy/NAME, with .NAMESPACE if needed (default: the namespace's only one)",
};

export type StringMatchJson = Readonly<Record<string, string | boolean>>;

export interface HttpMatchJson {
  readonly path?: Readonly<Record<string, string | boolean>>;
  readonly method?: StringMatchJson;
  readonly authority?: StringMatchJson;
  readonly headers?: readonly { readonly name: string; readonly value?: StringMatchJson; readonly invert?: boolean }[];
  readonly query?: readonly { readonly name: string; readonly value?: StringMatchJson }[];
  readonly sourceNamespace?: string;
}

export interface RouteJson {
  readonly name?: string;
  readonly match?: HttpMatchJson;
  readonly forward?: { readonly clusters?: readonly { readonly cluster?: string; readonly weight?: number }[] };
  readonly redirect?: object;
  readonly direct?: { readonly status?: number };
  readonly origin?: string;
}

export interface ChainJson {
  readonly protocol?: string;
  readonly http?: {
    readonly hosts?: readonly {
      readonly name?: string;
      readonly domains?: readonly string[];
      readonly routes?: readonly RouteJson[];
      /** Tried before `routes`. */
      readonly routeGroups?: readonly string[];
    }[];
  };
  readonly policies?: readonly string[];
  readonly jwt?: readonly string[];
}

export interface DestinationJson {
  readonly name?: string;
  readonly namespace?: string;
  readonly hostname?: string;
  readonly addresses?: readonly string[];
  readonly ports?: readonly { readonly port?: number; readonly chain?: ChainJson }[];
}

export interface ListenerJson {
  readonly name?: string;
  readonly address?: string;
  readonly port?: number;
  readonly chain?: ChainJson;
}

export interface ClusterJson {
  readonly name?: string;
  readonly serviceNamespace?: string;
  readonly serviceHostname?: string;
  readonly port?: number;
  readonly subset?: string;
  readonly discovery?: string;
  readonly connectTimeoutMs?: string;
  readonly loadBalancer?: { readonly algorithm?: string };
  readonly tls?: { readonly mode?: string };
}

export interface EndpointsJson {
  readonly cluster?: string;
  readonly endpoints?: readonly {
    readonly ip?: string;
    readonly hostname?: string;
    readonly port?: number;
    readonly weight?: number;
    readonly region?: string;
    readonly zone?: string;
    readonly tunnel?: boolean;
    readonly workload?: { readonly name?: string; readonly namespace?: string };
  }[];
}

interface ResourceOf<T> {
  readonly name: string;
  readonly version: string;
  readonly resource: T;
}

export interface ProgramJson {
  readonly Destination?: readonly ResourceOf<DestinationJson>[];
  readonly Listener?: readonly ResourceOf<ListenerJson>[];
  readonly Cluster?: readonly ResourceOf<ClusterJson>[];
  readonly Endpoints?: readonly ResourceOf<EndpointsJson>[];
  readonly RouteGroup?: readonly ResourceOf<{ readonly routes?: readonly RouteJson[] }>[];
}

/** `/config_dump` of a waypoint. */
export interface WaypointDump {
  readonly program: { readonly refused: Readonly<Record<string, string>> };
  readonly certificates: readonly CertificateJson[];
  readonly config: object;
  readonly version: object;
}

/** The one waypoint that is meant. Throws Failure when there is none, or more than one that could be. */
export async function chosenWaypoint(context: Context, text: string | undefined): Promise<MeshPod> {
  const namespace = text?.includes(".") === true ? undefined : context.namespace();
  const found = await waypointPods(context, namespace);
  const chosen = text === undefined ? found : found.filter((pod) => isMeant(pod, text));
  const gateways = new Set(chosen.map((pod) => `${pod.gateway}.${pod.namespace}`));
  // Pods of one waypoint run the same; a ready one answers.
  const one = chosen.find((pod) => pod.isReady) ?? chosen[0];
  if (one !== undefined && gateways.size === 1) return one;
  const where = namespace === undefined ? "" : ` in namespace ${namespace}`;
  if (gateways.size > 1)
    throw new Failure(`there are several waypoints${where}: ${[...gateways].join(", ")}`, "name one");
  const what = text === undefined ? "no waypoint" : `no waypoint "${text}"`;
  throw new Failure(`there is ${what}${where}`, "weft waypoint list -A shows all");
}

/** From the first replica of the control plane that answers. */
export async function programOf(context: Context, { namespace, gateway = "" }: MeshPod): Promise<ProgramJson> {
  const path = `/debug/program?gateway=${encodeURIComponent(`${namespace}/${gateway}`)}`;
  const replicas = (await controlPods(context)).filter((pod) => pod.isReady).slice(0, 1);
  const { answers } = await askAll(context, replicas, (port) => port.json<ProgramJson>(path));
  const program = answers[0]?.[1];
  if (program === undefined) throw new Failure("no replica of the control plane is ready", "see weft status");
  return program;
}

export function waypointDump(context: Context, pod: MeshPod): Promise<WaypointDump> {
  return new AdminPort(context.cluster(), pod, context.signal).json<WaypointDump>("/config_dump");
}

/** Which endpoints are ejected, by cluster and address: `/clusters` of the waypoint. */
export async function ejected(context: Context, pod: MeshPod): Promise<ReadonlySet<string>> {
  const text = await new AdminPort(context.cluster(), pod, context.signal).text("/clusters");
  const found = text.matchAll(/^(.*)::health_flags::\/failed_outlier_check$/gm);
  return new Set([...found].map(([, key = ""]) => key));
}
