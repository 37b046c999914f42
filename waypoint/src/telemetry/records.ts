/**
 * Records of requests as the engine hands them over: batches of bytes, read in place.
 *
 * The layout is that of native/src/telemetry/record_codec.cc. Texts are decoded when somebody asks: a line of the access
 * log needs a dozen of forty, a filter that says no needs one.
 */
import type { WorkloadFacts } from "./workload.ts";

const TEXTS = [
  "method",
  "path",
  "originalPath",
  "scheme",
  "authority",
  "details",
  "terminationDetails",
  "transportFailure",
  "requestId",
  "userAgent",
  "forwardedFor",
  "downstreamLocal",
  "downstreamRemote",
  "client",
  "peerIdentity",
  "sni",
  "alpn",
  "peerBaggage",
  "upstreamLocal",
  "upstreamHost",
  "cluster",
  "routeName",
  "routePattern",
  "destination",
  "telemetry",
  "serviceNamespace",
  "serviceHostname",
  "serviceName",
  "workloadName",
  "workloadNamespace",
  "canonicalService",
  "canonicalRevision",
  "workloadCluster",
  "workloadPrincipal",
  "workloadApp",
  "workloadVersion",
  "workloadNode",
  "dryRunDeny",
  "dryRunAllow",
] as const;
export type RecordText = (typeof TEXTS)[number];

const TEXT_INDEX = Object.fromEntries(TEXTS.map((name, i) => [name, i])) as Record<RecordText, number>;
const ENDS_AT = 148;
const PROTOCOLS = ["HTTP/1.0", "HTTP/1.1", "HTTP/2"] as const;
const PLAIN_ENDPOINT = 1;
const TUNNELLED_ENDPOINT = 2;

/** A batch that no encoder of ours has written. */
export class RecordError extends Error {}

export class RequestRecord {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #at: number;
  readonly #textsAt: number;
  readonly #requestHeaders: number;
  readonly #responseHeaders: number;

  /** The record at `at`; `length` of it has been checked. */
  constructor(bytes: Buffer, view: DataView, at: number, length: number) {
    this.#bytes = bytes;
    this.#view = view;
    this.#at = at;
    this.#requestHeaders = view.getUint16(at + 144, true);
    this.#responseHeaders = view.getUint16(at + 146, true);
    const ends = TEXTS.length + 2 * (this.#requestHeaders + this.#responseHeaders);
    this.#textsAt = at + ENDS_AT + 4 * ends;
    if (this.#textsAt > at + length || this.#textsAt + this.#end(ends - 1) !== at + length) {
      throw new RecordError("a record's texts do not end where it does");
    }
  }

  text(name: RecordText): string {
    return this.#text(TEXT_INDEX[name]);
  }
  get tcp(): boolean {
    return this.#byte(4) !== 0;
  }
  get protocol(): string {
    return PROTOCOLS[this.#byte(5)] ?? "";
  }
  get grpc(): boolean {
    return this.#byte(6) !== 0;
  }
  get sampled(): boolean {
    return this.#byte(7) !== 0;
  }
  /** 0: no answer. */
  get status(): number {
    return this.#view.getUint16(this.#at + 8, true);
  }
  get downstreamTls(): boolean {
    return this.#byte(10) !== 0;
  }
  get upstreamTunnel(): boolean {
    return this.#byte(11) === TUNNELLED_ENDPOINT;
  }
  /** -1: none. */
  get grpcStatus(): number {
    return this.#view.getInt32(this.#at + 12, true);
  }
  /** Bits of flags.ts. */
  get flags(): number {
    return this.#view.getUint32(this.#at + 16, true);
  }
  get attempts(): number {
    return this.#view.getUint32(this.#at + 20, true);
  }
  get startUnixMs(): number {
    return this.#number(24);
  }
  get durationUs(): number {
    return this.#number(32);
  }
  /** From the last byte of the request sent to the first of the answer; 0: there was none. */
  get upstreamFirstByteUs(): number {
    return this.#number(40);
  }
  get requestReceivedUs(): number {
    return this.#number(48);
  }
  get responseBegunUs(): number {
    return this.#number(56);
  }
  get bytesReceived(): number {
    return this.#number(64);
  }
  get bytesSent(): number {
    return this.#number(72);
  }
  get requestHeaderBytes(): number {
    return this.#number(80);
  }
  get responseHeaderBytes(): number {
    return this.#number(88);
  }
  get grpcRequestMessages(): number {
    return this.#number(96);
  }
  get grpcResponseMessages(): number {
    return this.#number(104);
  }
  /** Hex; empty: the request has no trace. */
  get traceId(): string {
    return this.#id(112, 16);
  }
  get spanId(): string {
    return this.#id(128, 8);
  }
  get parentSpanId(): string {
    return this.#id(136, 8);
  }
  get hasWorkload(): boolean {
    return this.#byte(11) >= PLAIN_ENDPOINT;
  }
  get workload(): WorkloadFacts | undefined {
    if (!this.hasWorkload) return undefined;
    return {
      name: this.text("workloadName"),
      namespace: this.text("workloadNamespace"),
      canonicalService: this.text("canonicalService"),
      canonicalRevision: this.text("canonicalRevision"),
      clusterId: this.text("workloadCluster"),
      principal: this.text("workloadPrincipal"),
      app: this.text("workloadApp"),
      version: this.text("workloadVersion"),
      node: this.text("workloadNode"),
    };
  }
  /** Of those that the Telemetry asks for, by lower-case name. */
  requestHeader(name: string): string | undefined {
    return this.#header(0, this.#requestHeaders, name);
  }
  responseHeader(name: string): string | undefined {
    return this.#header(this.#requestHeaders, this.#responseHeaders, name);
  }
  requestHeaders(): Map<string, string> {
    return this.#headers(0, this.#requestHeaders);
  }
  responseHeaders(): Map<string, string> {
    return this.#headers(this.#requestHeaders, this.#responseHeaders);
  }

  #byte(offset: number): number {
    return this.#bytes[this.#at + offset] ?? 0;
  }
  #number(offset: number): number {
    return this.#view.getFloat64(this.#at + offset, true);
  }
  #id(offset: number, bytes: number): string {
    const text = this.#bytes.toString("hex", this.#at + offset, this.#at + offset + bytes);
    return /^0+$/.test(text) ? "" : text;
  }
  #end(index: number): number {
    return this.#view.getUint32(this.#at + ENDS_AT + 4 * index, true);
  }
  #text(index: number): string {
    const start = index === 0 ? 0 : this.#end(index - 1);
    const end = this.#end(index);
    return start === end ? "" : this.#bytes.toString("utf8", this.#textsAt + start, this.#textsAt + end);
  }
  #header(first: number, count: number, name: string): string | undefined {
    for (let i = first; i < first + count; i++) {
      if (this.#text(TEXTS.length + 2 * i) === name) return this.#text(TEXTS.length + 2 * i + 1);
    }
    return undefined;
  }
  #headers(first: number, count: number): Map<string, string> {
    const headers = new Map<string, string>();
    for (let i = first; i < first + count; i++) {
      headers.set(this.#text(TEXTS.length + 2 * i), this.#text(TEXTS.length + 2 * i + 1));
    }
    return headers;
  }
}

/** Throws RecordError. Records are views into `batch`. */
export function* decodeRecords(batch: Uint8Array): Generator<RequestRecord> {
  const bytes = Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength);
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const length = at + 4 <= bytes.length ? view.getUint32(at, true) : 0;
    if (length < ENDS_AT || at + length > bytes.length) throw new RecordError(`no record of ${length} bytes at ${at}`);
    yield new RequestRecord(bytes, view, at, length);
    at += length;
  }
}
