/** HTTP to the admin port of a part of the mesh, which listens on localhost of its pod. */
import http, { type IncomingMessage } from "node:http";
import type { ObjectName } from "#lib/kube/client.ts";
import { connectToPod } from "#lib/kube/port-forward.ts";
import type { Cluster } from "../frame/context.ts";
import { Failure } from "../frame/errors.ts";

export const ADMIN_PORT = 15_000;
export const METRICS_PORT = 15_020;

/** The dump of an agent in a mesh of 100,000 workloads is some 100 MB. */
const MAX_BODY_BYTES = 512 * 1024 * 1024;
const ANSWER_MS = 30_000;

export class AdminPort {
  readonly #cluster: Cluster;
  readonly #signal: AbortSignal;
  readonly pod: ObjectName;
  readonly #port: number;

  constructor(cluster: Cluster, pod: ObjectName, signal: AbortSignal, port = ADMIN_PORT) {
    this.#cluster = cluster;
    this.pod = pod;
    this.#signal = signal;
    this.#port = port;
  }

  /** Throws Failure when the answer is not a success, KubeError when there is no way to the pod. */
  async text(path: string, method = "GET"): Promise<string> {
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(ANSWER_MS)]);
    const socket = await connectToPod(this.#cluster.access, this.pod, this.#port, signal);
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        if (socket.errored !== null) throw socket.errored;
        socket.on("error", reject);
        const host = `localhost:${this.#port}`;
        const request = http.request({ createConnection: () => socket, method, path, headers: { host }, signal });
        request.on("response", resolve);
        request.on("error", reject);
        request.end();
      });
      const body = await wholeBody(response);
      if (response.statusCode === 200) return body;
      throw new Failure(
        `${this.#name} answers ${response.statusCode} to ${method} ${path}: ${body.trim().slice(0, 200)}`,
      );
    } finally {
      socket.destroy();
    }
  }

  async json<T>(path: string): Promise<T> {
    const body = await this.text(path);
    try {
      return JSON.parse(body) as T;
    } catch (error) {
      throw new Failure(`${this.#name} answers ${path} with something that is not JSON`, undefined, { cause: error });
    }
  }

  get #name(): string {
    return `port ${this.#port} of ${this.pod.namespace}/${this.pod.name}`;
  }
}

async function wholeBody(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_BODY_BYTES) throw new Failure(`an answer of more than ${MAX_BODY_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}
