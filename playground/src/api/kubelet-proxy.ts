/** Logs, exec and forwarded ports are the kubelet's business; the API server passes them on to the kubelet of the pod's node. */
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import type { Pod } from "../kinds/types.ts";
import { ApiError, badRequest } from "./errors.ts";

export interface KubeletTarget {
  readonly pod: Pod;
  /** `logs`, `exec` or `portforward`. */
  readonly verb: string;
  readonly query: URLSearchParams;
}

export class KubeletProxy {
  readonly #socketOf: (node: string) => string;

  /** `socketOf` gives the path of the Unix socket of a node's kubelet. */
  constructor(socketOf: (node: string) => string) {
    this.#socketOf = socketOf;
  }

  /** Streams the kubelet's answer. */
  forward(target: KubeletTarget, response: ServerResponse): Promise<void> {
    const { socketPath, path } = this.#locate(target);
    return new Promise((resolve, reject) => {
      const request = http.get({ socketPath, path }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, {
          "content-type": answer.headers["content-type"] ?? "text/plain",
        });
        answer.pipe(response);
        answer.on("close", resolve);
        response.on("close", () => answer.destroy());
      });
      request.on("error", (error) => reject(unreachable(target, error)));
    });
  }

  /** Joins the client's connection with the kubelet's, request head first; WebSocket is spoken between those two. */
  upgrade(target: KubeletTarget, request: IncomingMessage, client: Duplex, head: Buffer): void {
    const { socketPath, path } = this.#locate(target);
    const kubelet = net.connect({ path: socketPath }, () => {
      const headers = Object.entries(request.headers)
        .filter(([name]) => name !== "authorization")
        .map(([name, value]) => `${name}: ${value}\r\n`);
      kubelet.write(`GET ${path} HTTP/1.1\r\n${headers.join("")}\r\n`);
      if (head.length > 0) kubelet.write(head);
      kubelet.pipe(client);
      client.pipe(kubelet);
    });
    kubelet.on("error", () => client.destroy());
    client.on("error", () => kubelet.destroy());
    client.on("close", () => kubelet.destroy());
  }

  #locate(target: KubeletTarget): { socketPath: string; path: string } {
    const { pod, verb, query } = target;
    if (!pod.spec.nodeName) throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
    const socketPath = this.#socketOf(pod.spec.nodeName);
    // Ports are the pod's, not a container's.
    if (verb === "portforward") return { socketPath, path: `/${verb}/${pod.metadata.uid}?${query}` };
    const container = query.get("container") ?? defaultContainer(pod);
    const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].map((each) => each.name);
    if (!all.includes(container)) {
      throw badRequest(
        `container ${container} is not valid for pod ${pod.metadata.name}; there are: ${all.join(", ")}`,
      );
    }
    const passed = new URLSearchParams(query);
    passed.set("container", container);
    return { socketPath, path: `/${verb}/${pod.metadata.uid}?${passed}` };
  }
}

function defaultContainer(pod: Pod): string {
  return pod.metadata.annotations?.["kubectl.kubernetes.io/default-container"] ?? pod.spec.containers[0]?.name ?? "";
}

function unreachable(target: KubeletTarget, error: Error): ApiError {
  return new ApiError(
    503,
    "ServiceUnavailable",
    `no answer from the kubelet of ${target.pod.spec.nodeName}: ${error.message}`,
  );
}
