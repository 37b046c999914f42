/** Bytes as the engine writes them, for tests: records and series of any content. */
import { readFileSync } from "node:fs";
import type { RecordText } from "./records.ts";
import type { LabelFacts } from "./series.ts";

/** A file of native/test/golden, which the engine's own tests compare with what they encode. */
export function golden(name: string): Uint8Array {
  const text = readFileSync(new URL(`../../../native/test/golden/${name}`, import.meta.url), "utf8");
  return Uint8Array.from(Buffer.from(text.replaceAll("\n", ""), "hex"));
}

const ORDER = (
  "method path originalPath scheme authority details terminationDetails transportFailure requestId userAgent " +
  "forwardedFor downstreamLocal downstreamRemote client peerIdentity sni alpn peerBaggage upstreamLocal upstreamHost " +
  "cluster routeName routePattern destination telemetry serviceNamespace serviceHostname serviceName workloadName " +
  "workloadNamespace canonicalService canonicalRevision workloadCluster workloadPrincipal workloadApp workloadVersion " +
  "workloadNode dryRunDeny dryRunAllow"
).split(" ") as RecordText[];

export interface RecordFields {
  readonly tcp?: boolean;
  readonly protocol?: 0 | 1 | 2;
  readonly grpc?: boolean;
  readonly sampled?: boolean;
  readonly status?: number;
  readonly tls?: boolean;
  /** 0: none, 1: plain, 2: by HBONE. */
  readonly endpoint?: 0 | 1 | 2;
  readonly grpcStatus?: number;
  readonly flags?: number;
  readonly attempts?: number;
  /** From startUnixMs to grpcResponseMessages, in the order of RequestRecord. */
  readonly numbers?: readonly number[];
  readonly traceId?: string;
  readonly spanId?: string;
  readonly parentSpanId?: string;
  readonly texts?: Partial<Record<RecordText, string>>;
  readonly requestHeaders?: Readonly<Record<string, string>>;
  readonly responseHeaders?: Readonly<Record<string, string>>;
}

const NUMBERS = 11;

export function encodeRecord(fields: RecordFields): Uint8Array {
  const request = Object.entries(fields.requestHeaders ?? {});
  const response = Object.entries(fields.responseHeaders ?? {});
  const texts = [...ORDER.map((name) => fields.texts?.[name] ?? ""), ...request.flat(), ...response.flat()];
  const encoded = texts.map((text) => Buffer.from(text));
  const total = encoded.reduce((sum, { length }) => sum + length, 0);
  const bytes = Buffer.alloc(148 + 4 * texts.length + total);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.set(
    [Number(fields.tcp ?? false), fields.protocol ?? 1, Number(fields.grpc ?? false), Number(fields.sampled ?? false)],
    4,
  );
  bytes.writeUInt16LE(fields.status ?? 0, 8);
  bytes.set([Number(fields.tls ?? false), fields.endpoint ?? 0], 10);
  bytes.writeInt32LE(fields.grpcStatus ?? -1, 12);
  bytes.writeUInt32LE(fields.flags ?? 0, 16);
  bytes.writeUInt32LE(fields.attempts ?? 0, 20);
  for (let i = 0; i < NUMBERS; i++) bytes.writeDoubleLE(fields.numbers?.[i] ?? 0, 24 + 8 * i);
  bytes.write(fields.traceId ?? "", 112, "hex");
  bytes.write(fields.spanId ?? "", 128, "hex");
  bytes.write(fields.parentSpanId ?? "", 136, "hex");
  bytes.writeUInt16LE(request.length, 144);
  bytes.writeUInt16LE(response.length, 146);
  let end = 0;
  for (const [i, text] of encoded.entries()) {
    bytes.set(text, 148 + 4 * texts.length + end);
    end += text.length;
    bytes.writeUInt32LE(end, 148 + 4 * i);
  }
  return new Uint8Array(bytes);
}

/** Facts with these changes; by default a request of productpage to reviews. */
export function facts(changes: Partial<LabelFacts> = {}): LabelFacts {
  return {
    protocol: "http",
    responseCode: 200,
    grpcStatus: -1,
    flags: 0,
    peerIdentity: "spiffe://cluster.local/ns/default/sa/productpage",
    peerBaggage:
      "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.pod.name=productpage-v1,service.name=productpage,service.version=v1",
    destination: "default/reviews.default.svc.cluster.local",
    cluster: "inbound-vip|9080|http|reviews.default.svc.cluster.local",
    telemetry: "",
    serviceNamespace: "default",
    serviceHostname: "reviews.default.svc.cluster.local",
    serviceName: "reviews",
    workload: {
      name: "reviews-v1",
      namespace: "default",
      canonicalService: "reviews",
      canonicalRevision: "v1",
      clusterId: "Kubernetes",
      principal: "spiffe://cluster.local/ns/default/sa/reviews",
      app: "reviews",
      version: "v1",
      node: "",
    },
    other: false,
    ...changes,
  };
}

/** One series with `requests` requests of 3 ms, 10 bytes in and 2,000 out; TCP: so many connections. */
export function encodeSeries(of: LabelFacts, requests: number): Uint8Array {
  const key = encodeKey(of);
  const histogram = (bucket: number, sum: number): number[] => [
    ...Array.from({ length: 20 }, (_, i) => (i === bucket ? requests : 0)),
    sum * requests,
  ];
  const tcp = of.protocol === "tcp";
  const http = tcp ? 0 : 1;
  const numbers = [
    requests * http,
    ...histogram(2, 3).map((value) => value * http),
    ...histogram(3, 10).map((value) => value * http),
    ...histogram(10, 2000).map((value) => value * http),
    ...(of.protocol === "grpc" ? [requests, 2 * requests] : [0, 0]),
    ...(tcp ? [requests, requests, 20 * requests, 10 * requests] : [0, 0, 0, 0]),
  ];
  const bytes = Buffer.alloc(4 + key.length + 8 * numbers.length);
  bytes.writeUInt32LE(key.length, 0);
  bytes.set(key, 4);
  for (const [i, value] of numbers.entries()) bytes.writeDoubleLE(value, 4 + key.length + 8 * i);
  return new Uint8Array(bytes);
}

function encodeKey(of: LabelFacts): Buffer {
  const fixed = Buffer.alloc(12);
  fixed.writeUInt8(["http", "grpc", "tcp"].indexOf(of.protocol), 0);
  fixed.writeUInt8((of.workload === undefined ? 0 : 2) | (of.other ? 4 : 0), 1);
  fixed.writeUInt16LE(of.responseCode, 2);
  fixed.writeInt32LE(of.grpcStatus, 4);
  fixed.writeUInt32LE(of.flags, 8);
  const to = of.workload;
  const texts = [
    of.destination,
    of.cluster,
    of.telemetry,
    of.peerIdentity,
    of.peerBaggage,
    of.serviceNamespace,
    of.serviceHostname,
    of.serviceName,
    to?.name,
    to?.namespace,
    to?.canonicalService,
    to?.canonicalRevision,
    to?.clusterId,
    to?.principal,
    to?.app,
    to?.version,
  ];
  const parts = texts.map((text = "") => {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(2);
    length.writeUInt16LE(bytes.length);
    return Buffer.concat([length, bytes]);
  });
  return Buffer.concat([fixed, ...parts]);
}
