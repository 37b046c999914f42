/** How far each client of the control plane is: from `/debug/syncz` of its replicas. */
import type { ClientSync, TypeSync } from "../../../control/src/xds/stream-state.ts";
import type { MeshPod } from "../cluster/mesh-pods.ts";

export interface ControlSync {
  readonly replica: string;
  readonly version: string;
  readonly clients: readonly ClientSync[];
}

export type SyncState = "synced" | "stale" | "refused" | "not connected";

export interface ClientRow {
  readonly namespace: string;
  readonly name: string;
  readonly kind: string;
  readonly node: string;
  readonly sync: SyncState;
  readonly version: string;
  readonly gateway?: string;
  /** The replica that it is connected to. */
  readonly control: string;
  readonly connected: string;
  readonly types: readonly TypeSync[];
  readonly error?: string;
}

const KINDS: Readonly<Record<string, string>> = { ztunnel: "agent" };

/** One row per client, and one per pod of the mesh that is nobody's client. */
export function statusRows(
  replicas: readonly { readonly pod: string; readonly sync: ControlSync }[],
  pods: readonly MeshPod[],
): ClientRow[] {
  const rows = replicas.flatMap(({ pod, sync }) => sync.clients.map((client) => clientRow(client, pod)));
  const connected = new Set(rows.map(({ namespace, name }) => `${namespace}/${name}`));
  const missing = pods.filter(({ namespace, name }) => !connected.has(`${namespace}/${name}`)).map(missingRow);
  return [...rows, ...missing].sort(
    (a, b) => a.kind.localeCompare(b.kind) || a.node.localeCompare(b.node) || a.name.localeCompare(b.name),
  );
}

function clientRow({ client, kind, types, ...rest }: ClientSync, control: string): ClientRow {
  const [namespace = "", name = ""] = client.split("/");
  const shown = types.map(({ type, ...counts }) => ({ type: type.slice(type.lastIndexOf(".") + 1), ...counts }));
  const error = shown.find((each) => each.error !== undefined)?.error;
  return {
    namespace,
    name,
    kind: KINDS[kind] ?? kind,
    sync: error !== undefined ? "refused" : shown.some(({ sent, answered }) => answered < sent) ? "stale" : "synced",
    ...rest,
    control,
    types: shown,
    ...(error === undefined ? {} : { error }),
  };
}

function missingRow({ namespace, name, node, gateway }: MeshPod): ClientRow {
  return {
    namespace,
    name,
    kind: gateway === undefined ? "agent" : "waypoint",
    node,
    sync: "not connected",
    version: "",
    control: "",
    connected: "",
    types: [],
    ...(gateway === undefined ? {} : { gateway }),
  };
}
