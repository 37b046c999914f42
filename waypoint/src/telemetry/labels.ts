/** Labels of the standard metrics: names, order and what stands for what is not known. */
import { flagsText } from "./flags.ts";
import { peerOf } from "./peer.ts";
import type { LabelFacts } from "./series.ts";

/** In the order in which Istio's proxies show them. */
export const HTTP_LABELS = [
  "reporter",
  "source_workload",
  "source_canonical_service",
  "source_canonical_revision",
  "source_workload_namespace",
  "source_principal",
  "source_app",
  "source_version",
  "source_cluster",
  "destination_workload",
  "destination_workload_namespace",
  "destination_principal",
  "destination_app",
  "destination_version",
  "destination_service",
  "destination_canonical_service",
  "destination_canonical_revision",
  "destination_service_name",
  "destination_service_namespace",
  "destination_cluster",
  "request_protocol",
  "response_code",
  "grpc_response_status",
  "response_flags",
  "connection_security_policy",
] as const;

/** Of TCP: there are no answers. */
export const TCP_LABELS = HTTP_LABELS.filter((name) => name !== "response_code" && name !== "grpc_response_status");

export type Labels = Record<string, string>;

const UNKNOWN = "unknown";
/** Where no label says which revision it is. */
const DEFAULT_REVISION = "latest";
/** Stands in destination_service for all that there was no room for. */
export const OTHER = "other";

export function standardLabels(facts: LabelFacts): Labels {
  const peer = peerOf(facts.peerBaggage);
  const to = facts.workload;
  const service = serviceOf(facts);
  const labels: Labels = {
    reporter: "waypoint",
    source_workload: known(peer.workload),
    source_canonical_service: known(peer.canonicalService),
    source_canonical_revision: revision(peer.canonicalService, peer.canonicalRevision),
    source_workload_namespace: known(peer.namespace),
    source_principal: known(facts.peerIdentity),
    source_app: known(peer.app),
    source_version: known(peer.version),
    source_cluster: known(peer.cluster),
    destination_workload: known(to?.name),
    destination_workload_namespace: known(to?.namespace),
    destination_principal: known(to?.principal),
    destination_app: known(to?.app),
    destination_version: known(to?.version),
    destination_service: known(service.hostname),
    destination_canonical_service: known(to?.canonicalService),
    destination_canonical_revision: revision(to?.canonicalService ?? "", to?.canonicalRevision ?? ""),
    destination_service_name: known(service.name),
    destination_service_namespace: known(service.namespace),
    destination_cluster: known(to?.clusterId),
    request_protocol: facts.protocol,
  };
  if (facts.protocol !== "tcp") {
    labels.response_code = String(facts.responseCode);
    labels.grpc_response_status = facts.protocol === "grpc" && facts.grpcStatus >= 0 ? String(facts.grpcStatus) : "";
  }
  labels.response_flags = flagsText(facts.flags);
  labels.connection_security_policy = facts.peerIdentity === "" ? "none" : "mutual_tls";
  return labels;
}

function known(value: string | undefined): string {
  return value === undefined || value === "" ? UNKNOWN : value;
}

/** Somebody whom nobody knows has no revision either. */
function revision(service: string, value: string): string {
  if (value !== "") return value;
  return service === "" ? UNKNOWN : DEFAULT_REVISION;
}

/** The service that was chosen, else the one that was asked for. */
function serviceOf(facts: LabelFacts): { hostname: string; name: string; namespace: string } {
  if (facts.other) return { hostname: OTHER, name: OTHER, namespace: OTHER };
  if (facts.serviceHostname !== "") {
    const name = facts.serviceName === "" ? shortName(facts.serviceHostname) : facts.serviceName;
    return { hostname: facts.serviceHostname, name, namespace: facts.serviceNamespace };
  }
  const slash = facts.destination.indexOf("/");
  // A workload's uid has more than one slash.
  if (slash === -1 || facts.destination.indexOf("/", slash + 1) !== -1)
    return { hostname: "", name: "", namespace: "" };
  const hostname = facts.destination.slice(slash + 1);
  return { hostname, name: shortName(hostname), namespace: facts.destination.slice(0, slash) };
}

function shortName(hostname: string): string {
  return hostname.includes(".svc.") ? (hostname.split(".", 1)[0] ?? hostname) : hostname;
}
