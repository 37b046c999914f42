/** Tables for `kubectl get`: columns and cells of the kinds people look at. */
import type {
  DaemonSet,
  Deployment,
  EndpointSlice,
  NodeObject,
  Pod,
  PodTemplate,
  ReplicaSet,
  Service,
} from "../kinds/types.ts";
import { isRecord, type JsonRecord, type Obj, valueAt } from "./objects.ts";
import type { Resource } from "./resources.ts";
import { formatSelector } from "./selectors.ts";

interface Column {
  name: string;
  type: string;
  format: string;
  description: string;
  priority: number;
}

interface Layout {
  columns: Column[];
  cells(object: Obj): unknown[];
}

/** `wide` columns start with a tilde; the type is a string unless the name ends with `#` (a number). */
function layout<T extends Obj>(names: string, cells: (object: T) => unknown[]): Layout {
  const columns = names.split("|").map((text): Column => {
    const name = text.replace(/^~|#$/g, "");
    return {
      name,
      type: text.endsWith("#") ? "integer" : "string",
      format: name === "Name" ? "name" : "",
      description: "",
      priority: text.startsWith("~") ? 1 : 0,
    };
  });
  return { columns, cells: (object) => cells(object as T) };
}

const NONE = "<none>";

const LAYOUTS: Readonly<Record<string, Layout>> = {
  pods: layout<Pod>("Name|Ready|Status|Restarts|Age|~IP|~Node|~Nominated Node|~Readiness Gates", (pod) => [
    pod.metadata.name,
    `${(pod.status.containerStatuses ?? []).filter((each) => each.ready).length}/${pod.spec.containers.length}`,
    podReason(pod),
    restarts(pod),
    ageOf(pod),
    pod.status.podIP ?? NONE,
    pod.spec.nodeName ?? NONE,
    NONE,
    NONE,
  ]),
  services: layout<Service>("Name|Type|Cluster-IP|External-IP|Port(s)|Age|~Selector", (service) => [
    service.metadata.name,
    service.spec.type,
    service.spec.clusterIP || NONE,
    externalIp(service),
    (service.spec.ports ?? [])
      .map((port) => `${port.port}${port.nodePort ? `:${port.nodePort}` : ""}/${port.protocol}`)
      .join(",") || NONE,
    ageOf(service),
    formatSelector({ matchLabels: service.spec.selector ?? {} }) || NONE,
  ]),
  "deployments.apps": layout<Deployment>(
    "Name|Ready|Up-to-date|Available|Age|~Containers|~Images|~Selector",
    (deployment) => [
      deployment.metadata.name,
      `${deployment.status?.readyReplicas ?? 0}/${deployment.spec.replicas}`,
      deployment.status?.updatedReplicas ?? 0,
      deployment.status?.availableReplicas ?? 0,
      ageOf(deployment),
      ...templateCells(deployment.spec.template),
      formatSelector(deployment.spec.selector),
    ],
  ),
  "replicasets.apps": layout<ReplicaSet>("Name|Desired|Current|Ready|Age|~Containers|~Images|~Selector", (set) => [
    set.metadata.name,
    set.spec.replicas ?? 0,
    set.status?.replicas ?? 0,
    set.status?.readyReplicas ?? 0,
    ageOf(set),
    ...templateCells(set.spec.template),
    formatSelector(set.spec.selector),
  ]),
  "daemonsets.apps": layout<DaemonSet>(
    "Name|Desired|Current|Ready|Up-to-date|Available|Node Selector|Age|~Containers|~Images|~Selector",
    (set) => [
      set.metadata.name,
      set.status?.desiredNumberScheduled ?? 0,
      set.status?.currentNumberScheduled ?? 0,
      set.status?.numberReady ?? 0,
      set.status?.updatedNumberScheduled ?? 0,
      set.status?.numberAvailable ?? 0,
      formatSelector({ matchLabels: set.spec.template.spec.nodeSelector ?? {} }) || NONE,
      ageOf(set),
      ...templateCells(set.spec.template),
      formatSelector(set.spec.selector),
    ],
  ),
  nodes: layout<NodeObject>(
    "Name|Status|Roles|Age|Version|~Internal-IP|~External-IP|~OS-Image|~Kernel-Version|~Container-Runtime",
    (node) => {
      const info = valueAt(node, "status.nodeInfo") as Record<string, string> | undefined;
      const ready = node.status.conditions?.find((each) => each.type === "Ready")?.status === "True";
      return [
        node.metadata.name,
        `${ready ? "Ready" : "NotReady"}${node.spec.unschedulable ? ",SchedulingDisabled" : ""}`,
        NONE,
        ageOf(node),
        info?.kubeletVersion ?? "",
        node.status.addresses?.find((each) => each.type === "InternalIP")?.address ?? NONE,
        NONE,
        info?.osImage ?? "",
        info?.kernelVersion ?? "",
        info?.containerRuntimeVersion ?? "",
      ];
    },
  ),
  namespaces: layout("Name|Status|Age", (ns) => [ns.metadata.name, valueAt(ns, "status.phase") ?? "Active", ageOf(ns)]),
  configmaps: layout("Name|Data|Age", (map) => [
    map.metadata.name,
    count(map.data) + count(map.binaryData),
    ageOf(map),
  ]),
  secrets: layout("Name|Type|Data|Age", (secret) => [
    secret.metadata.name,
    secret.type ?? "Opaque",
    count(secret.data),
    ageOf(secret),
  ]),
  events: layout("Last Seen|Type|Reason|Object|~Subobject|~Source|Message|~First Seen|~Count|~Name", (event) => [
    since(String(event.lastTimestamp ?? event.metadata.creationTimestamp)),
    event.type,
    event.reason,
    `${String(valueAt(event, "involvedObject.kind")).toLowerCase()}/${valueAt(event, "involvedObject.name")}`,
    valueAt(event, "involvedObject.fieldPath") ?? "",
    valueAt(event, "source.component") ?? "",
    event.message,
    since(String(event.firstTimestamp ?? event.metadata.creationTimestamp)),
    event.count ?? 1,
    event.metadata.name,
  ]),
  "endpointslices.discovery.k8s.io": layout<EndpointSlice>("Name|AddressType|Ports|Endpoints|Age", (slice) => [
    slice.metadata.name,
    slice.addressType,
    (slice.ports ?? []).map((port) => port.port).join(",") || "<unset>",
    abbreviated((slice.endpoints ?? []).flatMap((each) => each.addresses)) || "<unset>",
    ageOf(slice),
  ]),
  "leases.coordination.k8s.io": layout("Name|Holder|Age", (lease) => [
    lease.metadata.name,
    valueAt(lease, "spec.holderIdentity") ?? "",
    ageOf(lease),
  ]),
  "clusterrolebindings.rbac.authorization.k8s.io": bindingLayout(),
  "rolebindings.rbac.authorization.k8s.io": bindingLayout(),
  "clusterroles.rbac.authorization.k8s.io": createdLayout(),
  "roles.rbac.authorization.k8s.io": createdLayout(),
  "customresourcedefinitions.apiextensions.k8s.io": createdLayout(),
};

function bindingLayout(): Layout {
  return layout("Name|Role|Age", (binding) => {
    const ref = binding.roleRef as { kind: string; name: string } | undefined;
    return [binding.metadata.name, `${ref?.kind}/${ref?.name}`, ageOf(binding)];
  });
}

function createdLayout(): Layout {
  return layout("Name|Created At", (object) => [object.metadata.name, object.metadata.creationTimestamp]);
}

const DEFAULT_LAYOUT = layout("Name|Age", (object) => [object.metadata.name, ageOf(object)]);

/** A table of `objects`; `include` says what of each object goes along (None, Metadata, Object). */
export function table(resource: Resource, objects: readonly Obj[], listMeta: JsonRecord, include: string): JsonRecord {
  const { columns, cells } = layoutOf(resource);
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata: listMeta,
    columnDefinitions: columns,
    rows: objects.map((object) => ({ cells: cells(object), object: embedded(object, include) })),
  };
}

function embedded(object: Obj, include: string): unknown {
  if (include === "None") return null;
  if (include === "Object") return object;
  return { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata };
}

function layoutOf(resource: Resource): Layout {
  const columns = resource.custom?.columns ?? [];
  if (columns.length === 0) {
    return LAYOUTS[resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`] ?? DEFAULT_LAYOUT;
  }
  const hasAge = columns.some((column) => column.name === "Age");
  return {
    columns: [
      { name: "Name", type: "string", format: "name", description: "", priority: 0 },
      ...columns.map((column) => ({
        name: column.name,
        type: column.type === "date" ? "string" : column.type,
        format: "",
        description: column.description ?? "",
        priority: column.priority ?? 0,
      })),
      ...(hasAge ? [] : [{ name: "Age", type: "string", format: "", description: "", priority: 0 }]),
    ],
    cells: (object) => [
      object.metadata.name,
      ...columns.map((column) => {
        const found = jsonPath(object, column.jsonPath);
        const value = found.length > 1 ? found : found[0];
        if (column.type === "date") return value === undefined ? NONE : since(String(value));
        return typeof value === "object" && value !== null ? JSON.stringify(value) : (value ?? null);
      }),
      ...(hasAge ? [] : [ageOf(object)]),
    ],
  };
}

/** The part of JSONPath that printer columns use: `.a.b`, `[*]`, `[0]`, `['a']`, `[?(@.type=="Ready")]`. */
export function jsonPath(object: unknown, path: string): unknown[] {
  let found: unknown[] = [object];
  const step = /\.([\w-]+)|\[\*\]|\[(\d+)\]|\['([^']+)'\]|\[\?\(@\.([\w.]+)\s*==\s*["']([^"']*)["']\)\]/g;
  for (const [whole, field, index, quoted, filterPath, filterValue] of path.matchAll(step)) {
    const name = field ?? quoted;
    if (name !== undefined) {
      const plain = name.replaceAll("\\", "");
      found = found.map((each) => (isRecord(each) ? each[plain] : undefined));
    } else if (index !== undefined)
      found = found.map((each) => (Array.isArray(each) ? each[Number(index)] : undefined));
    else if (filterPath !== undefined) {
      found = found.flat().filter((each) => String(valueAt(each, filterPath)) === filterValue);
    } else if (whole === "[*]") found = found.flat();
    found = found.filter((each) => each !== undefined && each !== null);
  }
  return found;
}

/** The status word that `kubectl get pods` shows: the most telling of phase, waiting and ending reasons. */
export function podReason(pod: Pod): string {
  const init = pod.status.initContainerStatuses ?? [];
  const unfinished = init.findIndex((each) => each.state.terminated?.exitCode !== 0);
  let reason = pod.status.reason ?? pod.status.phase ?? "Unknown";
  if (unfinished >= 0 && pod.metadata.deletionTimestamp === undefined) {
    const { waiting, terminated } = init[unfinished]?.state ?? {};
    if (terminated !== undefined) return `Init:${terminated.reason || `ExitCode:${terminated.exitCode}`}`;
    if (waiting !== undefined && waiting.reason !== "PodInitializing") return `Init:${waiting.reason}`;
    return `Init:${unfinished}/${init.length}`;
  }
  for (const { state } of pod.status.containerStatuses ?? []) {
    if (state.waiting?.reason) reason = state.waiting.reason;
    else if (state.terminated !== undefined) {
      reason = state.terminated.reason || `ExitCode:${state.terminated.exitCode}`;
    }
  }
  if (pod.metadata.deletionTimestamp !== undefined) return "Terminating";
  return reason;
}

function restarts(pod: Pod): string {
  const statuses = pod.status.containerStatuses ?? [];
  const total = statuses.reduce((sum, each) => sum + each.restartCount, 0);
  const last = statuses
    .map((each) => each.lastState?.terminated?.finishedAt ?? "")
    .sort()
    .at(-1);
  return total > 0 && last ? `${total} (${since(last)} ago)` : String(total);
}

function externalIp(service: Service): string {
  if (service.spec.type === "ExternalName") return service.spec.externalName ?? NONE;
  if (service.spec.type === "LoadBalancer") {
    const ingress = valueAt(service, "status.loadBalancer.ingress");
    return Array.isArray(ingress) ? ingress.map((each) => each.ip ?? each.hostname).join(",") : "<pending>";
  }
  return service.spec.externalIPs?.join(",") || NONE;
}

function templateCells(template: PodTemplate): string[] {
  const { containers } = template.spec;
  return [containers.map((each) => each.name).join(","), containers.map((each) => each.image).join(",")];
}

function abbreviated(list: readonly string[]): string {
  return list.length <= 3 ? list.join(",") : `${list.slice(0, 3).join(",")} + ${list.length - 3} more...`;
}

function count(value: unknown): number {
  return isRecord(value) ? Object.keys(value).length : 0;
}

function ageOf(object: Obj): string {
  return since(object.metadata.creationTimestamp);
}

/** How long ago in the short form of kubectl: 12s, 5m3s, 4h, 2d. */
export function since(time: string, now: number = Date.now()): string {
  const at = Date.parse(time);
  if (Number.isNaN(at)) return "<unknown>";
  const seconds = Math.max(0, Math.floor((now - at) / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes}m${seconds % 60 ? `${seconds % 60}s` : ""}`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return `${hours}h${minutes % 60 ? `${minutes % 60}m` : ""}`;
  return hours < 48 ? `${hours}h` : `${Math.floor(hours / 24)}d`;
}
