/**
 * Client of the delta aggregated discovery service: subscribes to everything of each type, applies what is good,
 * rejects what is not by name, and remembers versions so that a new stream costs only what changed.
 */
import { setImmediate } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import type { Client, ClientDuplexStream, Metadata, ServiceError } from "@grpc/grpc-js";
import { status } from "@grpc/grpc-js";
import { Backoff, pause } from "#lib/backoff.ts";
import { errorText, type Logger } from "#lib/log.ts";
import { releaseMemory } from "#lib/release-memory.ts";
import { DELTA_ADS_METHOD } from "#lib/xds/types.ts";
import { DeltaDiscoveryRequestSchema, type Node } from "#proto/discovery_pb.ts";
import { identityCodec } from "./channel.ts";
import { readHead, readResources } from "./response.ts";

/** A resource that was not taken, with the reason for the control plane. */
export interface Rejection {
  readonly name: string;
  readonly reason: string;
}

/** Takes the resources of one type. Only `apply` may throw; the message goes to the control plane. */
export interface ResourceHandler {
  apply(name: string, bytes: Uint8Array): void;
  remove(name: string): void;
  /**
   * All of one response is applied. What turns out to be bad only now is returned; a promise holds this response's
   * acknowledgement back, and nothing else.
   */
  commit(): readonly Rejection[] | Promise<readonly Rejection[]> | undefined;
}

export type StreamEnd = "ConnectionError" | "Error" | "Reconnect" | "Complete";

export interface AdsClientOptions {
  /** Type URL to handler, in the order of subscription. */
  readonly types: ReadonlyMap<string, ResourceHandler>;
  readonly node: Node;
  /** A new channel for every stream: address, root and token may have changed. */
  readonly open: () => Promise<{ readonly client: Client; readonly metadata: Metadata }>;
  readonly log: Logger;
  /** A type has had its first response. */
  readonly onSynced?: (typeUrl: string) => void;
  readonly onMessage?: (typeUrl: string, bytes: number) => void;
  readonly onEnd?: (reason: StreamEnd) => void;
}

const BACKOFF_MS = [10, 15_000] as const;
/** Resources that are applied before other work gets a turn. */
const SLICE = 500;
/** What a response of this size leaves behind is worth a collection, once no other has come for a while. */
const LARGE_BYTES = 1 << 20;
const QUIET_MS = 500;

type AdsStream = ClientDuplexStream<Uint8Array, Buffer>;

export class AdsClient {
  readonly #options: AdsClientOptions;
  /** Name to version of what was accepted, by type. */
  readonly #versions = new Map<string, Map<string, string>>();
  readonly #synced = new Set<string>();
  #connected = false;
  #quiet: NodeJS.Timeout | undefined;

  constructor(options: AdsClientOptions) {
    this.#options = options;
    for (const type of options.types.keys()) this.#versions.set(type, new Map());
  }

  /** A stream is open and has had a response. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Keeps a stream open until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(...BACKOFF_MS);
    while (!signal.aborted) {
      const end = await this.#stream(signal, () => backoff.reset());
      this.#connected = false;
      if (signal.aborted) return;
      this.#options.onEnd?.(end);
      if (end === "Reconnect" || end === "Complete") backoff.reset();
      await pause(backoff.next(), signal);
    }
  }

  async #stream(signal: AbortSignal, onResponse: () => void): Promise<StreamEnd> {
    const { log } = this.#options;
    let client: Client | undefined;
    let heard = false;
    try {
      const opened = await this.#options.open();
      client = opened.client;
      const { serialize, deserialize } = identityCodec;
      const stream: AdsStream = client.makeBidiStreamRequest(DELTA_ADS_METHOD, serialize, deserialize, opened.metadata);
      const cancel = () => stream.cancel();
      signal.addEventListener("abort", cancel);
      try {
        for (const type of this.#options.types.keys()) stream.write(this.#subscribe(type));
        await this.#readToEnd(stream, () => {
          heard = true;
          this.#connected = true;
          onResponse();
        });
      } finally {
        signal.removeEventListener("abort", cancel);
        stream.cancel();
      }
      log.info("xds stream ended");
      return "Complete";
    } catch (error) {
      if (signal.aborted) return "Complete";
      const end = classify(error, heard);
      log[end === "Reconnect" ? "info" : "warn"]("xds stream failed", { reason: end, error: errorText(error) });
      return end;
    } finally {
      client?.close();
    }
  }

  /**
   * One response after the other. By events, since an async iterator would hold on to the last response, tens of
   * megabytes after a first load, until the next one comes.
   */
  #readToEnd(stream: AdsStream, onResponse: () => void): Promise<void> {
    let responding = Promise.resolve();
    return new Promise<void>((resolve, reject) => {
      stream.on("data", (bytes: Buffer) => {
        stream.pause();
        onResponse();
        responding = this.#respond(stream, bytes).then(() => void stream.resume(), reject);
      });
      stream.on("end", resolve);
      stream.on("error", reject);
    }).finally(async () => {
      clearTimeout(this.#quiet);
      // What the next stream brings is newer: it may not be overtaken.
      await responding;
    });
  }

  #subscribe(typeUrl: string): Uint8Array {
    const versions = this.#versions.get(typeUrl) ?? new Map<string, string>();
    return toBinary(
      DeltaDiscoveryRequestSchema,
      create(DeltaDiscoveryRequestSchema, {
        node: this.#options.node,
        typeUrl,
        initialResourceVersions: Object.fromEntries(versions),
      }),
    );
  }

  async #respond(stream: AdsStream, bytes: Buffer): Promise<void> {
    const head = readHead(bytes);
    this.#options.onMessage?.(head.typeUrl, bytes.length);
    const handler = this.#options.types.get(head.typeUrl);
    const versions = this.#versions.get(head.typeUrl);
    const rejected: Rejection[] = [];
    if (handler === undefined || versions === undefined) {
      this.#options.log.warn("unknown xds type", { type_url: head.typeUrl });
    } else {
      for (const name of head.removed) {
        handler.remove(name);
        versions.delete(name);
      }
      let count = 0;
      const taken = new Map<string, string>();
      for (const resource of readResources(bytes)) {
        try {
          handler.apply(resource.name, resource.bytes);
          taken.set(resource.name, resource.version);
        } catch (error) {
          rejected.push({ name: resource.name, reason: errorText(error) });
        }
        if (++count % SLICE === 0) await setImmediate();
      }
      if (bytes.length >= LARGE_BYTES) this.#releaseMemoryLater();
      this.#markSynced(head.typeUrl);
      const settle = (late: readonly Rejection[]) => {
        // What was refused is asked for again with the version that is in force.
        for (const { name } of late) taken.delete(name);
        for (const [name, version] of taken) versions.set(name, version);
        this.#acknowledge(stream, head.typeUrl, head.nonce, [...rejected, ...late]);
      };
      const late = handler.commit() ?? [];
      if (late instanceof Promise) void late.then(settle);
      else settle(late);
      return;
    }
    this.#acknowledge(stream, head.typeUrl, head.nonce, rejected);
  }

  #releaseMemoryLater(): void {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(releaseMemory, QUIET_MS);
    this.#quiet.unref();
  }

  /**
   * The first response of a type is everything that there is of it, however large. Also with rejected resources: one that
   * is bad must not keep a node from serving all others.
   */
  #markSynced(typeUrl: string): void {
    if (this.#synced.has(typeUrl)) return;
    this.#synced.add(typeUrl);
    this.#options.onSynced?.(typeUrl);
  }

  #acknowledge(stream: AdsStream, typeUrl: string, responseNonce: string, rejected: readonly Rejection[]): void {
    if (stream.destroyed) return;
    const message = rejected.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
    if (rejected.length > 0) {
      this.#options.log.warn("rejected xds resources", { type_url: typeUrl, count: rejected.length, error: message });
    }
    const request = create(DeltaDiscoveryRequestSchema, {
      typeUrl,
      responseNonce,
      ...(rejected.length === 0 ? {} : { errorDetail: { message } }),
    });
    stream.write(toBinary(DeltaDiscoveryRequestSchema, request));
  }
}

/** Ends that are part of a control plane's ordinary life need no growing pause. */
function classify(error: unknown, heard: boolean): StreamEnd {
  const { code, details } = error as Partial<ServiceError>;
  if (code === undefined) return "ConnectionError";
  if (code === status.UNKNOWN || code === status.CANCELLED || code === status.DEADLINE_EXCEEDED) {
    return heard ? "Reconnect" : "Error";
  }
  if (code === status.UNAVAILABLE) {
    // grpc-js words a connection that the server closed in order in its own way.
    return heard && /transport is closing|goaway|connection dropped|ECONNRESET/i.test(details ?? "")
      ? "Reconnect"
      : "ConnectionError";
  }
  return "Error";
}
