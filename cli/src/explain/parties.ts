/** Who connects to whom, as people name them on the command line. */
import { isIpv4, parseIp } from "#lib/address.ts";
import type { Pod } from "#lib/kube/types.ts";
import type { ServiceDefinition } from "../../../control/src/model/service-definition.ts";
import { Failure, UsageError } from "../frame/errors.ts";
import { addressesOf, keyOf, type MeshPicture } from "./picture.ts";

export type Source =
  | { readonly kind: "pod"; readonly pod: Pod; readonly ips: readonly string[] }
  /** Somebody of whom nothing is known but the address. */
  | { readonly kind: "address"; readonly ip: string }
  /** Of the node of the pod that it probes. */
  | { readonly kind: "kubelet" };

/** What stands for it on the command line. */
const KUBELET = "kubelet";

export interface Destination {
  readonly ip: string;
  readonly port: number;
  /** What was named. */
  readonly service?: ServiceDefinition;
  readonly pod?: Pod;
}

/** `pod/web-1`, `shop/web-1`, `web-1.shop`, the name of a workload such as `web`, or an address. */
export function findSource(picture: MeshPicture, text: string, namespace: string): Source {
  if (text === KUBELET) return { kind: "kubelet" };
  const ip = parseIp(text);
  if (ip !== undefined) {
    const owner = [...picture.pods()].find((pod) => addressesOf(pod).includes(ip));
    return owner === undefined ? { kind: "address", ip } : podSource(owner);
  }
  const name = parseName(text, namespace);
  if (name.kind === "svc") throw new UsageError(`${text}: a Service opens no connections; name a pod`);
  const pod = findPod(picture, name);
  if (pod === undefined) throw notFound("pod", name, picture);
  return podSource(pod);
}

function podSource(pod: Pod): Source {
  return { kind: "pod", pod, ips: addressesOf(pod) };
}

/** `svc/db:80`, `pod/db-1:5432`, `db`, `shop/db`, `db.shop`, a host name, `10.0.0.1:80`; a single port need not be said. */
export function findDestination(picture: MeshPicture, text: string, namespace: string, source: Source): Destination {
  const { host, port } = splitPort(text);
  const ip = parseIp(host);
  if (ip !== undefined) return { ip, port: port ?? missingPort(text, []) };
  const name = parseName(host, namespace);
  const service = name.kind === "pod" ? undefined : findService(picture, host, name, namespace);
  if (service !== undefined) return serviceDestination(service, text, port, source, picture);
  const pod = name.kind === "svc" ? undefined : findPod(picture, name);
  if (pod === undefined) throw notFound(name.kind === "pod" ? "pod" : "Service or pod", name, picture);
  const [own] = addressesOf(pod);
  if (own === undefined) throw new Failure(`pod ${keyOf(pod)} has no address yet`, "wait until it runs");
  return { ip: own, port: port ?? onlyPort(text, containerPorts(pod)), pod };
}

/** What a command is about: a pod, or a Service with the pods behind it. */
export interface Party {
  readonly service: ServiceDefinition | undefined;
  readonly pods: readonly Pod[];
}

export function findParty(picture: MeshPicture, text: string, namespace: string): Party {
  const name = parseName(text, namespace);
  const service = name.kind === "pod" ? undefined : findService(picture, text, name, namespace);
  if (service !== undefined) return { service, pods: [...picture.pods()].filter((pod) => isBehind(service, pod)) };
  const pod = name.kind === "svc" ? undefined : findPod(picture, name);
  if (pod === undefined)
    throw notFound(name.kind === undefined ? "Service or pod" : name.kind === "pod" ? "pod" : "Service", name, picture);
  return { service: undefined, pods: [pod] };
}

function serviceDestination(
  service: ServiceDefinition,
  text: string,
  port: number | undefined,
  source: Source,
  picture: MeshPicture,
): Destination {
  const numbers = service.ports.map(({ number }) => number);
  const wanted = port ?? onlyPort(text, numbers);
  const vips = service.addresses.filter(({ length }) => length === undefined).map(({ ip }) => ip);
  if (source.kind === "kubelet") throw new UsageError(`${text}: the kubelet probes pods; name one, as pod/NAME:PORT`);
  const [client] = source.kind === "pod" ? source.ips : [source.ip];
  const ip = vips.find((each) => client !== undefined && isIpv4(each) === isIpv4(client)) ?? vips[0];
  if (ip !== undefined) return { ip, port: wanted, service };
  // Headless: its name is looked up to one of its pods.
  const pod = [...picture.pods()].find((each) => isBehind(service, each));
  const [first] = pod === undefined ? [] : addressesOf(pod);
  if (pod === undefined || first === undefined) {
    throw new Failure(`${service.hostname} has no address and no pod behind it`, "nobody could connect to it now");
  }
  const target = service.ports.find(({ number }) => number === wanted)?.target;
  return { ip: first, port: typeof target === "number" ? target : wanted, service, pod };
}

function isBehind({ namespace, selector }: ServiceDefinition, { metadata }: Pod): boolean {
  if (selector === undefined || metadata.namespace !== namespace) return false;
  return Object.entries(selector).every(([label, value]) => metadata.labels?.[label] === value);
}

interface Name {
  readonly kind: "pod" | "svc" | undefined;
  readonly namespace: string;
  readonly name: string;
}

const KINDS: Readonly<Record<string, "pod" | "svc">> = {
  pod: "pod",
  pods: "pod",
  po: "pod",
  svc: "svc",
  service: "svc",
  services: "svc",
};

function parseName(text: string, namespace: string): Name {
  const parts = text.split("/");
  if (parts.length > 3 || parts.some((part) => part === ""))
    throw new UsageError(`${text}: no name of a pod or service`);
  const kind = Object.hasOwn(KINDS, parts[0] ?? "") && parts.length > 1 ? KINDS[parts[0] ?? ""] : undefined;
  const rest = kind === undefined ? parts : parts.slice(1);
  if (rest.length === 2) return { kind, namespace: rest[0] ?? "", name: rest[1] ?? "" };
  if (rest.length > 2) throw new UsageError(`${text}: no name of a pod or service`);
  const [name = "", own = namespace] = (rest[0] ?? "").split(".");
  return { kind, namespace: own, name };
}

/** By its name, or by that of what made it. */
function findPod(picture: MeshPicture, { namespace, name }: Name): Pod | undefined {
  const exact = picture.pod(namespace, name);
  if (exact !== undefined) return exact;
  for (const facts of picture.snapshot.model.pods.inNamespace(namespace)) {
    if (facts.workloadName === name) return picture.pod(namespace, facts.name);
  }
  return undefined;
}

function findService(
  { snapshot }: MeshPicture,
  host: string,
  { namespace, name }: Name,
  clientNamespace: string,
): ServiceDefinition | undefined {
  const { serviceLookup } = snapshot.model;
  return (
    serviceLookup.service(namespace, name) ??
    serviceLookup.host(host.toLowerCase(), clientNamespace) ??
    serviceLookup.serviceEntry(namespace, name)[0]
  );
}

function splitPort(text: string): { readonly host: string; readonly port: number | undefined } {
  const bracketed = /^\[([^\]]+)\]:(\d{1,5})$/.exec(text);
  const match = bracketed ?? (parseIp(text) === undefined ? /^(.+):(\d{1,5})$/.exec(text) : null);
  if (match === null) return { host: text, port: undefined };
  const port = Number(match[2]);
  if (port < 1 || port > 65_535) throw new UsageError(`${text}: ${port} is no port`);
  return { host: match[1] ?? "", port };
}

function onlyPort(text: string, ports: readonly number[]): number {
  const [first] = ports;
  return ports.length === 1 && first !== undefined ? first : missingPort(text, ports);
}

function missingPort(text: string, ports: readonly number[]): never {
  const known = ports.length === 0 ? "" : ` (it has ${ports.join(", ")})`;
  throw new UsageError(`${text}: say which port, as ${text}:${ports[0] ?? 80}${known}`);
}

function containerPorts({ spec }: Pod): number[] {
  return (spec?.containers ?? []).flatMap(({ ports = [] }) => ports.map(({ containerPort }) => containerPort));
}

function notFound(what: string, { namespace, name }: Name, picture: MeshPicture): Failure {
  const others = [...picture.snapshot.model.pods.inNamespace(namespace)].map((pod) => pod.name);
  const todo =
    others.length === 0 ? `namespace ${namespace} has no pods` : `pods there: ${others.slice(0, 10).join(", ")}`;
  return new Failure(`there is no ${what} "${name}" in namespace ${namespace}`, todo);
}
