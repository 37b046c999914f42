/** The names that CEL expressions of telemetry know, with their types. */
import type { Duration } from "@marcbachmann/cel-js/evaluator";

export type AttributeType =
  | "string"
  | "int"
  | "bool"
  | "map<string, string>"
  | "google.protobuf.Timestamp"
  | "google.protobuf.Duration";

const PEER = {
  name: "string",
  namespace: "string",
  workload: "string",
  service: "string",
  revision: "string",
  app: "string",
  version: "string",
  cluster: "string",
} as const satisfies Record<string, AttributeType>;

const SIDE = {
  address: "string",
  port: "int",
  principal: "string",
  namespace: "string",
  workload: "string",
  app: "string",
  version: "string",
  canonical_service: "string",
  canonical_revision: "string",
  cluster: "string",
} as const satisfies Record<string, AttributeType>;

export const ATTRIBUTES = {
  request: {
    path: "string",
    url_path: "string",
    query: "string",
    host: "string",
    scheme: "string",
    method: "string",
    headers: "map<string, string>",
    referer: "string",
    useragent: "string",
    id: "string",
    protocol: "string",
    time: "google.protobuf.Timestamp",
    duration: "google.protobuf.Duration",
    size: "int",
    total_size: "int",
  },
  response: {
    code: "int",
    code_details: "string",
    flags: "int",
    grpc_status: "int",
    headers: "map<string, string>",
    trailers: "map<string, string>",
    size: "int",
    total_size: "int",
  },
  connection: {
    mtls: "bool",
    requested_server_name: "string",
    uri_san_peer_certificate: "string",
    termination_details: "string",
  },
  source: SIDE,
  destination: { ...SIDE, service: "string", service_name: "string", service_namespace: "string" },
  upstream: {
    address: "string",
    port: "int",
    local_address: "string",
    transport_failure_reason: "string",
    uri_san_peer_certificate: "string",
    request_attempt_count: "int",
  },
  xds: { cluster_name: "string", route_name: "string" },
  downstream_peer: PEER,
  upstream_peer: PEER,
} as const satisfies Record<string, Record<string, AttributeType>>;

type Root = keyof typeof ATTRIBUTES;
export type AttributeName = { [R in Root]: `${R}.${keyof (typeof ATTRIBUTES)[R] & string}` }[Root];

export type AttributeValue = string | bigint | boolean | Date | Duration | ReadonlyMap<string, string>;

/** Who answers for the attributes of one request, or of a series of them. Undefined: there is no such thing here. */
export interface AttributeSource {
  attribute(name: AttributeName): AttributeValue | undefined;
}

/** Attributes that all requests of a series have in common: the engine counts by them. */
export const SERIES_ATTRIBUTES: ReadonlySet<string> = new Set<AttributeName>([
  "response.code",
  "response.flags",
  "response.grpc_status",
  "connection.mtls",
  "connection.uri_san_peer_certificate",
  "xds.cluster_name",
  "upstream.uri_san_peer_certificate",
  ...sides("source"),
  ...sides("destination"),
  "destination.service",
  "destination.service_name",
  "destination.service_namespace",
  ...peers("downstream_peer"),
  ...peers("upstream_peer"),
]);

function sides<R extends "source" | "destination">(root: R): AttributeName[] {
  const names = Object.keys(SIDE).filter((name) => name !== "address" && name !== "port");
  return names.map((name) => `${root}.${name}` as AttributeName);
}

function peers<R extends "downstream_peer" | "upstream_peer">(root: R): AttributeName[] {
  return Object.keys(PEER).map((name) => `${root}.${name}` as AttributeName);
}
