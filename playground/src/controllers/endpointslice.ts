/** EndpointSlices of Services with a selector, one per address family and set of ports. */
import { isIpv4 } from "#lib/address.ts";
import { sameJson } from "../api/objects.ts";
import {
  type Endpoint,
  type EndpointSlice,
  isFinished,
  isReady,
  type NodeObject,
  type Pod,
  type Service,
  type ServicePort,
} from "../kinds/types.ts";
import { type Context, type Controller, keyOfObject } from "./context.ts";
import { Reconciler } from "./reconciler.ts";

export const SERVICE_NAME_LABEL = "kubernetes.io/service-name";
const MANAGED_BY = { "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" };
const ZONE = "topology.kubernetes.io/zone";

export function endpointSliceController(context: Context): Controller {
  const queue = new Reconciler(
    "endpoints",
    (key) => reconcile(context, key),
    (text) => context.report(text),
  );
  const stops = [
    context.follow("services", (service) => queue.enqueue(keyOfObject(service))),
    context.follow("pods", (pod, event) => {
      for (const service of context.all<Service>("services")) {
        if (service.metadata.namespace !== pod.metadata.namespace) continue;
        const isMine = selects(service, pod as Pod) || (event?.previous && selects(service, event.previous as Pod));
        if (isMine) queue.enqueue(keyOfObject(service));
      }
    }),
  ];
  return {
    close() {
      for (const stop of stops) stop();
      queue.close();
    },
  };
}

function selects(service: Service, pod: Pod): boolean {
  const selector = Object.entries(service.spec.selector ?? {});
  return selector.length > 0 && selector.every(([key, value]) => pod.metadata.labels?.[key] === value);
}

function reconcile(context: Context, key: string): void {
  const service = context.find<Service>("services", key);
  const [namespace = "", name = ""] = key.split("/");
  const resource = context.resource("endpointslices");
  const existing = [...context.all<EndpointSlice>("endpointslices")].filter(
    (slice) =>
      slice.metadata.namespace === namespace &&
      slice.metadata.labels?.[SERVICE_NAME_LABEL] === name &&
      Object.entries(MANAGED_BY).every(([label, value]) => slice.metadata.labels?.[label] === value),
  );
  const wanted = service === undefined ? [] : slicesOf(context, service);
  for (const slice of existing) {
    if (!wanted.some((each) => each.name === slice.metadata.name)) {
      context.registry.delete(resource, namespace, slice.metadata.name);
    }
  }
  if (service === undefined || service.metadata.deletionTimestamp !== undefined) return;
  for (const { name: sliceName, ...content } of wanted) {
    const found = existing.find((slice) => slice.metadata.name === sliceName);
    if (found === undefined) {
      context.registry.create(resource, namespace, {
        metadata: {
          name: sliceName,
          labels: { ...service.metadata.labels, [SERVICE_NAME_LABEL]: name, ...MANAGED_BY },
          ownerReferences: [
            {
              apiVersion: "v1",
              kind: "Service",
              name,
              uid: service.metadata.uid,
              controller: true,
              blockOwnerDeletion: true,
            },
          ],
        },
        ...content,
      });
    } else if (!sameJson(found.endpoints, content.endpoints) || !sameJson(found.ports, content.ports)) {
      context.registry.patch(resource, namespace, sliceName, "merge", { ...content });
    }
  }
}

interface WantedSlice {
  name: string;
  addressType: string;
  endpoints: Endpoint[];
  ports: EndpointSlice["ports"];
}

function slicesOf(context: Context, service: Service): WantedSlice[] {
  if (Object.keys(service.spec.selector ?? {}).length === 0 || service.spec.type === "ExternalName") return [];
  const pods = [...context.all<Pod>("pods")]
    .filter((pod) => pod.metadata.namespace === service.metadata.namespace && selects(service, pod))
    .filter((pod) => !isFinished(pod) && (pod.status.podIPs?.length ?? 0) > 0)
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const slices: WantedSlice[] = [];
  for (const family of service.spec.ipFamilies ?? ["IPv4"]) {
    // Pods may give a named port different numbers; each set of numbers is a slice of its own.
    const groups = new Map<string, WantedSlice>();
    for (const pod of pods) {
      const ip = pod.status.podIPs?.map((each) => each.ip).find((each) => isIpv4(each) === (family === "IPv4"));
      if (ip === undefined) continue;
      const ports = portsOf(service, pod);
      const id = JSON.stringify(ports);
      const group = groups.get(id) ?? {
        name: `${service.metadata.name}-${family.toLowerCase()}${groups.size === 0 ? "" : `-${groups.size}`}`,
        addressType: family,
        endpoints: [],
        ports,
      };
      groups.set(id, group);
      group.endpoints.push(endpoint(context, service, pod, ip));
    }
    if (groups.size === 0) {
      const name = `${service.metadata.name}-${family.toLowerCase()}`;
      slices.push({ name, addressType: family, endpoints: [], ports: [] });
    }
    slices.push(...groups.values());
  }
  return slices;
}

function portsOf(service: Service, pod: Pod): EndpointSlice["ports"] {
  return (service.spec.ports ?? []).flatMap((port) => {
    const number = targetPort(port, pod);
    if (number === undefined) return [];
    return [
      {
        name: port.name ?? "",
        port: number,
        protocol: port.protocol ?? "TCP",
        ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
      },
    ];
  });
}

function targetPort(port: ServicePort, pod: Pod): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === "number") return target;
  if (/^\d+$/.test(target)) return Number(target);
  for (const container of pod.spec.containers) {
    const named = container.ports?.find((each) => each.name === target && each.protocol === port.protocol);
    if (named !== undefined) return named.containerPort;
  }
  return undefined;
}

function endpoint(context: Context, service: Service, pod: Pod, ip: string): Endpoint {
  const isTerminating = pod.metadata.deletionTimestamp !== undefined;
  const serving = isReady(pod);
  const ready = service.spec.publishNotReadyAddresses === true || (serving && !isTerminating);
  const node = pod.spec.nodeName === undefined ? undefined : context.find<NodeObject>("nodes", pod.spec.nodeName);
  const zone = node?.metadata.labels?.[ZONE];
  const hasName = pod.spec.hostname !== undefined && pod.spec.subdomain === service.metadata.name;
  return {
    addresses: [ip],
    conditions: { ready, serving, terminating: isTerminating },
    ...(hasName && pod.spec.hostname !== undefined ? { hostname: pod.spec.hostname } : {}),
    ...(pod.spec.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
    ...(zone === undefined ? {} : { zone }),
    targetRef: {
      kind: "Pod",
      namespace: pod.metadata.namespace ?? "",
      name: pod.metadata.name,
      uid: pod.metadata.uid,
    },
  };
}
