/** Serves DNS in the pods' network namespaces, on the sockets that the engine opened there. */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { errorText, type Logger } from "#lib/log.ts";
import type { PodId } from "../native.ts";
import type { Workload } from "../state/model.ts";
import { type AnswerOptions, answerQuery, failure } from "./answer.ts";
import { type DnsForwarder, FrameReader, frame } from "./forwarder.ts";

/** Counts and times; labels as the standard DNS metrics have them. */
export interface DnsObserver {
  request(labels: DnsLabels): void;
  upstream(labels: DnsLabels, seconds: number, failed: boolean): void;
}

export interface DnsLabels extends Record<string, string> {
  request_query_type: string;
  request_protocol: string;
  source_canonical_service: string;
  source_canonical_revision: string;
}

export interface DnsServerOptions extends AnswerOptions {
  readonly forwarder: DnsForwarder;
  readonly observer: DnsObserver;
  readonly workloadOf: (pod: PodId) => Workload | undefined;
  readonly log: Logger;
}

export interface DnsPod {
  readonly id: PodId;
  readonly namespace: string;
}

/** Per pod. */
const MAX_TCP_CONNECTIONS = 256;
const TCP_IDLE_MS = 10_000;

interface PodSockets {
  readonly udp: UdpSocket[];
  readonly tcp: Server[];
  readonly connections: Set<Socket>;
}

export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #pods = new Map<PodId, PodSockets>();

  constructor(options: DnsServerOptions) {
    this.#options = options;
  }

  /** Takes the file descriptors over. */
  addPod(pod: DnsPod, fds: { readonly udp: readonly number[]; readonly tcp: readonly number[] }): void {
    const sockets: PodSockets = { udp: [], tcp: [], connections: new Set() };
    this.#pods.set(pod.id, sockets);
    // IPv4 comes first; a socket must be told its family, since it is not asked.
    for (const [index, fd] of fds.udp.entries()) {
      sockets.udp.push(this.#serveUdp(pod, fd, index === 0 ? "udp4" : "udp6"));
    }
    for (const fd of fds.tcp) sockets.tcp.push(this.#serveTcp(pod, fd, sockets.connections));
  }

  removePod(id: PodId): void {
    const sockets = this.#pods.get(id);
    if (sockets === undefined) return;
    this.#pods.delete(id);
    for (const socket of sockets.udp) socket.close();
    for (const server of sockets.tcp) server.close();
    for (const connection of sockets.connections) connection.destroy();
  }

  close(): void {
    for (const id of this.#pods.keys()) this.removePod(id);
  }

  #serveUdp(pod: DnsPod, fd: number, family: "udp4" | "udp6"): UdpSocket {
    const socket = createSocket(family);
    socket.on("error", (error) => this.#failed(pod, error));
    socket.on("message", (query: Buffer, from: RemoteInfo) => {
      void this.#answer(pod, query, true).then((answer) => {
        if (answer !== undefined && this.#pods.has(pod.id)) socket.send(answer, from.port, from.address);
      });
    });
    socket.bind({ fd });
    return socket;
  }

  #serveTcp(pod: DnsPod, fd: number, connections: Set<Socket>): Server {
    const server = createServer((connection) => {
      connections.add(connection);
      connection.setTimeout(TCP_IDLE_MS, () => connection.destroy());
      connection.on("error", () => connection.destroy());
      connection.on("close", () => connections.delete(connection));
      const reader = new FrameReader((query) => {
        void this.#answer(pod, query, false).then((answer) => {
          if (answer !== undefined && connection.writable) connection.write(frame(answer));
        });
      });
      connection.on("data", (chunk: Buffer) => reader.push(chunk));
    });
    server.maxConnections = MAX_TCP_CONNECTIONS;
    server.on("error", (error) => this.#failed(pod, error));
    server.listen({ fd });
    return server;
  }

  async #answer(pod: DnsPod, query: Buffer, udp: boolean): Promise<Buffer | undefined> {
    const workload = this.#options.workloadOf(pod.id);
    const verdict = answerQuery(query, udp, { namespace: pod.namespace, workload }, this.#options);
    if (verdict.kind === "drop") return undefined;
    const labels: DnsLabels = {
      request_query_type: verdict.type,
      request_protocol: udp ? "udp" : "tcp",
      source_canonical_service: workload?.canonicalName || "unknown",
      source_canonical_revision: workload?.canonicalRevision || "unknown",
    };
    this.#options.observer.request(labels);
    if (verdict.kind === "answer") return verdict.bytes;
    const start = performance.now();
    try {
      const answer = await this.#options.forwarder.forward(query, udp);
      this.#options.observer.upstream(labels, (performance.now() - start) / 1000, false);
      return answer;
    } catch (error) {
      this.#options.observer.upstream(labels, (performance.now() - start) / 1000, true);
      this.#options.log.debug("dns forwarding failed", { namespace: pod.namespace, error: errorText(error) });
      return failure(query);
    }
  }

  #failed(pod: DnsPod, error: Error): void {
    this.#options.log.warn("dns socket failed", { namespace: pod.namespace, error: errorText(error) });
  }
}
